"""A trial, as the ledger has it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from pydantic import TypeAdapter

from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import Values
from mt_sweeps.storage.ledger_rows import TrialRow
from trainers.report import Report, metric_of, standard_error_of

State = Literal["waiting", "running", "complete", "pruned", "failed"]
Origin = Literal["point", "random", "sampler", ""]
"""Who chose the values of a trial: a person, chance or the sampler's model; empty: it was not recorded."""
CHOSEN: dict[Origin, str] = {
    "point": "a given point",
    "random": "drawn at random",
    "sampler": "suggested by the sampler",
}
"""Who chose the values of a trial, in words; nothing of one that was not recorded."""
STATES: dict[str, State] = {  # by the names that Optuna has for them
    "WAITING": "waiting",
    "RUNNING": "running",
    "COMPLETE": "complete",
    "PRUNED": "pruned",
    "FAIL": "failed",
}
BY_HAND = "ended_by_hand"
"""The reason of a trial that a person ended; it is pruned, and what it measured counts."""


@dataclass(frozen=True)
class _Task:
    """The values that a trial tries, and when its attempt began; kept as the attribute `asked`."""

    values: dict[str, Any]  # `Values`, and what plugins have as settings
    attempt: int
    started: float
    began: float
    of: tuple[Arm, int] | None
    origin: Origin = ""
    request: str = ""


@dataclass(frozen=True)
class _End:
    """The attribute `end`: what became of a trial."""

    reason: str = ""
    message: str = ""
    seconds: float | None = None
    last: Report | None = None


@dataclass(frozen=True)
class _Lost:
    """The attribute `lost`: the workers that a trial lost, and the seconds that they spent on it."""

    workers: int = 0
    seconds: float = 0.0


_task, _end, _lost = TypeAdapter(_Task), TypeAdapter(_End), TypeAdapter(_Lost)


@dataclass(frozen=True)
class Trial:
    """One trial, as the ledger has it.

    Attributes:
        arm: the study it belongs to.
        number: in its arm, from 0.
        state: what became of it so far.
        values: the searched values under their dotted keys; of the published baseline and the finalists, all settings.
        attempt: number of the current or last attempt, from 1; 0: it waits for its first.
        started: when its first attempt started, in seconds since 1970; before that, when it was added.
        attempt_started: when its last attempt started.
        reason: of a failure or of an end by hand, one word; else empty.
        message: of a failure or of an end by hand, a sentence; else empty.
        step: optimiser steps of its last report, 0 if it has none.
        last: its last report, once it has ended, or None.
        replicates: of a finalist, the trial whose configuration it trains again; else None.
        lost_workers: number of workers that it lost.
        seconds: that workers spent on it, without a running attempt and without those whose driver was lost.
        origin: who chose its values; empty also for combinations of a grid and for finalists.
        request: of a point that was added while the sweep ran, the id of the request; else empty.
    """

    arm: Arm
    number: int
    state: State
    values: Values
    attempt: int
    started: float
    attempt_started: float
    reason: str = ""
    message: str = ""
    step: int = 0
    last: Report | None = None
    replicates: TrialId | None = None
    lost_workers: int = 0
    seconds: float = 0.0
    origin: Origin = ""
    request: str = ""

    @property
    def id(self) -> TrialId:
        """Which trial it is."""
        return TrialId(self.arm, self.number)

    @property
    def finished(self) -> bool:
        """Whether its state is final."""
        return self.state in ("complete", "pruned", "failed")

    @property
    def is_ended_by_hand(self) -> bool:
        """Whether a person ended it; it is pruned then."""
        return self.state == "pruned" and self.reason == BY_HAND

    @property
    def is_probe(self) -> bool:
        """Whether it is a linear probe, which takes seconds and no optimiser steps."""
        return self.arm == "probe" or (self.replicates is not None and self.replicates.arm == "probe")

    def error(self, metric: str) -> tuple[float, float] | None:
        """Return the error named by `metric` (the student's, if there is no teacher) and its standard error."""
        if self.last is None:
            return None
        name = metric if metric in self.last.metrics else metric_of(metric, "student")
        return self.last.metrics[name], self.last.metrics[standard_error_of(name)]

    def objective(self, metric: str) -> float:
        """Return the error of a completed trial at its last evaluation, which need not be its best."""
        error = self.error(metric)
        assert error is not None  # a completed trial has its last report
        return error[0]


@dataclass(frozen=True)
class EarlierTrial:
    """A completed trial of an earlier sweep: its values, and its objective there."""

    sweep: str
    values: Values
    error: float


@dataclass(frozen=True)
class Prior:
    """What an arm knows before its first trial; kept as the attribute `prior` of its study.

    Attributes:
        points: that are tried after those of the file: the best of earlier sweeps, and those of `sampler.prior`.
        trials: of earlier sweeps, that the sampler is given.
    """

    points: list[Values] = field(default_factory=list)
    trials: list[EarlierTrial] = field(default_factory=list)

    @classmethod
    def from_json(cls, content: Any) -> "Prior":
        """Return it from the attribute.

        Raises:
            KeyError, TypeError: it is damaged.
        """
        return cls(list(content["points"]), [EarlierTrial(**trial) for trial in content["trials"]])


def shown_state(trial: Trial, driven: bool) -> State:
    """Return the state of a trial as people see it: what a dead driver left running will run again, and waits.

    Args:
        trial: any.
        driven: whether a process drives its sweep.
    """
    return "waiting" if trial.state == "running" and not driven else trial.state


def best_of(trials: Sequence[Trial], metric: str) -> Trial | None:
    """Return the completed trial with the lowest error (the earliest of equals), or None if none has completed."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return min(complete, key=lambda trial: trial.objective(metric), default=None)


def common_failure(trials: Sequence[Trial]) -> Trial | None:
    """Return the first failed trial if the first three that ran failed for one reason: a configuration error.

    Args:
        trials: of the search, by number.
    """
    # Refused ones cost nothing. Only the first few are read: this runs at the end of each of many trials.
    ended = list(islice((trial for trial in trials if trial.finished and trial.reason != "refused"), 3))
    alike = all(trial.state == "failed" and trial.reason == ended[0].reason for trial in ended)
    return ended[0] if alike and len(ended) == 3 else None


def trials_since_improvement(trials: Sequence[Trial], metric: str) -> int:
    """Return how many trials completed since the best improved by more than its own standard error.

    Args:
        trials: of the search.
        metric: that they are judged by.
    """
    complete = [trial for trial in trials if trial.state == "complete" and trial.last is not None]
    best, since = float("inf"), 0
    for trial in sorted(complete, key=lambda trial: trial.last.time if trial.last else 0.0):
        error, noise = trial.error(metric) or (1.0, 0.0)
        since += 1
        if error < best:
            best, since = error - noise, 0
    return since


def trial_from_row(arm: Arm, row: TrialRow, metric: str) -> Trial:
    """Return a trial as the storage has it.

    Args:
        arm: that it belongs to.
        row: the trial in Optuna's storage.
        metric: that a completed trial must have.

    Raises:
        KeyError: it has no values.
        ValueError: something else of it is missing, or cannot be.
    """
    task = _task.validate_json(row.attributes["asked"])
    end = _end.validate_json(row.attributes["end"]) if "end" in row.attributes else _End()
    lost = _lost.validate_json(row.attributes["lost"]) if "lost" in row.attributes else _Lost()
    trial = Trial(
        arm=arm,
        number=row.number,
        state=STATES[row.state],
        values=task.values,
        attempt=task.attempt,
        replicates=task.of and TrialId(*task.of),
        started=task.started,
        attempt_started=task.began,
        reason=end.reason,
        message=end.message,
        step=row.step,
        last=end.last,
        lost_workers=lost.workers,
        seconds=lost.seconds if end.seconds is None else end.seconds,
        origin=task.origin,
        request=task.request,
    )
    if trial.state == "complete" and (end.last is None or trial.error(metric) is None):
        raise ValueError(f"{trial.id.label} is complete, and has no last report")
    return trial
