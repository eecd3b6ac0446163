"""The status of a sweep, read from its ledger, for `status` and `list`."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from mt_sweeps.formatting import counted, duration, labeled, local_time, metric_text, values_text
from mt_sweeps.program import program
from mt_sweeps.results.finalists import Verdict, compare_finalists, not_compared_text
from mt_sweeps.results.probe import unbeaten_in_validation
from mt_sweeps.results.search_gain import search_gain
from mt_sweeps.results.time_left import TimeLeft
from mt_sweeps.results.training_result import FinalModel, final_models
from mt_sweeps.results.unstarted import unstarted_text
from mt_sweeps.search_space.space import Values
from mt_sweeps.spec.arms import Arm
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study import budget
from mt_sweeps.study.ledger_view import LedgerView, ledger_of
from mt_sweeps.study.trial import Origin, Trial, common_failure, shown_state
from trainers.report import error_name

FORMAT = "mt-sweeps-status/1"  # of `--json`, described in docs/json.md

State = Literal["running", "finished", "interrupted", "failed"]


@dataclass(frozen=True)
class ArmStatus:
    """The number of an arm's trials: in total, and by state. Trials that have not been created yet are waiting."""

    total: int
    waiting: int
    running: int
    complete: int
    pruned: int
    failed: int


@dataclass(frozen=True)
class BestStatus:
    """The best trial of the search, with its error, as fractions."""

    trial: int
    metric: str
    error: float
    standard_error: float
    values: Values
    origin: Origin


@dataclass(frozen=True)
class SweepStatus:
    """The status of a sweep.

    Attributes:
        name: of the sweep.
        state: see `sweep_state`.
        arms: the trials of each arm.
        best: the best trial of the search, or None if no trial has completed.
        seconds: that drivers have worked on it.
        search: who chose the best and what it is better than, in a sentence; empty if that is not known.
        seconds_left: until it has ended, at the speed so far; of one that is interrupted, once it goes on; None: it has
            ended, or nothing was evaluated yet.
        verdict: after how many seeds the verdict ended and why, or that it has not, and what a budget left uncompared;
            empty: there was no look at it yet.
        comparisons: of the best of the search with each other contender, a sentence each.
        trained: the final trainings that lie in this home, with their test errors.
        probe: that the linear probe is not beaten on the validation images, where no verdict compares it; else empty.
        unstarted: of one that is finished, why trials were left unstarted, which, and what to do; empty: none were.
    """

    name: str
    state: State
    arms: dict[Arm, ArmStatus]
    best: BestStatus | None
    started: float
    seconds: float
    failure: str = ""
    seconds_left: float | None = None
    search: str = ""
    verdict: str = ""
    comparisons: tuple[str, ...] = ()
    trained: tuple[FinalModel, ...] = ()
    probe: str = ""
    unstarted: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what `status --json` prints."""
        return {"format": FORMAT, **asdict(self)}


def sweep_status(sweep: SweepStore) -> SweepStatus:
    """Return the status of a sweep.

    Raises:
        InputError: the sweep cannot be read, or a plugin that it needs is not imported.
    """
    ledger = ledger_of(sweep)
    spec = ledger.spec
    driven = sweep.is_driven
    best = ledger.best()
    environment = sweep.load_environment()
    gain = search_gain(ledger, environment.images["validation"]) if best is not None else None
    verdict = compare_finalists(ledger, environment.images, environment.groups) if best is not None else None
    state = sweep_state(sweep, ledger, driven)
    return SweepStatus(
        name=sweep.name,
        state=state,
        arms={arm: _arm_status(ledger, arm, driven) for arm in spec.arms()},
        best=None if best is None else _best_status(best, spec.metric),
        started=environment.started,
        seconds=ledger.active_seconds,
        failure=_failure(ledger) if state == "failed" else "",
        seconds_left=TimeLeft(ledger, environment.concurrent, environment).seconds()
        if state in ("running", "interrupted")
        else None,
        search="" if gain is None else gain.where_from(),
        verdict=not_compared_text(ledger, {}) if verdict is None else _verdict_text(verdict),
        comparisons=() if verdict is None else tuple(map(str, verdict.comparisons)),
        trained=tuple(final_models(sweep.home.trained, environment.id)),
        probe=unbeaten_in_validation(ledger, verdict.comparisons if verdict else []) or "",
        unstarted=unstarted_text(sweep, ledger) if state == "finished" else "",
    )


def _verdict_text(verdict: Verdict) -> str:
    return "; ".join(text for text in (verdict.ended, verdict.not_compared) if text)


def sweep_state(sweep: SweepStore, ledger: LedgerView, driven: bool) -> State:
    """Return the state of a sweep.

    Args:
        sweep: the sweep.
        ledger: of the sweep; only read.
        driven: whether a process drives the sweep.

    Returns:
        `running` if it is driven; `failed` if trials of the search failed and none completed, and none is left or the
        first three failed alike, which ended it; `interrupted` if `resume` would have something to do; else
        `finished`, also when a budget has ended it.
    """
    if driven:
        return "running"
    searched = ledger.trials("search")
    if common_failure(searched) is None and _has_work_left(sweep, ledger):
        return "interrupted"
    is_failed = ledger.best() is None and any(trial.state == "failed" for trial in searched)
    return "failed" if is_failed else "finished"


def status_text(status: SweepStatus, resume_command: str) -> str:
    """Return the status as several lines for people."""
    lines = [
        f"{status.name}: {status.state}, {duration(status.seconds)} of work{_left_text(status)}; started "
        f"{local_time(status.started)}"
    ]
    if status.failure:
        lines.append(f"  failed     {status.failure}")
    if status.unstarted:
        lines.append(f"  ended      {status.unstarted}")
    if status.probe:
        lines.append(f"  caution    {status.probe}")
    for arm, trials in status.arms.items():
        counts = asdict(trials)
        total = counts.pop("total")
        waiting = "not started" if status.unstarted else "waiting"
        names = {state: waiting if state == "waiting" else state for state in counts}
        by_state = ", ".join(f"{count} {names[state]}" for state, count in counts.items() if count)
        at_most = "at most " if arm == "finalists" and counts["waiting"] else ""
        lines.append(f"  {arm:10} {at_most}{counted(total, 'trial')}: {by_state}")
    if status.best is not None:
        lines.append(f"  best       trial {status.best.trial}: {_best_error_text(status.best)}")
        lines.append(f"             {values_text(status.best.values)}")
    if status.search:
        lines.append(f"             {status.search}")
    if status.verdict:
        first, *others = *status.comparisons, status.verdict
        lines += [f"  verdict    {first}", *(f"             {other}" for other in others)]
    lines += labeled("test error", [one.line for one in status.trained])
    if status.state == "failed":
        lines.append("  no trial completed: correct the file, and run it anew")
    if status.state == "interrupted":
        lines.append(f"  go on with: {resume_command}")
    return "\n".join(lines)


def _left_text(status: SweepStatus) -> str:
    return "" if status.seconds_left is None else f", about {duration(status.seconds_left)} left"


def list_text(sweeps: list[SweepStatus]) -> str:
    """Return one line per sweep for people."""
    if not sweeps:
        return f"no sweeps yet; start one with: {program()} run search_spaces/digits.yaml"
    width = max(len(status.name) for status in sweeps)
    lines = []
    for status in sweeps:
        search = status.arms["search"]
        ended = search.complete + search.pruned + search.failed
        best = "" if status.best is None else f"best {_best_error_text(status.best)}"
        times = f"{local_time(status.started)}  {duration(status.seconds):>12} of work"
        trials = f"{ended}/{search.total} trials"
        line = f"{status.name:{width}}  {status.state:11}  {times}  {trials:14}  {status.failure or best}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _arm_status(ledger: LedgerView, arm: Arm, driven: bool) -> ArmStatus:
    states = [shown_state(trial, driven) for trial in ledger.trials(arm)]
    return ArmStatus(
        total=ledger.total(arm),
        waiting=ledger.total(arm) - len(states) + states.count("waiting"),
        running=states.count("running"),
        complete=states.count("complete"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
    )


def _best_status(best: Trial, metric: str) -> BestStatus:
    error = best.error(metric)
    assert error is not None  # a completed trial has its last report
    return BestStatus(best.number, metric, *error, best.values, best.origin)


def _failure(ledger: LedgerView) -> str:
    first = next(trial for trial in ledger.trials("search") if trial.state == "failed")
    return f"trial {first.number}: {first.reason}: {first.message.splitlines()[0] if first.message else ''}"


def _best_error_text(best: BestStatus) -> str:
    return metric_text(error_name(best.metric), (best.error, best.standard_error))


def search_stop_reason(sweep: SweepStore, ledger: LedgerView) -> str | None:
    """Return why the search starts no more trials, or None if it goes on as long as there are any.

    Args:
        sweep: the sweep.
        ledger: of it; only read.
    """
    environment = sweep.load_environment()
    gpus, concurrent = environment.gpus_per_trial, environment.concurrent
    return budget.stop_reason(ledger, ledger.active_seconds, gpus * ledger.seconds_done, gpus, concurrent)


def is_budget_spent(sweep: SweepStore, ledger: LedgerView) -> bool:
    """Return True if no more trials of any arm would start; arguments as of `search_stop_reason`."""
    gpus = sweep.load_environment().gpus_per_trial
    return budget.is_spent(ledger, ledger.active_seconds, gpus * ledger.seconds_done)


def _has_work_left(sweep: SweepStore, ledger: LedgerView) -> bool:
    """Return True if a driver would find a trial to run."""
    if any(trial.state == "running" for trial in ledger.all_trials()):
        return True
    if is_budget_spent(sweep, ledger):
        return False
    is_search_over = search_stop_reason(sweep, ledger) is not None
    is_search_left = not is_search_over and any(
        ledger.remaining(arm) for arm in ledger.spec.arms() if arm != "finalists"
    )
    has_finalists = "finalists" in ledger.spec.arms() and ledger.best() is not None
    return is_search_left or (has_finalists and ledger.remaining("finalists") > 0)
