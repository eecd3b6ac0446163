"""What the search itself gained: who chose the best, what it is better than, and how many trials are as good."""

import math
from dataclasses import dataclass

from mt_sweeps.formatting import counted, percent
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import CHOSEN, Origin, Trial, best_of

_NAMES: dict[Origin, str] = {
    "point": "the given points",
    "random": "the random trials",
    "sampler": "the sampler's suggestions",
}


@dataclass(frozen=True)
class SearchGain:
    """What the search gained.

    Attributes:
        best: the best trial.
        bests: by who chose the values: how many trials completed, and their lowest error.
        within_noise: completed trials within one standard error of the best, itself included.
        completed: trials of the search that completed.
        others: trials of the search, besides the best, that completed or were pruned.
        other_points: those of them that are given points.
        is_all: whether the best and the others are all trials of the search that were started.
    """

    best: Trial
    bests: dict[Origin, tuple[int, float]]
    within_noise: int
    completed: int
    others: int
    other_points: int
    is_all: bool

    def where_from(self) -> str:
        """Return who chose the best and what else was tried, in a sentence; empty if that was not recorded."""
        if not self.best.origin:
            return ""
        if self.best.origin == "point":
            best = f"The best is a given point, trial {self.best.number}: {self._beaten()}"
        else:
            best = f"The best, trial {self.best.number}, was {CHOSEN[self.best.origin]}"
        others = [
            f"the best of {_NAMES[origin]} has {percent(error)} ({count} completed)"
            for origin, (count, error) in self.bests.items()
            if origin != self.best.origin
        ]
        return "; ".join([best, *others])

    def _beaten(self) -> str:
        """Return which other trials are no better than a given point that is the best."""
        if self.others > self.other_points:
            return f"{counted(self.others, 'other trial')} did not beat it"
        nothing_else = "nothing else was tried" if self.is_all else "nothing else has completed"
        points = f"{counted(self.other_points, 'other given point')} did not beat it; " if self.other_points else ""
        return points + nothing_else

    def as_good(self) -> str:
        """Return how many trials are as good as the best, in a sentence; empty if no other has completed."""
        if self.completed == 1:
            return ""
        if self.within_noise == 1:
            return "No other completed trial is within one standard error of it"
        return (
            f"{self.within_noise} of {counted(self.completed, 'completed trial')} are within one standard error of it, "
            "itself included"
        )


def search_gain(ledger: LedgerView, validation: int) -> SearchGain | None:
    """Return what the search gained, or None while no trial has completed.

    Args:
        ledger: of the sweep.
        validation: number of validation images.
    """
    metric, searched = ledger.spec.metric, ledger.trials("search")
    complete = [trial for trial in searched if trial.state == "complete"]
    best = best_of(complete, metric)
    if best is None:
        return None
    bests: dict[Origin, tuple[int, float]] = {}
    for trial in complete:
        count, lowest = bests.get(trial.origin, (0, math.inf))
        bests[trial.origin] = count + 1, min(lowest, trial.objective(metric))
    differences = differences_from_best(complete, metric, validation)
    others = [trial for trial in searched if trial.state in ("complete", "pruned") and trial is not best]
    return SearchGain(
        best=best,
        bests={origin: bests[origin] for origin in _NAMES if origin in bests},
        within_noise=1 + sum(difference < noise for difference, noise in differences),
        completed=len(complete),
        others=len(others),
        other_points=sum(trial.origin == "point" for trial in others),
        is_all=len(searched) == 1 + len(others),
    )


def differences_from_best(complete: list[Trial], metric: str, validation: int) -> list[tuple[float, float]]:
    """Return by how much the others of some completed trials are worse than their best, the next best first.

    Returns:
        Of each, the difference and its standard error, as fractions. It is that of two trials with separate images.
        Trials share their images, which makes it smaller, and differ in their seeds, which makes it larger. It is never
        below one image.
    """
    errors = [trial.error(metric) or (0.0, 0.0) for trial in sorted(complete, key=lambda one: one.objective(metric))]
    (best, best_noise), *others = errors
    return [(error - best, max(math.hypot(best_noise, noise), 1 / validation)) for error, noise in others]
