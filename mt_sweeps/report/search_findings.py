"""The findings on the search: its trials and their curves, where the good ones lie, and which keys matter."""

from dataclasses import dataclass

from mt_sweeps.report.axes import Scale
from mt_sweeps.search_space.space import Value, Values


@dataclass(frozen=True)
class TrialFinding:
    """A trial of the search.

    Attributes:
        trial: its number.
        state: what became of it.
        step: optimiser steps of its last report.
        error: None unless it completed.
        last_error: at its last report, also if it was pruned or failed; None: it has none.
        reason: of a failure, one word; else empty.
        values: those that it tried.
    """

    trial: int
    state: str
    step: int
    error: float | None
    last_error: float | None
    reason: str
    values: Values


@dataclass(frozen=True)
class DrawnTrial:
    """A trial of the search that figures show: it completed, or was pruned at the error of its last report."""

    trial: int
    error: float
    values: Values
    pruned: bool = False


@dataclass(frozen=True)
class Progress:
    """A trial that ended: what all trials had cost by then, its errors as of a trial, and the best error so far."""

    trial: int
    state: str
    hours: float
    gpu_hours: float
    error: float | None
    last_error: float | None
    best: float | None


@dataclass(frozen=True)
class Curve:
    """A learning curve: the errors of both networks, by optimiser step; None where a network has none."""

    arm: str
    trial: int
    step: list[int]
    student: list[float | None]
    teacher: list[float | None]

    def errors(self, network: str) -> list[float | None]:
        """Return the errors of `student` or `teacher`."""
        return self.student if network == "student" else self.teacher


@dataclass(frozen=True)
class Curves:
    """Learning curves of the search, the best trial first, and of the best supervised baseline.

    Attributes:
        of: how many trials of the search have one.
        rungs: steps at which trials were ranked.
        ramp_up: step at which the consistency ramp-up of the best ends, or None.
        best: number of the best trial, or None.
        lines: the curves that are shown.
    """

    of: int
    rungs: list[int]
    ramp_up: int | None
    best: int | None
    lines: list[Curve]


@dataclass(frozen=True)
class GoodRange:
    """The part of a range in which the best fifth lies, without a tenth of them at either end."""

    low: Value
    high: Value


@dataclass(frozen=True)
class GoodChoice:
    """How many of the best fifth have a choice; it is marked if they are its even share or more."""

    choice: Value
    trials: int
    marked: bool


GoodRegion = GoodRange | list[GoodChoice] | None
"""Where the best fifth lies on an axis; None: none of it does."""


@dataclass(frozen=True)
class Parameter:
    """One axis of the search: what is searched there, and where the best fifth lies.

    Attributes:
        key: dotted.
        name: of the branch in the ledger.
        where: condition of the branch, or empty.
        scale: on which it is searched.
        range: both ends of a range, or all choices.
        good: where the best fifth lies.
        good_trials: how many of the best fifth have a value on this axis.
    """

    key: str
    name: str
    where: str
    scale: Scale
    range: list[Value]
    good: GoodRegion
    good_trials: int


@dataclass(frozen=True)
class Importance:
    """How much each key decides whether a trial is among the best fifth; `shares` add up to 1."""

    method: str
    complete: int
    good: int
    shares: dict[str, float]
