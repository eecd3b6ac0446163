"""Decide which trials end early, from the reported values alone, so that a crash changes no decision.

There is no rung before the consistency ramp-up is over: until then results mislead, since a larger weight looks worse.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass

from mt_sweeps.spec.sweep_spec import SweepSpec

MEDIAN_OF = 5  # trials at a rung before their median prunes any
_CORRELATED_OF = 8  # trials before their rank correlation means anything
_GUESSING = 0.3  # rank correlation below which early results say little


def rungs(spec: SweepSpec) -> list[int]:
    """Return the optimiser steps at which trials are ranked, the same for the whole study; none: nothing is pruned.

    The first is at 0.3 of the steps, or at the latest end of a consistency ramp-up in the space if that is later. With
    `asha`, each next one is `reduction_factor` times later; with `median`, there is one per evaluation. There is none
    in the last fifth of the steps or after the last evaluation but one, where pruning would cost a result and save
    little. Trials of a cross-validation are
    ranked at the ends of folds, so that each is judged on the same images, by whole trainings.
    """
    if spec.pruner.name == "none":
        return []
    found, rung = [], first_rung(spec)
    while rung <= last_rung(spec):
        found.append(rung)
        rung = rung * spec.pruner.reduction_factor if spec.pruner.name == "asha" else rung + _interval(spec)
    return found


def why_not_pruning(spec: SweepSpec) -> str | None:
    """Return why the pruner of this file can end no trial, with the numbers, or None if it can or is `none`."""
    if spec.pruner.name == "none":
        return None
    if not rungs(spec):
        return (
            f"the first rung would be at step {first_rung(spec)} (the consistency ramp-up must be over, and 0.3 of the "
            f"steps), the last may be at {last_rung(spec)} of {spec.total_steps}: nothing is pruned; raise "
            "trainer.steps, lower trainer.evaluate_every, or lower trainer.consistency.ramp_up_steps or start"
        )
    needed = MEDIAN_OF if spec.pruner.name == "median" else spec.pruner.reduction_factor
    if spec.trials < needed:
        return f"{spec.pruner.name} ends no trial before {needed} are at a rung, and trials is {spec.trials}"
    return None


def first_rung(spec: SweepSpec) -> int:
    """Return the earliest step at which a trial may be ranked."""
    part = -(-3 * spec.total_steps // 10)
    if spec.sample_config().is_cross_validated:
        return -(-part // spec.steps) * spec.steps
    ramp_up = max(spec.config(corner).consistency_ramp_end for corner in spec.space().corners())
    return max(ramp_up, part, 1)


def last_rung(spec: SweepSpec) -> int:
    """Return the latest step at which pruning a trial still saves something: an evaluation before the end follows."""
    last_evaluation = (spec.total_steps - 1) // _interval(spec) * _interval(spec)
    return min(4 * spec.total_steps // 5, last_evaluation)


def _interval(spec: SweepSpec) -> int:
    if spec.sample_config().is_cross_validated:
        return spec.steps
    return max(spec.config(corner).evaluation_interval for corner in spec.space().corners())


@dataclass(frozen=True)
class Correlation:
    """How well the ranking at a rung predicted the final ranking.

    Attributes:
        rung: in optimiser steps.
        spearman: rank correlation, from -1 to 1.
        trials: number of trials that reached both.
    """

    rung: int
    spearman: float
    trials: int

    @property
    def is_guessing(self) -> bool:
        """Whether a trial that was pruned there might as well have been the best."""
        return self.trials >= _CORRELATED_OF and self.spearman < _GUESSING

    def __str__(self) -> str:
        text = f"rank correlation of step {self.rung} with the end {self.spearman:z.2f} ({self.trials} trials)"
        if self.is_guessing:
            text += ": pruning is guessing; use pruner: {name: none}, or more steps"
        return text


class RungRanking:
    """The values of the trials at each rung, and who is pruned there.

    Args:
        spec: of the sweep.
        at: the rungs, or None for those of the spec.
    """

    def __init__(self, spec: SweepSpec, at: list[int] | None = None) -> None:
        self._pruner = spec.pruner
        self._entries: dict[int, dict[int, tuple[int, float]]] = {
            rung: {} for rung in (rungs(spec) if at is None else at)
        }
        self._values: dict[int, list[float]] = {rung: [] for rung in self._entries}

    def report(self, number: int, step: int, value: float) -> None:
        """Record a report of a trial. A rung between two evaluations takes the value of the later one.

        Args:
            number: of the trial.
            step: of the report; a trial reports in the order of its steps.
            value: what trials are ranked by, from `ranking_error`.
        """
        for rung, entries in self._entries.items():
            if rung <= step and number not in entries:
                entries[number] = (step, value)
                insort(self._values[rung], value)

    def should_prune(self, number: int, step: int) -> bool:
        """Return True if a trial ends at its report of this step: the same answer for the same values.

        With `asha`, one in `reduction_factor` trials goes on at a rung, and all while there are fewer than that. With
        `median`, those go on that are no worse than the median of the others.
        """
        for rung, entries in self._entries.items():
            entered, value = entries.get(number, (-1, 0.0))
            if entered != step:
                continue
            values = self._values[rung]
            better, reached = bisect_left(values, value), len(values)
            if self._pruner.name == "median":
                if reached >= MEDIAN_OF and better > (reached - 1) / 2:
                    return True
            elif reached >= self._pruner.reduction_factor and better >= reached // self._pruner.reduction_factor:
                return True
        return False

    def distance_to_best(self, number: int) -> float | None:
        """Return how much worse a trial was than the best at the last rung that it reached, or None if it reached none.

        Args:
            number: of the trial.
        """
        reached = [rung for rung, entries in self._entries.items() if number in entries]
        return self._entries[reached[-1]][number][1] - self._values[reached[-1]][0] if reached else None

    def correlations(self, ends: Mapping[int, float]) -> list[Correlation]:
        """Return the rank correlation of every rung with the end.

        Args:
            ends: the objective of each completed trial, by number.
        """
        from scipy.stats import spearmanr  # takes its time to load

        found = []
        for rung, entries in self._entries.items():
            both = [(entries[number][1], end) for number, end in ends.items() if number in entries]
            early, late = [a for a, _ in both], [b for _, b in both]
            if len(both) > 2 and len(set(early)) > 1 and len(set(late)) > 1:
                found.append(Correlation(rung, float(spearmanr(early, late).statistic), len(both)))
        return found
