"""Statistics of the finalists: paired differences over seeds, their confidence intervals and p-values.

A seed draws the same labeled images, weights and batches for every contender, so differences are paired by seed and
tested with Student's t. If no images are kept back for the verdict, every seed also redraws the images that are scored
on. Trainings then share images and are not independent, and the plain test would find differences where there are
none, so the variance is corrected as in Nadeau & Bengio (2003, "Inference for the generalization error"). The error
rates and the power of both tests are in docs/verdict.md.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np

ALPHA = 0.05  # the probability of any false "beats" in all comparisons of a sweep together


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


Outcome = Literal["decided", "unlikely", "all", "open"]
"""Of a comparison: one of the two is better; the seeds that are left would hardly show it; all seeds are trained; or
there are more to come."""


@dataclass(frozen=True)
class Comparison:
    """The first contender compared with another.

    Attributes:
        a: name of the first contender.
        b: name of the other.
        difference: error of a minus error of b, with its interval at `level`; a is better if it is below 0.
        p: two-sided p-value, scaled so that it is below `ALPHA` where the test's own is below `level`.
        seeds: number of seeds that both completed.
        level: what the p-value of the test was held to: `ALPHA`, less for other comparisons and other looks.
        after: number of seeds that had been trained when this was found, the failed ones too.
        most: number of seeds that there are at most.
        outcome: see `Outcome`.
    """

    a: str
    b: str
    difference: Interval
    p: float
    seeds: int
    level: float = ALPHA
    after: int = 0
    most: int = 0
    outcome: Outcome = "all"

    @property
    def winner(self) -> str:
        """The name of the contender that is significantly better; empty if there is none."""
        if self.p >= ALPHA:
            return ""
        return self.a if self.difference.mean < 0 else self.b

    def __str__(self) -> str:
        after = f"after {self.after} of at most {self.most} seeds"
        if self.after == self.most:
            after = f"after {self.seeds} seeds"
        if self.winner:
            loser, by = (self.b, -self.difference) if self.winner == self.a else (self.a, self.difference)
            return f"{self.winner} beats {loser} by {by.text('points')}, p = {self.p:.2g}, {after}"
        so_far = " so far" if self.outcome == "open" else ""
        more = "; the remaining seeds are unlikely to decide it" if self.outcome == "unlikely" else ""
        difference = self.difference.text("points")
        return (
            f"{self.a} and {self.b} cannot be told apart{so_far}: {self.a} minus {self.b} is {difference}, "
            f"p = {self.p:.2g}, {after}{more}"
        )


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
        if self.relative is not None and not self.absolute.low <= 0 <= self.absolute.high:
            more = self.relative.mean < 0
            text += f", {-self.relative} more errors" if more else f", {self.relative} fewer errors"
        return text if self.is_shown else f"not shown: {text}"

    @property
    def is_shown(self) -> bool:
        """Whether the whole interval of the gain lies above 0."""
        return self.absolute.low > 0


def interval(errors: Sequence[float], overlap: float = 0.0, images: int = 0) -> Interval:
    """Return the mean error over seeds with its interval, which is cut off at 0 and 1.

    Args:
        errors: one per seed, at least two.
        overlap: as in `compare`.
        images: as in `compare`: the interval of equal errors has a width, too.
    """
    uncut = _interval(errors, overlap, smallest_spread(images))
    return replace(uncut, low=max(0.0, uncut.low))


def compare(
    a: str, b: str, paired: Sequence[float], level: float = ALPHA, overlap: float = 0.0, images: int = 0
) -> Comparison:
    """Compare two contenders by a paired t-test.

    Args:
        a: name of one.
        b: name of the other.
        paired: error of a minus error of b, for each seed that both completed, at least two.
        level: what the p-value is held to; the interval belongs to it.
        overlap: images scored on, divided by images trained on, if every seed redraws both; 0 if the images that are
            scored on are the same for all seeds and are never trained on.
        images: number of images behind an error, which limits how fine differences can be; 0 if unknown.
    """
    floor = smallest_spread(images)
    p = min(1.0, _p_value(paired, overlap, floor) * ALPHA / level)
    difference = _interval(paired, overlap, floor, level)
    return Comparison(a, b, difference, p, len(paired), level, after=len(paired), most=len(paired))


def chance_to_detect(
    paired: Sequence[float], seeds: int, comparisons: int, smallest: float, overlap: float = 0.0, images: int = 0
) -> float:
    """Return how probable it is that more seeds show a difference that matters, given those so far.

    Args:
        paired: error of a minus error of b, by seed.
        seeds: that there will be at the end.
        comparisons: that share `ALPHA`.
        smallest: difference of the mean errors, as a fraction, below which nothing matters.
        overlap: as of `compare`.
        images: as of `compare`.

    Returns:
        The probability that the mean difference at the end is at least `smallest`, and is significant in a single look.
        The true difference is taken to be near that of the seeds so far, with the uncertainty that they leave (a flat
        prior), and the spread in the end to be as it is now.
    """
    from scipy.special import stdtr

    n, (mean, spread) = len(paired), _mean_and_spread(paired, smallest_spread(images))
    needed = max(smallest, _quantile(seeds, ALPHA / comparisons) * spread * math.sqrt(1 / seeds + overlap))
    to_come = spread * math.sqrt(1 / n - 1 / seeds)
    if to_come == 0:
        return float(abs(mean) >= needed)
    return float(stdtr(n - 1, (mean - needed) / to_come) + stdtr(n - 1, (-mean - needed) / to_come))


def gain(
    errors: Mapping[int, float],
    baseline: Mapping[int, float],
    overlap: float = 0.0,
    images: int = 0,
    level: float = ALPHA,
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
        level: one less the coverage of the intervals.

    Returns:
        The gain, or None if the two have fewer than two seeds in common.
    """
    seeds = sorted(errors.keys() & baseline.keys())
    if len(seeds) < 2:
        return None
    a, b = (np.array([by_seed[seed] for seed in seeds]) for by_seed in (errors, baseline))
    floor = smallest_spread(images)
    return Gain(
        _interval((b - a).tolist(), overlap, floor, level), _relative_gain(a, b, overlap, floor, level), len(seeds)
    )


def _relative_gain(a: np.ndarray, b: np.ndarray, overlap: float, floor: float, level: float) -> Interval | None:
    """Return 1 - mean(a) / mean(b) with Fieller's interval, or None if the interval has no ends.

    The ends are the ratios r at which the t-test of a - r b just rejects: the roots of a quadratic in r.
    """
    width = _quantile(len(a), level) ** 2 * (1 / len(a) + overlap)
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


def smallest_spread(images: int) -> float:
    """Return the standard deviation below which an error of so many images is not resolved: half an image."""
    return 0.5 / images if images else 0.0


def _mean_and_spread(values: Sequence[float], floor: float) -> tuple[float, float]:
    """Return the mean and the standard deviation, at least `floor`; of few values, faster than numpy."""
    mean = sum(values) / len(values)
    return mean, max(math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)), floor)


def _standard_error(spread: float, count: int, overlap: float) -> float:
    """Return the standard error of a mean of so many differences (Nadeau & Bengio 2003, section 3.2)."""
    return spread * math.sqrt(1 / count + overlap)


def _p_value(paired: Sequence[float], overlap: float, floor: float) -> float:
    mean, spread = _mean_and_spread(paired, floor)
    error = _standard_error(spread, len(paired), overlap)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    from scipy.special import stdtr  # Student's t; loaded late, as most commands show no comparison

    return float(2 * stdtr(len(paired) - 1, -abs(mean) / error))


@lru_cache(maxsize=4096)
def _quantile(seeds: int, level: float) -> float:
    """Return how many standard errors the mean over so many seeds must be away from 0 to be significant."""
    from scipy.special import stdtrit

    return float(stdtrit(seeds - 1, 1 - level / 2))


def _interval(values: Sequence[float], overlap: float, floor: float, level: float = ALPHA) -> Interval:
    """Return the mean of errors or of their differences with its interval, which is cut off at -1 and 1."""
    mean, spread = _mean_and_spread(values, floor)
    half = _quantile(len(values), level) * _standard_error(spread, len(values), overlap)
    return Interval(mean, max(-1.0, mean - half), min(1.0, mean + half))
