"""What the finalists prove: paired differences over seeds, their intervals, and when they are larger than luck.

A seed draws the labeled images, the weights and the batches, the same for every contender: so differences are paired.
They are tested by Student's t. Where every seed also redraws the images that are scored on (there are none to spare for
a verdict), its variance is that of Nadeau & Bengio (2003, "Inference for the generalization error"): trainings that
share images are not independent, and the plain test would find differences where there are none. How often each is
wrong, and what differences it finds: docs/verdict.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t, without the second that scipy.stats takes to load

ALPHA = 0.05  # the chance of a false "beats" among all comparisons together
MOST_SEEDS = 1000  # more than that nobody runs


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval, as fractions."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.text("%")

    def text(self, unit: str) -> str:
        """In hundredths: `points` of what is a difference of two errors, `%` of what is a share."""
        return f"{100 * self.mean:.1f} {unit} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class Comparison:
    """The first contender beside another.

    Attributes:
        a: name of the first.
        b: name of the other.
        difference: error of a less that of b: below 0, a is better.
        p: two-sided, corrected by Holm for the comparisons made.
        seeds: that both completed.
        more_seeds: how many beyond these would decide, if the difference stayed as it is; none: more than one runs.
    """

    a: str
    b: str
    difference: Interval
    p: float
    seeds: int
    more_seeds: int | None = None

    @property
    def winner(self) -> str:
        """The one that is better by more than luck; empty: they cannot be told apart."""
        if self.p >= ALPHA:
            return ""
        return self.a if self.difference.mean < 0 else self.b

    def __str__(self) -> str:
        if self.winner:
            loser, by = (self.b, _mirrored(self.difference)) if self.winner == self.a else (self.a, self.difference)
            return f"{self.winner} beats {loser} by {by.text('points')}, p = {self.p:.2g}"
        more = "no number of seeds would tell"
        if self.more_seeds is not None:
            more = f"{self.more_seeds} more seed{'s' * (self.more_seeds > 1)} might tell"
        difference = self.difference.text("points")
        return f"{self.a} and {self.b} cannot be told apart: difference {difference}, p = {self.p:.2g}; {more}"


@dataclass(frozen=True)
class Gain:
    """How much lower the error of the best is than that of the supervised baseline.

    Attributes:
        absolute: difference of the mean errors: above 0, the best is better.
        relative: the share of the baseline's errors that the best does not make; none: the baseline's error is too
            uncertain for its interval to have ends.
        seeds: that both completed.
    """

    absolute: Interval
    relative: Interval | None
    seeds: int

    def __str__(self) -> str:
        told = self.absolute.text("points")
        if self.relative is not None:
            told += f", {self.relative} fewer errors"
        return told if self.absolute.low > 0 else f"not shown: {told}"


def interval(errors: Sequence[float], overlap: float = 0.0) -> Interval:
    """The mean error over seeds.

    Args:
        errors: one a seed, at least two.
        overlap: see `compare`.
    """
    found = _interval(np.asarray(errors, dtype=float), overlap, 0.0)
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def compare(
    errors: Mapping[str, Mapping[int, float]], first: str, overlap: float = 0.0, images: int = 0
) -> list[Comparison]:
    """Compare one contender with every other.

    The one is chosen before its finalists are seen (the best of the search), so that there are as many comparisons as
    others, and not as pairs.

    Args:
        errors: by contender, by seed.
        first: the one.
        overlap: images scored on over images trained on, where every seed redraws both; 0: where the images that are
            scored on are the same for all and nothing was trained on them.
        images: that an error is a share of; differences are no finer than that. 0: not known.

    Returns:
        A comparison for every other contender that has two seeds in common with the first, in the order of `errors`.
    """
    floor = 0.5 / images if images else 0.0
    found, differences = [], []
    for other in errors:
        seeds = sorted(errors[first].keys() & errors[other].keys())
        if other == first or len(seeds) < 2:
            continue
        paired = np.array([errors[first][seed] - errors[other][seed] for seed in seeds])
        differences.append(paired)
        p = _p_value(paired, overlap, floor)
        found.append(Comparison(first, other, _interval(paired, overlap, floor), p, len(seeds)))
    corrected, levels = _holm([comparison.p for comparison in found])
    return [
        replace(
            comparison,
            p=p,
            more_seeds=None if p < ALPHA else _more_seeds(paired, overlap, floor, level),
        )
        for comparison, paired, p, level in zip(found, differences, corrected, levels, strict=True)
    ]


def gain(
    errors: Mapping[int, float], baseline: Mapping[int, float], overlap: float = 0.0, images: int = 0
) -> Gain | None:
    """How much lower the error of one contender is than that of a baseline; none: fewer than two seeds in common.

    The interval of the relative gain has the ratios of the two means that the paired t-test does not rule out (Fieller
    1954, "Some problems in interval estimation"): it leaves out 0 where that of the difference does.

    Args:
        errors: by seed.
        baseline: its errors, by seed.
        overlap: as in `compare`.
        images: as in `compare`.
    """
    seeds = sorted(errors.keys() & baseline.keys())
    if len(seeds) < 2:
        return None
    a, b = (np.array([by_seed[seed] for seed in seeds]) for by_seed in (errors, baseline))
    floor = 0.5 / images if images else 0.0
    width = _quantile(len(seeds), ALPHA) ** 2 * (1 / len(seeds) + overlap)
    (a_spread, both), (_, b_spread) = np.cov(a, b)
    square = b.mean() ** 2 - width * max(b_spread, floor**2)
    middle = a.mean() * b.mean() - width * both
    rest = a.mean() ** 2 - width * max(a_spread, floor**2)
    relative = None
    if square > 0:
        half = float(np.sqrt(max(0.0, middle**2 - square * rest)))
        ends = [max(0.0, float(end) / float(square)) for end in (middle - half, middle + half)]
        relative = Interval(1 - float(a.mean() / b.mean()), 1 - ends[1], 1 - ends[0])
    return Gain(_interval(b - a, overlap, floor), relative, len(seeds))


def _standard_error(paired: np.ndarray, overlap: float, floor: float) -> float:
    """Of the mean of these differences (Nadeau & Bengio 2003, section 3.2)."""
    spread = max(float(paired.std(ddof=1)), floor)
    return spread * float(np.sqrt(1 / len(paired) + overlap))


def _p_value(paired: np.ndarray, overlap: float, floor: float) -> float:
    error = _standard_error(paired, overlap, floor)
    if error == 0:
        return 1.0 if paired.mean() == 0 else 0.0
    return float(2 * stdtr(len(paired) - 1, -abs(paired.mean()) / error))


@lru_cache
def _quantile(seeds: int, level: float) -> float:
    """How many standard errors the mean over so many seeds must be away from 0."""
    return float(stdtrit(seeds - 1, 1 - level / 2))


def _interval(values: np.ndarray, overlap: float, floor: float) -> Interval:
    half = _quantile(len(values), ALPHA) * _standard_error(values, overlap, floor)
    return Interval(float(values.mean()), float(values.mean()) - half, float(values.mean()) + half)


def _holm(p_values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Corrected p-values, and the level that each plain one was held to (Holm 1979)."""
    corrected, levels, largest = [0.0] * len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        left = len(p_values) - rank
        largest = max(largest, min(1.0, left * p_values[i]))
        corrected[i], levels[i] = largest, ALPHA / left
    return corrected, levels


def _more_seeds(paired: np.ndarray, overlap: float, floor: float, level: float) -> int | None:
    spread = max(float(paired.std(ddof=1)), floor)
    needed = _needed(level, overlap)[len(paired) - 1 :]
    decided = abs(paired.mean()) >= needed * spread
    return int(decided.argmax()) + 1 if decided.any() and paired.mean() else None


@lru_cache
def _needed(level: float, overlap: float) -> np.ndarray:
    """The differences, in their own s.d., that 2, 3, ... seeds just tell from none."""
    seeds = np.arange(2, MOST_SEEDS)
    found: np.ndarray = stdtrit(seeds - 1, 1 - level / 2) * np.sqrt(1 / seeds + overlap)
    return found


def _mirrored(of: Interval) -> Interval:
    return Interval(-of.mean, -of.high, -of.low)
