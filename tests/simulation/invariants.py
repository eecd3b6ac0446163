"""What must be true of a sweep, whatever happened to it: docs/chaos.md."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from mt_sweeps.results import finalists
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.storage import records
from mt_sweeps.storage.requests import Request
from mt_sweeps.study.ledger import LOSSES, Ledger
from mt_sweeps.study.pruner import MARGIN, MEDIAN_OF, rungs
from mt_sweeps.study.ranking_error import RankingError
from mt_sweeps.study.trial import BY_HAND, Trial, common_failure
from tests.simulation.parts import STORE, Parts
from tests.simulation.trainer import curve, saved_in
from tests.simulation.world import Violation
from trainers.config import TrainerConfig
from trainers.files import CHECKPOINT, PREVIOUS_CHECKPOINT
from trainers.report import Report, metric_of

_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "FINISHED", TrialState.FAIL: "FAILED"}


class Listener:
    """Hears of the sweep as the console does, and checks each decision as it is made.

    Args:
        parts: of the world.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._decided: set[TrialId] = set()
        self._finished: Counter[TrialId] = Counter()

    def started(self, trial: Trial) -> None:
        _check(not self._finished[trial.id], f"{trial.id.label} had ended, and goes on")
        self._decided.discard(trial.id)  # of an attempt that was lost meanwhile: it is decided anew, with more trials
        self._parts.world.log(f"{trial.id.label}, attempt {trial.attempt}, starts")

    def reported(self, trial: Trial, report: Report) -> None:
        if trial.arm == "search" and is_to_be_pruned(self._parts, trial.number, report.step):
            self._decided.add(trial.id)

    def ended(self, trial: Trial) -> None:
        self._parts.world.log(f"{trial.id.label} is {trial.state}, at step {trial.step}, {trial.reason}")
        if trial.finished:
            self._finished[trial.id] += 1
            _check(self._finished[trial.id] == 1, f"{trial.id.label} ended twice")
        if trial.state == "pruned" and not trial.is_ended_by_hand:
            is_right = trial.id in self._decided or is_to_be_pruned(self._parts, trial.number, trial.step)
            _check(is_right, f"{trial.id.label} was pruned at step {trial.step}, and is among the best there")
        if trial.state == "complete":
            _check(trial.id not in self._decided, f"{trial.id.label} was to be pruned, and went on")

    def message(self, text: str) -> None:
        self._parts.world.log(text)


def prepare(parts: Parts) -> None:
    """Create the sweep and its ledger."""
    parts.sweep.path.mkdir()
    spec = parts.spec
    if parts.is_sqlite:
        (parts.folder / "ledger.db").write_bytes(_empty_ledger(spec.model_dump_json()))
    else:
        Ledger.create("simulation", spec, {}, parts.database.open())


def check_order(parts: Parts) -> None:
    """Check what is true at any moment: each thing is written after what it can be made again from.

    A checkpoint, then the record, then the ledger, then MLflow.
    """
    for arm in parts.spec.arms():
        for trial in _study(parts, arm):
            trial_id = TrialId(arm, trial.number)
            recorded = _recorded(parts, trial_id)
            steps = [report.step for report in recorded]
            _check(steps == sorted(set(steps)), f"{trial_id.label}: the records are {steps}")
            missing = set(trial.intermediate_values) - set(steps)
            _check(not missing, f"{trial_id.label}: the ledger has steps {missing}, which no record has")
            if not trial.state.is_finished() and trial_id not in parts.world.damaged and steps:
                saved = _checkpointed(parts, trial_id)
                _check(saved >= steps[-1], f"{trial_id.label}: step {steps[-1]} is recorded, and {saved} is saved")
            shown = {step for run in _children(parts, trial_id) for _, step, _, _ in run.points}
            _check(shown <= set(steps), f"{trial_id.label}: MLflow has steps {shown - set(steps)}, which no record has")


def check_answered(parts: Parts, request: Request) -> None:
    """Check that a request that is about to be removed is done, or can never be: of a point, the search has no room or
    has it already.
    """
    trials = _study(parts, request.arm)
    if request.action == "end":
        state = trials[request.number].state
        _check(state.is_finished(), f"{request.trial.label} is {state.name}, and its end is no longer asked for")
        return
    rows = sum(trial.user_attrs["asked"]["request"] == request.id for trial in trials)
    is_there = any(
        _params(parts, trial.user_attrs["asked"]["values"]) == _params(parts, request.values)
        for trial in trials
        if not _is_to_be_tried_again(trial)
    )
    is_answered = is_there or len(trials) >= parts.spec.trials_of("search")
    _check(rows == 1 or (rows == 0 and is_answered), f"{rows} trials of the request {request.id}, which is removed")


def check_requests(parts: Parts, asked: Mapping[str, Request], accepted: AbstractSet[str]) -> None:
    """Check, at the end, that each accepted request is done once or was answered, and that nobody did what none asked.

    Args:
        parts: of the world.
        asked: what was asked for, by the ids.
        accepted: ids of those that may not be lost.
    """
    left = parts.sweep.requests()
    _check(not left, f"{left} are left")
    for request in accepted:
        check_answered(parts, asked[request])
    to_end = {request.trial for request in asked.values() if request.action == "end"}
    tried: Counter[str] = Counter()
    for arm in parts.spec.arms():
        for trial in _study(parts, arm):
            trial_id, request = TrialId(arm, trial.number), trial.user_attrs["asked"]["request"]
            _check(not request or request in asked, f"{trial_id.label} is of a request that nobody made")
            is_right = not _is_by_hand(trial) or trial_id in to_end
            _check(is_right, f"{trial_id.label} was ended by hand, and nobody has asked for it")
            if request and not _is_to_be_tried_again(trial):
                tried[repr(_params(parts, trial.user_attrs["asked"]["values"]))] += 1
    _check(all(count == 1 for count in tried.values()), f"a point was tried again: {tried}")


def points(parts: Parts, count: int) -> list[Values]:
    """Return points that people may add: none of them is drawn by the sampler."""
    sampler = parts.spec.sampler.model_copy(update={"seed": parts.spec.sampler.seed + 1})
    other = parts.spec.model_copy(update={"sampler": sampler})
    drawn = _undisturbed(other.model_dump_json())
    return [values for trial, values in drawn.items() if trial.arm == "search"][:count]


def check_memory(parts: Parts, ledger: Ledger, is_finished: bool) -> None:
    """Check that a driver that finished the sweep knew of its ledger what the next one reads."""
    if not is_finished:
        return
    anew = parts.ledger()
    for known, read in zip(ledger.all_trials(), anew.all_trials(), strict=True):
        _check(known == read, f"in memory {known}, in the ledger {read}")
    _check(ledger.steps_done == anew.steps_done, f"steps: {ledger.steps_done} and {anew.steps_done}")
    _check(abs(ledger.seconds_done - anew.seconds_done) < 1e-6, f"{ledger.seconds_done} {anew.seconds_done} seconds")


def check_end(parts: Parts) -> None:
    """Check a finished sweep against the same one that nothing disturbed."""
    world, spec = parts.world, parts.spec
    ledger = parts.ledger()
    if common_failure(ledger.trials("search")) is not None:
        return  # the first three all lost their workers three times: the sweep ends there
    total = 0.0
    for arm in spec.arms():
        trials = _study(parts, arm)
        _check([t.number for t in trials] == list(range(ledger.total(arm))), f"{arm}: {len(trials)} trials")
        _check(arm == "finalists" or len(trials) == spec.trials_of(arm), f"{arm}: {len(trials)} trials")
        for trial in trials:
            _check_trial(parts, TrialId(arm, trial.number), trial)
            total += trial.user_attrs["end"]["seconds"]
    elapsed = world.clock.passed
    _check(0 <= total <= 4 * elapsed, f"{total} seconds of work within {elapsed}")
    _check(0 <= ledger.active_seconds <= elapsed, f"{ledger.active_seconds} active seconds within {elapsed}")
    _check_parent(parts, ledger)
    if "finalists" in spec.arms():
        best = ledger.best()
        planned = {trial.replicates for trial in ledger.trials("finalists")}
        _check(best is None or TrialId("search", best.number) in planned, "the best is no finalist")
        wanted = finalists.plan(ledger, parts.sweep.load_environment().images)
        trained = {(trial.replicates, trial.values["seed"]) for trial in ledger.trials("finalists")}
        missing = {(TrialId(*one["of"]), one["values"]["seed"]) for one in wanted} - trained
        _check(not missing, f"finalists that the verdict needs: {missing}")
        _check(len(trained) == len(ledger.trials("finalists")), "a finalist was trained twice")


def _check_trial(parts: Parts, trial_id: TrialId, trial: FrozenTrial) -> None:
    world, spec, label = parts.world, parts.spec, trial_id.label
    _check(trial.state.is_finished(), f"{label} is {trial.state.name}")
    asked, end = trial.user_attrs["asked"], trial.user_attrs["end"]
    if trial_id.arm != "finalists" and not asked["request"]:
        _check(asked["values"] == _values(parts, trial_id), f"{label}: other values than those of an undisturbed run")
    undisturbed = curve(_settings(spec.config(asked["values"], trial_id.arm)))
    steps = list(trial.intermediate_values)
    _check(steps == list(undisturbed)[: len(steps)], f"{label}: reported {steps}")
    for step, value in trial.intermediate_values.items():
        right = RankingError.of(undisturbed[step], spec.metric)
        _check(value == right.rate, f"{label}: {value} at step {step}, undisturbed {right.rate}")
        if trial_id.arm == "search" and any(_entered(trial, rung) == step for rung in rungs(spec)):
            ranked = trial.user_attrs[f"ranked/{step}"]
            _check(ranked == right.as_json(), f"{label}: ranked at step {step} by {ranked}")
    lost = trial.user_attrs.get("lost", {"workers": 0})["workers"]
    is_by_hand = _is_by_hand(trial)  # maybe while it waited for its next attempt
    least = lost if is_by_hand else 1 + min(lost, LOSSES - 1)
    _check(asked["attempt"] >= least, f"{label}: attempt {asked['attempt']} after {lost} lost workers")
    fails = "diverged" if trial_id.slug in parts.diverging and not is_by_hand else None
    if trial.state == TrialState.FAIL:
        reason = "lost_worker" if lost >= LOSSES else fails
        _check(end["reason"] == reason, f"{label}: failed with {end['reason']}, after {lost} lost workers")
    else:
        _check(lost < LOSSES and not fails, f"{label}: {trial.state.name} after {lost} lost workers")
        recorded = [report.step for report in _recorded(parts, trial_id)]
        _check(recorded == steps, f"{label}: recorded {recorded}, in the ledger {steps}")
        allowed = len(steps) + asked["attempt"] - 1 + is_by_hand
        computed = world.computed[trial_id]
        is_damaged = trial_id in world.damaged
        _check(is_damaged or computed <= allowed, f"{label}: {computed} evaluations computed, {allowed} allowed")
    if trial.state == TrialState.COMPLETE:
        _check(len(steps) == len(undisturbed), f"{label}: complete with steps {steps}")
        metrics = undisturbed[steps[-1]].metrics
        right = metrics.get(spec.metric, metrics[metric_of(spec.metric, "student")])
        _check(trial.value == right, f"{label}: objective {trial.value}, undisturbed {right}")
    if trial.state == TrialState.PRUNED and not is_by_hand:
        _check(trial_id.arm == "search" and bool(rungs(spec)), f"{label}: pruned without a rung")
    runs = _children(parts, trial_id)
    _check(len(runs) == 1, f"{label}: {len(runs)} runs in MLflow")
    _check(runs[0].status == _STATUS[trial.state], f"{label}: {runs[0].status} in MLflow")
    _check(
        runs[0].tags["mt.attempt"] == str(asked["attempt"]), f"{label}: attempt {runs[0].tags['mt.attempt']} in MLflow"
    )
    recorded = [report.step for report in _recorded(parts, trial_id)]
    shown = runs[0].steps("validation.student_error")
    _check(shown == Counter(recorded), f"{label}: MLflow shows {dict(shown)}, recorded {recorded}")


def _check_parent(parts: Parts, ledger: Ledger) -> None:
    parents = [run for run in parts.server.runs.values() if run.tags.get("mt.arm") == "sweep" and not run.is_deleted]
    _check(len(parents) == 1, f"{len(parents)} runs of the sweep in MLflow")
    _check(parents[0].status == "FINISHED", f"the sweep is {parents[0].status} in MLflow")
    best = ledger.best()
    if best is not None:
        _check(parents[0].tags["mt.best"] == str(best.number), f"the best in MLflow is {parents[0].tags['mt.best']}")


def is_to_be_pruned(parts: Parts, number: int, step: int) -> bool:
    """Return whether a trial ends at a report, decided anew from the values that the ledger's storage has."""
    spec = parts.spec
    for rung in rungs(spec):
        entered = [(at, trial) for trial in _study(parts, "search") if (at := _entered(trial, rung)) is not None]
        ranked = sorted(entered, key=lambda one: (one[1].intermediate_values[one[0]], one[1].number))
        one = next((one for one in ranked if (one[0], one[1].number) == (step, number)), None)
        if one is None:
            continue
        if spec.pruner.name == "median":
            enough, go_on = len(ranked) >= MEDIAN_OF, math.ceil(len(ranked) / 2)
        else:
            enough, go_on = len(ranked) >= spec.pruner.reduction_factor, len(ranked) // spec.pruner.reduction_factor
        if enough and _is_worse(one, ranked[go_on - 1]):
            return True
    return False


def _entered(trial: FrozenTrial, rung: int) -> int | None:
    """Return the step at which a trial was ranked at a rung."""
    return min((step for step in trial.intermediate_values if step >= rung), default=None)


def _is_worse(one: tuple[int, FrozenTrial], last: tuple[int, FrozenTrial]) -> bool:
    """Return True if a trial lost more images to another, at the steps at which they were ranked, than noise may."""
    bits = [bytes.fromhex(trial.user_attrs[f"ranked/{step}"]["correct"]) for step, trial in (one, last)]
    ours, others = (np.unpackbits(np.frombuffer(each, np.uint8)).astype(int) for each in bits)
    return int((others - ours).sum()) > MARGIN * math.sqrt(int(np.abs(others - ours).sum()))


def trial_of(folder: str) -> TrialId:
    """Return the trial whose folder has this name."""
    arm, _, number = folder.rpartition("-")
    return TrialId(arm or "search", int(number))  # type: ignore[arg-type]


def _check(holds: bool, problem: str) -> None:
    if not holds:
        raise Violation(problem)


def _study(parts: Parts, arm: Arm) -> list[FrozenTrial]:
    storage = parts.database.reader
    name = parts.spec.name if arm == "search" else f"{parts.spec.name}/{arm}"
    return storage.get_all_trials(storage.get_study_id_from_name(name), deepcopy=False)


def _recorded(parts: Parts, trial: TrialId) -> list[Report]:
    """Return the records of the newest attempt that has any, read without the code that is tested."""
    found: dict[int, bytes] = {}
    if parts.is_stored:
        top = f"{STORE}/{trial.slug}/attempt-"
        for path, content in parts.store.objects.items():
            if path.startswith(top) and path.endswith(f"/{records.FILE}"):
                found[int(path.removeprefix(top).partition("/")[0])] = content
    else:
        for file in (parts.sweep.path / "trials" / trial.slug).glob(f"attempt-*/{records.FILE}"):
            found[int(file.parent.name.partition("-")[2])] = file.read_bytes()
    lines = found[max(found)].decode().split("\n")[:-1] if found else []
    return [Report(**json.loads(line)) for line in lines]


def _checkpointed(parts: Parts, trial: TrialId) -> int:
    """Return the last step of the newest checkpoint of any attempt."""
    contents = [
        content
        for path, content in parts.store.objects.items()
        if path.startswith(f"{STORE}/{trial.slug}/") and path.endswith((f"/{CHECKPOINT}", f"/{PREVIOUS_CHECKPOINT}"))
    ]
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):
        contents += [file.read_bytes() for file in (parts.sweep.path / "trials" / trial.slug).glob(f"attempt-*/{name}")]
    return max((saved[-1][0] for content in contents if (saved := saved_in(content))), default=0)


def _children(parts: Parts, trial: TrialId) -> list[Any]:
    tags = {"mt.arm": trial.arm, "mt.trial": str(trial.number)}
    return [run for run in parts.server.runs.values() if not run.is_deleted and tags.items() <= run.tags.items()]


def _is_by_hand(trial: FrozenTrial) -> bool:
    return bool(trial.user_attrs.get("end", {}).get("reason") == BY_HAND)


def _is_to_be_tried_again(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL or (trial.state == TrialState.PRUNED and _is_by_hand(trial))


def _params(parts: Parts, values: Values) -> Values:
    return parts.spec.space().to_params(values)


@cache
def _settings(config: TrainerConfig) -> str:
    return config.model_dump_json()


def _values(parts: Parts, trial: TrialId) -> dict[str, Any]:
    return _undisturbed(parts.spec.model_dump_json())[trial]


@cache
def _undisturbed(spec: str) -> dict[TrialId, dict[str, Any]]:
    """Return the values of every trial but the finalists', as they are asked for one after the other."""
    import optuna

    ledger = Ledger.create("simulation", SweepSpec.model_validate_json(spec), {}, optuna.storages.InMemoryStorage())
    asked = list(iter(ledger.ask_search, None))
    return {trial.id: trial.values for trial in asked}


@cache
def _empty_ledger(spec: str) -> bytes:
    import tempfile
    from pathlib import Path

    from tests.helpers.sweeps import new_ledger

    with tempfile.TemporaryDirectory() as folder:
        new_ledger(Path(folder) / "ledger.db", SweepSpec.model_validate_json(spec)).close()
        return (Path(folder) / "ledger.db").read_bytes()
