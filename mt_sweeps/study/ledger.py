"""The ledger: what was asked, reported and decided. One Optuna study an arm, all in one transactional storage.

What is in the storage is the truth. One process writes it, and keeps what it wrote in memory, so that a sweep's ten
thousandth trial costs what its tenth did.
"""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState, create_trial

from mt_sweeps.errors import InputError
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec, Values, forbidden_changes
from mt_sweeps.storage import optuna_private
from mt_sweeps.storage.rdb import open_storage
from mt_sweeps.study.pruner import Correlation, RungRanking
from mt_sweeps.study.sampler import ArmSampler
from mt_sweeps.study.trial import STATES, Trial, best_of, ranking_error, trial_from_optuna
from trainers.report import Report

FORMAT = 3
LOSSES = 3  # how often the worker of a trial may be lost before the trial is given up
_SAVE_TIME_EVERY = 2.0  # seconds


class Ledger:
    """The studies of one sweep.

    Args:
        where: as `open_storage` takes it; it was made by `create`. One process may write.
        spec: of the sweep.

    Attributes:
        steps_done, seconds_done: optimiser steps of all trials that ended, and what workers spent on them.

    Raises:
        InputError: the file is missing, not ours, of another format, or of a sweep with another specification.
    """

    def __init__(self, where: Path | str, spec: SweepSpec) -> None:
        if isinstance(where, Path) and not where.exists():
            raise InputError(f"{where}: the ledger is missing, and with it all that this sweep found; start a new one")
        self.spec = spec
        self._storage = open_storage(where)
        self._trials: dict[Arm, list[Trial]] = {}
        self._waiting: dict[Arm, set[int]] = {}
        self._ids: dict[Arm, list[int]] = {}
        self._studies: dict[Arm, int] = {}
        self._samplers: dict[Arm, ArmSampler] = {}
        self._planned: dict[Arm, list[dict[str, Any]]] = {}
        self._ranking = RungRanking(spec)
        self.steps_done, self.seconds_done = 0, 0.0
        try:
            for arm in spec.arms():
                self._read(where, arm)
        except (KeyError, optuna.exceptions.OptunaError, sqlalchemy.exc.SQLAlchemyError) as error:
            raise InputError(
                f"{where}: is no ledger of the sweep {spec.name} ({type(error).__name__}); put back what was here"
            ) from None
        self._active_seconds = float(self._attributes("search").get("active_seconds", 0.0))
        self._saved = time.monotonic()

    @classmethod
    def create(cls, where: Path | str, spec: SweepSpec, published: Values) -> "Ledger":
        """A new ledger, without trials; its place has been claimed for it.

        Args:
            where: as `open_storage` takes it.
            spec: of the sweep.
            published: `spec.published_values` of the data set, where the sweep has this arm.
        """
        storage = open_storage(where)
        for arm in spec.arms():
            study = optuna.create_study(
                storage=storage,
                study_name=_study_name(spec, arm),
                direction=spec.objective.direction,
                load_if_exists=True,
            )
            study.set_user_attr("spec", spec.model_dump_json())
            if arm == "published":
                study.set_user_attr("planned", [{"values": published}])
            study.set_user_attr("format", FORMAT)
        storage.engine.dispose()
        return cls(where, spec)

    def trials(self, arm: Arm) -> list[Trial]:
        """All trials of an arm so far, by number."""
        return list(self._trials[arm])

    def all_trials(self) -> list[Trial]:
        """Those of every arm."""
        return [trial for arm in self._trials for trial in self._trials[arm]]

    def ask_search(self) -> Trial | None:
        """Return the next trial of the search or a baseline, now RUNNING in the ledger, or None if none is left.

        A waiting trial comes before a new one. The next arm is the one that has started the smallest share of its
        trials, so that the baselines run beside the search.
        """
        arms = [arm for arm in self._trials if arm != "finalists" and self.remaining(arm)]
        arm = max(arms, key=lambda arm: self.remaining(arm) / self.total(arm), default=None)
        return None if arm is None else self._ask(arm)

    def ask_finalist(self) -> Trial | None:
        """Return the next trial of the finalists, now RUNNING in the ledger, or None if none is left."""
        return self._ask("finalists") if "finalists" in self._planned and self.remaining("finalists") else None

    def add_finalists(self, trials: list[dict[str, Any]]) -> bool:
        """Have these trials run as finalists; those that are planned already stay. Whether there are new ones.

        Args:
            trials: `values`, and the arm and number of the trial that they are `of`.
        """
        before, trials = self._planned.get("finalists", []), json.loads(json.dumps(trials))  # as it is read again
        new = [trial for trial in trials if trial not in before]
        if new or "finalists" not in self._planned:
            self._planned["finalists"] = before + new
            self._storage.set_study_user_attr(self._studies["finalists"], "planned", before + new)
        return bool(new)

    def report(self, trial: Trial, report: Report) -> bool:
        """Write down an evaluation of a running trial. What is known already changes nothing.

        Returns:
            Whether the trial is to end here: the same answer whenever the same values are in the ledger. It went on
            from what it reported before its last.
        """
        if not self.is_current_attempt(trial) or report.step < self._trials[trial.arm][trial.number].step:
            return False
        if report.step > self._trials[trial.arm][trial.number].step:
            value = ranking_error(report)
            self._storage.set_trial_intermediate_value(self._id(trial), report.step, value)
            if trial.arm == "search":
                self._ranking.report(trial.number, report.step, value)
            self._change(trial, step=report.step)
        return trial.arm == "search" and self._ranking.should_prune(trial.number, report.step)

    def complete(self, trial: Trial, last: Report) -> Trial:
        """The trial trained to its end; its objective is its last evaluation."""
        return self._end(trial, TrialState.COMPLETE, last)

    def prune(self, trial: Trial, last: Report) -> Trial:
        """The trial was ended at a rung."""
        return self._end(trial, TrialState.PRUNED, last)

    def fail(self, trial: Trial, reason: str, message: str, last: Report | None) -> Trial:
        """The trial cannot give a result. It counts as a trial; the sampler learns of it if its values are at fault."""
        return self._end(trial, TrialState.FAIL, last, reason, message)

    def requeue(self, trial: Trial) -> Trial:
        """The trial lost its driver: it waits for its next attempt."""
        if not self.is_current_attempt(trial):
            return self._trials[trial.arm][trial.number]
        self._storage.set_trial_state_values(self._id(trial), TrialState.WAITING)
        self._waiting[trial.arm].add(trial.number)
        return self._change(trial, state="waiting")

    def worker_lost(self, trial: Trial, message: str) -> Trial:
        """The trial lost its worker: it waits for its next attempt, or fails where that has happened too often."""
        now = self._trials[trial.arm][trial.number]
        if not self.is_current_attempt(trial):
            return now
        lost = {"workers": now.lost_workers + 1, "seconds": now.seconds + time.time() - now.attempt_started}
        self._storage.set_trial_user_attr(self._id(trial), "lost", lost)
        trial = self._change(trial, lost_workers=lost["workers"], seconds=lost["seconds"], attempt_started=time.time())
        if trial.lost_workers >= LOSSES:
            return self.fail(
                trial, "lost_worker", f"its worker was lost {trial.lost_workers} times, at last: {message}", None
            )
        return self.requeue(trial)

    def is_current_attempt(self, trial: Trial) -> bool:
        """Whether this attempt at the trial is the one that counts: what a stale worker still says changes nothing."""
        now = self._trials[trial.arm][trial.number]
        return now.state == "running" and now.attempt == trial.attempt

    def total(self, arm: Arm) -> int:
        """How many trials an arm has when all is done."""
        asked_for = len(self._planned[arm]) if arm in self._planned else self.spec.trials_of(arm)
        return max(asked_for, len(self._trials[arm]))  # `trials` may have been lowered since

    def remaining(self, arm: Arm) -> int:
        """How many trials of an arm are yet to start: those that wait, and those not yet asked for."""
        return self.total(arm) - len(self._trials[arm]) + len(self._waiting[arm])

    def best(self) -> Trial | None:
        """The completed trial of the search arm with the lowest objective; the earliest of several."""
        return best_of(self._trials["search"], self.spec.metric)

    def correlations(self) -> list[Correlation]:
        """How well the order at each rung foretold the order of the trials that went on to their end."""
        ends = {t.number: t.objective(self.spec.metric) for t in self._trials["search"] if t.state == "complete"}
        return self._ranking.correlations(ends)

    @property
    def active_seconds(self) -> float:
        """How long drivers have worked on this sweep; saved every other second."""
        return self._active_seconds

    def record_active_seconds(self, seconds: float) -> None:
        """Set `active_seconds`; written to the storage every other second."""
        self._active_seconds = seconds
        if time.monotonic() - self._saved > _SAVE_TIME_EVERY:
            self.save_time()

    def save_time(self) -> None:
        """Write `active_seconds` down."""
        self._storage.set_study_user_attr(self._studies["search"], "active_seconds", self._active_seconds)
        self._saved = time.monotonic()

    def close(self) -> None:
        """Let go of the file."""
        self._storage.engine.dispose()

    def _read(self, where: Path | str, arm: Arm) -> None:
        self._studies[arm] = self._storage.get_study_id_from_name(_study_name(self.spec, arm))
        attributes = self._attributes(arm)
        if attributes["format"] != FORMAT:
            raise InputError(
                f"{where}: is a ledger of format {attributes['format']}, this version reads {FORMAT}; use the version "
                "of mt-sweeps that wrote it"
            )
        changed = forbidden_changes(json.loads(attributes["spec"]), json.loads(self.spec.model_dump_json()))
        if changed:
            kept = where.parent / "spec.yaml" if isinstance(where, Path) else self.spec.name
            raise InputError(
                *(f"{kept}: {change}" for change in changed),
                "a sweep goes on only with what it was started with (trials, budget, resources and tracking may "
                "change): change it back, or start a new sweep",
            )
        if "planned" in attributes:
            self._planned[arm] = attributes["planned"]
        frozen = self._storage.get_all_trials(self._studies[arm], deepcopy=False)
        self._ids[arm] = [optuna_private.trial_id(trial) for trial in frozen]
        self._trials[arm] = [trial_from_optuna(arm, trial) for trial in frozen]
        self.steps_done += sum(trial.step for trial in self._trials[arm] if trial.finished)
        self.seconds_done += sum(trial.seconds for trial in self._trials[arm] if trial.finished)
        self._waiting[arm] = {trial.number for trial in self._trials[arm] if trial.state == "waiting"}
        for trial in frozen if arm == "search" else []:
            for step, value in sorted(trial.intermediate_values.items()):
                self._ranking.report(trial.number, step, value)

    def _ask(self, arm: Arm) -> Trial:
        return self._restart(arm, min(self._waiting[arm])) if self._waiting[arm] else self._create(arm)

    def _restart(self, arm: Arm, number: int) -> Trial:
        before = self._trials[arm][number]
        asked = {
            "values": before.values,
            "of": before.replicates,
            "attempt": before.attempt + 1,
            "started": before.started,
            "began": time.time(),
        }
        self._storage.set_trial_user_attr(self._ids[arm][number], "asked", asked)
        self._storage.set_trial_state_values(self._ids[arm][number], TrialState.RUNNING)
        self._waiting[arm].remove(number)
        return self._change(before, state="running", attempt=asked["attempt"], attempt_started=asked["began"])

    def _create(self, arm: Arm) -> Trial:
        number, now = len(self._trials[arm]), time.time()
        values, suggested = self._suggested(arm, number)
        of = self._planned[arm][number].get("of") if arm in self._planned else None
        suggested.set_user_attr("asked", {"values": values, "of": of, "attempt": 1, "started": now, "began": now})
        # Whole or not at all: a driver that is killed while it asks leaves no trial without values.
        self._ids[arm].append(self._storage.create_new_trial(self._studies[arm], template_trial=suggested))
        self._trials[arm].append(
            Trial(
                arm=arm,
                number=number,
                state="running",
                values=values,
                attempt=1,
                started=now,
                attempt_started=now,
                replicates=of and TrialId(*of),
            )
        )
        return self._trials[arm][number]

    def _suggested(self, arm: Arm, number: int) -> tuple[Values, FrozenTrial]:
        if arm in self._planned:
            return self._planned[arm][number]["values"], create_trial(state=TrialState.RUNNING)
        space = self.spec.space(arm)
        if arm not in self._samplers:
            past = self._storage.get_all_trials(self._studies[arm], deepcopy=False)
            self._samplers[arm] = ArmSampler(self.spec.sampler, space, past)
        given = self.spec.points if arm == "search" else []
        if self.spec.sampler.name == "grid":
            given = space.grid()
        fixed = space.to_params(given[number]) if number < len(given) else {}
        return self._samplers[arm].suggest(number, fixed)

    def _end(self, trial: Trial, state: TrialState, last: Report | None, reason: str = "", message: str = "") -> Trial:
        if not self.is_current_attempt(trial):
            return self._trials[trial.arm][trial.number]
        now = self._trials[trial.arm][trial.number]
        seconds = now.seconds + time.time() - now.attempt_started
        facts: dict[str, Any] = {"reason": reason, "message": message, "seconds": seconds}
        if last is not None:
            facts["last"] = {"step": last.step, "time": last.time, "metrics": last.metrics}
        self._storage.set_trial_user_attr(self._id(trial), "end", facts)
        ended = replace(
            now, state=STATES[state], reason=reason, message=message, seconds=seconds, last=last or now.last
        )
        objective = ended.objective(self.spec.metric) if state == TrialState.COMPLETE else None
        self._storage.set_trial_state_values(self._id(trial), state, None if objective is None else [objective])
        self._trials[trial.arm][trial.number] = ended
        self.steps_done, self.seconds_done = self.steps_done + ended.step, self.seconds_done + ended.seconds
        if trial.arm in self._samplers:
            curve = {last.step: ranking_error(last)} if last is not None else {}
            self._samplers[trial.arm].observe(trial.number, objective, curve, reason)
        return ended

    def _change(self, trial: Trial, **changes: Any) -> Trial:
        changed = replace(self._trials[trial.arm][trial.number], **changes)
        self._trials[trial.arm][trial.number] = changed
        return changed

    def _id(self, trial: Trial) -> int:
        return self._ids[trial.arm][trial.number]

    def _attributes(self, arm: Arm) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(self._studies[arm])


def _study_name(spec: SweepSpec, arm: Arm) -> str:
    return spec.name if arm == "search" else f"{spec.name}/{arm}"
