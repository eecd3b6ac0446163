"""A trial, as the ledger has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.trial import FrozenTrial, TrialState

from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import Values
from trainers.report import Report

State = Literal["waiting", "running", "complete", "pruned", "failed"]
STATES: dict[TrialState, State] = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class Trial:
    """One trial, as the ledger has it.

    Attributes:
        arm: the study it belongs to.
        number: in its arm, from 0.
        state: waiting, running, complete, pruned or failed.
        values: what was searched, under the dotted keys of the search space; of the published baseline, all settings.
        attempt: which try this is, from 1.
        started: when its first attempt began, in seconds since 1970.
        attempt_started: when its last attempt began.
        reason: of a failure, one word; empty otherwise.
        message: of a failure, a sentence; empty otherwise.
        step: optimiser steps of its last report, 0 where there is none.
        last: its last report, once it is finished and had any.
        replicates: arm and number of the trial that this one, a finalist, trains again.
        lost_workers: how many workers it lost.
        seconds: that workers spent on it, a running attempt not counted, nor one whose driver was lost.
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

    @property
    def id(self) -> TrialId:
        """Which trial it is."""
        return TrialId(self.arm, self.number)

    @property
    def finished(self) -> bool:
        """Whether its state will not change any more."""
        return self.state in ("complete", "pruned", "failed")

    def error(self, metric: str) -> tuple[float, float] | None:
        """The error named by `metric` (the student's, where there is no teacher) and its standard error."""
        if self.last is None:
            return None
        name = metric if metric in self.last.metrics else "validation.student_error"
        return self.last.metrics[name], self.last.metrics[name.replace("_error", "_standard_error")]

    def objective(self, metric: str) -> float:
        """The error of a completed trial: that of its last evaluation, not of its luckiest."""
        error = self.error(metric)
        assert error is not None  # a completed trial has its last report
        return error[0]


def best_of(trials: Sequence[Trial], metric: str) -> Trial | None:
    """The completed one with the lowest error; the earliest of several; none: none has completed."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return min(complete, key=lambda trial: trial.objective(metric), default=None)


def common_failure(trials: Sequence[Trial]) -> Trial | None:
    """Return the first failed trial if the first three that ended failed for one reason: a configuration error.

    Args:
        trials: of the search, by number.
    """
    ended = [trial for trial in trials if trial.finished][:3]
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


def ranking_error(report: Report) -> float:
    """What trials are ranked on: the better of the two errors, as a slow teacher is still catching up."""
    return min(report.metrics["validation.student_error"], report.metrics.get("validation.teacher_error", 1.0))


def trial_from_optuna(arm: Arm, frozen: FrozenTrial) -> Trial:
    """From what Optuna has of it."""
    asked, end = frozen.user_attrs["asked"], frozen.user_attrs.get("end", {})
    lost = frozen.user_attrs.get("lost", {"workers": 0, "seconds": 0.0})
    return Trial(
        arm=arm,
        number=frozen.number,
        state=STATES[frozen.state],
        values=asked["values"],
        attempt=asked["attempt"],
        replicates=TrialId(*asked["of"]) if asked["of"] else None,
        started=asked["started"],
        attempt_started=asked["began"],
        reason=end.get("reason", ""),
        message=end.get("message", ""),
        step=max(frozen.intermediate_values, default=0),
        last=Report(**end["last"]) if "last" in end else None,
        lost_workers=lost["workers"],
        seconds=end.get("seconds", lost["seconds"]),
    )
