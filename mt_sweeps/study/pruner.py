"""Decide which trials end early, from the reported errors alone, so that a crash changes no decision.

There is no rung before the consistency ramp-up is over: until then results mislead, since a larger weight looks worse.
"""

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass

from mt_sweeps.spec.sections import Pruner
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.ranking_error import RankingError

MEDIAN_OF = 5  # trials at a rung before their median prunes any
MARGIN = 1.0
"""How many standard errors of the difference a trial must be worse to be pruned."""
_FEWEST = 6  # trials whose rank correlation is stated: of fewer, chance alone makes it high or low
_CORRELATED_OF = 8  # trials before a low rank correlation is held against the rung
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
    if spec.trials < needed(spec.pruner):
        return (
            f"{spec.pruner.name} ends no trial before {needed(spec.pruner)} are at a rung, and trials is {spec.trials}"
        )
    return None


def needed(pruner: Pruner) -> int:
    """Return how many trials must be at a rung before any is pruned there."""
    return MEDIAN_OF if pruner.name == "median" else pruner.reduction_factor


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
    """The errors of the trials at each rung, and who is pruned there.

    Args:
        spec: of the sweep.
        at: the rungs, or None for those of the spec.
        margin: how many standard errors worse a trial must be to end.
    """

    def __init__(self, spec: SweepSpec, at: list[int] | None = None, margin: float = MARGIN) -> None:
        self._pruner = spec.pruner
        self._margin = margin
        self._entries: dict[int, dict[int, tuple[int, RankingError]]] = {
            rung: {} for rung in (rungs(spec) if at is None else at)
        }
        self._order: dict[int, list[tuple[float, int]]] = {rung: [] for rung in self._entries}  # rates and numbers

    def is_at_rung(self, number: int, step: int) -> bool:
        """Return True if a trial that reports at this step is ranked there."""
        return any(
            rung <= step and entries.get(number, (step, None))[0] == step for rung, entries in self._entries.items()
        )

    def report(self, number: int, step: int, error: RankingError) -> None:
        """Record a report of a trial. A rung between two evaluations takes the error of the later one.

        Args:
            number: of the trial.
            step: of the report; a trial reports in the order of its steps.
            error: what trials are ranked by.
        """
        for rung, entries in self._entries.items():
            if rung <= step and number not in entries:
                entries[number] = (step, error)
                insort(self._order[rung], (error.rate, number))

    def should_prune(self, number: int, step: int) -> bool:
        """Return True if a trial ends at its report of this step: the same answer for the same errors.

        With `asha`, one in `reduction_factor` trials goes on at a rung, and all while there are fewer than that. With
        `median`, those go on that are no worse than the median of the others. A trial that is ranked behind the last of
        these ends if it is worse than that one by more than `MARGIN` standard errors of their difference.
        """
        for rung, entries in self._entries.items():
            entered, error = entries.get(number, (-1, None))
            last = self._last_to_go_on(rung)
            if entered == step and error is not None and last is not None and self._is_worse(error, last):
                return True
        return False

    def separated(self) -> tuple[int, int]:
        """Return how many of the trials so far are ranked behind the last that goes on, over all rungs.

        Returns:
            Their number, and how many of them are worse than that one by more than noise.
        """
        behind = worse = 0
        for rung, entries in self._entries.items():
            last = self._last_to_go_on(rung)
            if last is not None:
                behind += sum(error.rate > last.rate for _, error in entries.values())
                worse += sum(self._is_worse(error, last) for _, error in entries.values())
        return behind, worse

    def correlations(self, ends: Mapping[int, float]) -> list[Correlation]:
        """Return the rank correlation with the end of every rung that enough trials went on from.

        Args:
            ends: the objective of each completed trial, by number.
        """
        found = []
        for rung, entries in self._entries.items():
            both = [(entries[number][1].rate, end) for number, end in ends.items() if number in entries]
            early, late = [a for a, _ in both], [b for _, b in both]
            if len(both) >= _FEWEST and len(set(early)) > 1 and len(set(late)) > 1:
                from scipy.stats import spearmanr  # takes a second to load, for which all trials wait

                found.append(Correlation(rung, float(spearmanr(early, late).statistic), len(both)))
        return found

    def _last_to_go_on(self, rung: int) -> RankingError | None:
        """Return the error of the last trial that goes on by its rank, or None while too few are there.

        Of equal errors, that of the trial that was asked for first is before the others.
        """
        order = self._order[rung]
        if len(order) < needed(self._pruner):
            return None
        share = (len(order) + 1) // 2 if self._pruner.name == "median" else len(order) // self._pruner.reduction_factor
        return self._entries[rung][order[share - 1][1]][1]

    def _is_worse(self, error: RankingError, last: RankingError) -> bool:
        return error.standard_errors_above(last) > self._margin
