"""Statistics of the finalists: paired differences over seeds, their confidence intervals and p-values.

A seed draws the same labeled images, weights and batches for every contender, so differences are paired by seed and
tested with Student's t. If no images are kept back for the verdict, every seed also redraws the images that are scored
on. Trainings then share images and are not independent, and the plain test would find differences where there are
none, so the variance is corrected as in Nadeau & Bengio (2003, "Inference for the generalization error"). The error
rates and the power of both tests are in docs/verdict.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

ALPHA = 0.05  # the probability of any false "beats" in all comparisons of a sweep together
MOST_SEEDS = 1000  # a need for more seeds is reported as hopeless


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % confidence interval, as fractions."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return self.text("%")

    def text(self, unit: str) -> str:
        """Return the interval in hundredths; the unit is `points` for a difference of errors, else `%`."""
        return f"{100 * self.mean:z.1f} {unit} [{100 * self.low:z.1f}, {100 * self.high:z.1f}]"

    def __neg__(self) -> "Interval":
        return Interval(-self.mean, -self.high, -self.low)


@dataclass(frozen=True)
class Comparison:
    """The first contender compared with another.

    Attributes:
        a: name of the first contender.
        b: name of the other.
        difference: error of a minus error of b; a is better if it is below 0.
        p: two-sided p-value, corrected by Holm for the comparisons made.
        seeds: number of seeds that both completed.
        more_seeds: seeds beyond these that would make the same difference significant, or None if it is significant
            already or would take more than `MOST_SEEDS`.
    """

    a: str
    b: str
    difference: Interval
    p: float
    seeds: int
    more_seeds: int | None = None

    @property
    def winner(self) -> str:
        """The name of the contender that is significantly better; empty if there is none."""
        if self.p >= ALPHA:
            return ""
        return self.a if self.difference.mean < 0 else self.b

    def __str__(self) -> str:
        if self.winner:
            loser, by = (self.b, -self.difference) if self.winner == self.a else (self.a, self.difference)
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
        absolute: difference of the mean errors; the best is better if it is above 0.
        relative: the fraction of the baseline's errors that the best avoids, or None if the baseline's error is so
            uncertain that the interval has no ends.
        seeds: number of seeds that both completed.
    """

    absolute: Interval
    relative: Interval | None
    seeds: int

    def __str__(self) -> str:
        text = self.absolute.text("points")
        if self.relative is not None:
            more = self.relative.mean < 0
            text += f", {-self.relative} more errors" if more else f", {self.relative} fewer errors"
        return text if self.absolute.low > 0 else f"not shown: {text}"


def interval(errors: Sequence[float], overlap: float = 0.0, images: int = 0) -> Interval:
    """Return the mean error over seeds with its interval, which is cut off at 0 and 1.

    Args:
        errors: one per seed, at least two.
        overlap: as in `compare`.
        images: as in `compare`: the interval of equal errors has a width, too.
    """
    uncut = _interval(np.asarray(errors, dtype=float), overlap, _smallest_spread(images))
    return replace(uncut, low=max(0.0, uncut.low))


def compare(
    errors: Mapping[str, Mapping[int, float]], first: str, overlap: float = 0.0, images: int = 0
) -> list[Comparison]:
    """Compare one contender with every other.

    It is chosen before the finalists are trained (the best of the search), so p-values are corrected for one comparison
    per other contender, and not for all pairs.

    Args:
        errors: by contender, by seed.
        first: the contender that the others are compared with.
        overlap: images scored on, divided by images trained on, if every seed redraws both; 0 if the images that are
            scored on are the same for all seeds and are never trained on.
        images: number of images behind an error, which limits how fine differences can be; 0 if unknown.

    Returns:
        A comparison for every other contender that has two seeds in common with the first, in the order of `errors`.
    """
    floor = _smallest_spread(images)
    comparisons, differences = [], []
    for other in errors:
        seeds = sorted(errors[first].keys() & errors[other].keys())
        if other == first or len(seeds) < 2:
            continue
        paired = np.array([errors[first][seed] - errors[other][seed] for seed in seeds])
        differences.append(paired)
        p = _p_value(paired, overlap, floor)
        comparisons.append(Comparison(first, other, _interval(paired, overlap, floor), p, len(seeds)))
    corrected, levels = _holm([comparison.p for comparison in comparisons])
    return [
        replace(comparison, p=p, more_seeds=None if p < ALPHA else _more_seeds(paired, overlap, floor, level))
        for comparison, paired, p, level in zip(comparisons, differences, corrected, levels, strict=True)
    ]


def gain(
    errors: Mapping[int, float], baseline: Mapping[int, float], overlap: float = 0.0, images: int = 0
) -> Gain | None:
    """Return how much lower the error of a contender is than that of a baseline.

    The interval of the relative gain holds the ratios of the two means that the paired t-test does not reject (Fieller
    1954, "Some problems in interval estimation"). It excludes 0 exactly if the interval of the difference does, also
    where the errors vary less than so many images can resolve.

    Args:
        errors: of the contender, by seed.
        baseline: errors of the baseline, by seed.
        overlap: as in `compare`.
        images: as in `compare`.

    Returns:
        The gain, or None if the two have fewer than two seeds in common.
    """
    seeds = sorted(errors.keys() & baseline.keys())
    if len(seeds) < 2:
        return None
    a, b = (np.array([by_seed[seed] for seed in seeds]) for by_seed in (errors, baseline))
    floor = _smallest_spread(images)
    return Gain(_interval(b - a, overlap, floor), _relative_gain(a, b, overlap, floor), len(seeds))


def _relative_gain(a: np.ndarray, b: np.ndarray, overlap: float, floor: float) -> Interval | None:
    """Return 1 - mean(a) / mean(b) with Fieller's interval, or None if the interval has no ends.

    The ends are the ratios r at which the t-test of a - r b just rejects: the roots of a quadratic in r.
    """
    width = _quantile(len(a), ALPHA) ** 2 * (1 / len(a) + overlap)
    (a_variance, covariance), (_, b_variance) = np.cov(a, b)
    # Half of it for each, so that at a ratio of 1 the variance is that of the difference, with the same floor.
    unresolved = max(0.0, floor**2 - float(np.var(a - b, ddof=1))) / 2
    square = b.mean() ** 2 - width * (b_variance + unresolved)
    middle = a.mean() * b.mean() - width * covariance
    rest = a.mean() ** 2 - width * (a_variance + unresolved)
    if square <= 0:
        return None
    half = float(np.sqrt(max(0.0, middle**2 - square * rest)))
    low, high = (max(0.0, float(end) / float(square)) for end in (middle - half, middle + half))
    return Interval(1 - float(a.mean() / b.mean()), 1 - high, 1 - low)


def _smallest_spread(images: int) -> float:
    """Return the standard deviation below which an error of so many images is not resolved: half an image."""
    return 0.5 / images if images else 0.0


def _standard_error(paired: np.ndarray, overlap: float, floor: float) -> float:
    """Return the standard error of the mean of these differences (Nadeau & Bengio 2003, section 3.2)."""
    spread = max(float(paired.std(ddof=1)), floor)
    return spread * float(np.sqrt(1 / len(paired) + overlap))


def _p_value(paired: np.ndarray, overlap: float, floor: float) -> float:
    error = _standard_error(paired, overlap, floor)
    if error == 0:
        return 1.0 if paired.mean() == 0 else 0.0
    from scipy.special import stdtr  # Student's t; loaded late, as most commands show no comparison

    return float(2 * stdtr(len(paired) - 1, -abs(paired.mean()) / error))


@lru_cache
def _quantile(seeds: int, level: float) -> float:
    """Return how many standard errors the mean over so many seeds must be away from 0 to be significant."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 1 - level / 2))


def _interval(values: np.ndarray, overlap: float, floor: float) -> Interval:
    """Return the mean of errors or of their differences with its interval, which is cut off at -1 and 1."""
    mean, half = float(values.mean()), _quantile(len(values), ALPHA) * _standard_error(values, overlap, floor)
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half))


def _holm(p_values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return the corrected p-values, and the level that each uncorrected one was tested at (Holm 1979)."""
    corrected, levels, largest = [0.0] * len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        left = len(p_values) - rank
        largest = max(largest, min(1.0, left * p_values[i]))
        corrected[i], levels[i] = largest, ALPHA / left
    return corrected, levels


def _more_seeds(paired: np.ndarray, overlap: float, floor: float, level: float) -> int | None:
    spread = max(float(paired.std(ddof=1)), floor)
    needed = _significant_differences(level, overlap)[len(paired) - 1 :]
    is_enough = abs(paired.mean()) >= needed * spread
    return int(is_enough.argmax()) + 1 if is_enough.any() and paired.mean() else None


@lru_cache
def _significant_differences(level: float, overlap: float) -> np.ndarray:
    """Return the smallest significant mean difference with 2, 3, ... seeds, in standard deviations of a difference."""
    from scipy.special import stdtrit

    seeds = np.arange(2, MOST_SEEDS)
    differences: np.ndarray = stdtrit(seeds - 1, 1 - level / 2) * np.sqrt(1 / seeds + overlap)
    return differences
