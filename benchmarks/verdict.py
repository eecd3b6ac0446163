"""Is the verdict calibrated, and what can it find? Simulated finalists, judged by the code that judges real ones.

    uv run python benchmarks/verdict.py               # exit status 1 if equals "beat" each other too often
    uv run python benchmarks/verdict.py --estimate    # trains the digits: how real finalists spread and correlate

A repetition is a whole sweep of equals: a search of 16 trials on validation images, whose best is the first contender;
the next best and the baselines are the others. Each is trained again on fresh seeds, and they are compared after each
seed from the third on. A seed changes the errors of all contenders (by its labels) and of each one, and errors are
counted on finitely many images. Counted are the sweeps in which one contender beats another by the verdict.

A budget ends the finalists after a random number of trainings, most often between two seeds: then there is one more
look, at those contenders that have the last seed.
"""

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from mt_sweeps.results.group_sequential import compare_sequentially
from mt_sweeps.results.spending import FIRST_LOOK
from mt_sweeps.results.statistics import ALPHA, Comparison, interval

SMALLEST = 0.01  # `finalists.smallest_gain` by default
STANDARD = 0.01 * 2**0.5  # s.d. of the paired differences, where one is better
LIMIT = 0.065  # 5 %, and three standard errors of 2,000 repetitions
NAMES = ("trial", "trial 2", "trial 3", "supervised", "published")
# What the first is compared with, by how many those are.
FAMILIES = {1: ("supervised",), 2: NAMES[3:], 3: (NAMES[1], *NAMES[3:]), 4: NAMES[1:]}

Errors = dict[str, dict[int, float]]  # by contender and seed, the first first

# What `--estimate` found on the digits: benchmarks/results/verdict.md
CORRELATION, CORRELATION_AT_MOST = 0.007, 0.05
DIFFERING = 0.03  # Mean Teacher and supervised
DIGITS_POOL, DIGITS_SCORED = 1438, 300
OVERLAP = DIGITS_SCORED / (DIGITS_POOL - DIGITS_SCORED)
ASSUMED = DIGITS_SCORED / DIGITS_POOL  # the correlation for which the corrected test is made


@dataclass(frozen=True)
class Equals:
    """Contenders none of which is better than another.

    Attributes:
        name: of the case.
        seeds: how many each is trained again with, at most.
        others: contenders beside the first, 1 to 4.
        error: of all, as a fraction.
        images: that errors are counted on.
        shared: s.d. of what a seed does to all contenders.
        own: s.d. of what it does to one.
        bad: share of trainings that go wrong, and then err by `worse` more.
        redrawn: the correlation of the paired differences of two splits; none: the images are kept back.
        differing: how differently two contenders err on the images that are kept back, though alike on others: variance
            of that, in variances of a paired difference.
        corrected: whether the verdict knows that splits are redrawn.
        budget: whether a budget ends the trainings.
        resumed: whether the trainings then go on; what was claimed where the budget ended them counts too.
    """

    name: str
    seeds: int
    others: int
    error: float = 0.08
    images: int = 300
    shared: float = 0.02
    own: float = 0.01
    bad: float = 0.0
    worse: float = 0.2
    redrawn: float | None = None
    differing: float = 0.0
    corrected: bool = True
    budget: bool = False
    resumed: bool = False

    def drawn(self, rng: np.random.Generator, trials: int = 16) -> Errors:
        """Return the errors of the finalists of one sweep."""
        spread = self.own**2 + self.error * (1 - self.error) / self.images
        rho = self.redrawn or 0.0
        # What a contender has of the images that all splits are drawn from; the search sees it through fewer of them.
        in_pool = rng.normal(0, np.sqrt(spread * rho / (1 - rho)), trials + 1)
        seen = in_pool + rng.normal(
            0, np.sqrt(spread * rho / (1 - rho) * (DIGITS_POOL / DIGITS_SCORED - 1)), trials + 1
        )
        order = np.argsort(self._counted(rng, seen[:trials] + rng.normal(0, self.own, trials)), kind="stable")
        of = dict(zip(NAMES, [*order[:3], trials, trials], strict=True))
        # The supervised baseline is searched too, and the published one is not.
        of["supervised"] = int(rng.integers(trials))
        constant = in_pool + rng.normal(0, np.sqrt(spread * self.differing), trials + 1)
        labels = rng.normal(0, self.shared, self.seeds)
        errors = {}
        for name in (NAMES[0], *FAMILIES[self.others]):
            mean = constant[of[name]] + labels + rng.normal(0, self.own, self.seeds)
            mean = mean + self.worse * (rng.random(self.seeds) < self.bad)
            errors[name] = dict(enumerate(self._counted(rng, mean).tolist()))
        return errors

    def _counted(self, rng: np.random.Generator, above: np.ndarray) -> np.ndarray:
        return rng.binomial(self.images, np.clip(self.error + above, 0, 1)) / self.images

    def false_positives(self, repetitions: int, seed: int = 0) -> float:
        """Return the share of sweeps in which one contender beats another."""
        rng, count = np.random.default_rng([seed, self.seeds, self.others]), 0
        overlap = OVERLAP if self.redrawn is not None and self.corrected else 0.0
        for _ in range(repetitions):
            errors = self.drawn(rng)
            compared = compare_sequentially(errors, range(self.seeds), SMALLEST, overlap, self.images)
            claims = any(each.winner for each in compared.values())
            if self.budget:
                part = until(budget(rng, self.others, self.seeds), errors, compared)
                at_end = compare_sequentially(part, range(self.seeds), SMALLEST, overlap, self.images, is_over=True)
                claims = any(each.winner for each in at_end.values()) or (claims and self.resumed)
            count += claims
        return count / repetitions


def budget(rng: np.random.Generator, others: int, seeds: int) -> int:
    """Return after how many trainings a budget ends the finalists, from the first that a look can follow."""
    return int(rng.integers((FIRST_LOOK - 1) * (others + 1) + 2, seeds * (others + 1), endpoint=True))


def until(trainings: int, errors: Errors, compared: dict[str, Comparison]) -> Errors:
    """Return the errors of the first trainings, in the order of `finalists.plan`.

    Args:
        trainings: how many.
        errors: of all that would be trained without a budget.
        compared: what they come to: a contender whose comparison is settled is not trained again.
    """
    first, *others = errors
    after = {first: max(compared[name].after for name in others)} | {name: compared[name].after for name in others}
    order = [(name, seed) for seed in range(after[first]) for name in errors if seed < after[name]]
    part: Errors = {name: {} for name in errors}
    for name, seed in order[:trainings]:
        part[name][seed] = errors[name][seed]
    return part


def claimed() -> dict[str, dict[str, Any]]:
    """The cases in which the verdict must keep what it promises."""
    return {
        "kept back": {},
        "one training in twenty goes wrong": {"bad": 0.05},
        "no spread but that of 300 images": {"own": 0.0, "shared": 0.0},
        "100 images, 2 % error: many ties": {"own": 0.0, "shared": 0.005, "images": 100, "error": 0.02},
        f"redrawn, correlation {CORRELATION}": {"redrawn": CORRELATION},
        f"redrawn, {CORRELATION_AT_MOST}": {"redrawn": CORRELATION_AT_MOST},
        f"redrawn, {2 * CORRELATION_AT_MOST}": {"redrawn": 2 * CORRELATION_AT_MOST},
        f"redrawn, {CORRELATION_AT_MOST}, one in twenty goes wrong": {"redrawn": CORRELATION_AT_MOST, "bad": 0.05},
        "a budget ends them": {"budget": True},
        "a budget ends them, and they go on later": {"budget": True, "resumed": True},
    }


def beyond() -> dict[str, dict[str, Any]]:
    """Cases of which it promises nothing."""
    return {
        f"redrawn, {ASSUMED:.2f}": {"redrawn": ASSUMED},
        "redrawn, 0.30": {"redrawn": 0.3},
        f"redrawn, {CORRELATION}, without the correction": {"redrawn": CORRELATION, "corrected": False},
        f"redrawn, {CORRELATION_AT_MOST}, without the correction": {"redrawn": CORRELATION_AT_MOST, "corrected": False},
        f"redrawn, {ASSUMED:.2f}, without the correction": {"redrawn": ASSUMED, "corrected": False},
        f"kept back, of all other images; differing {DIFFERING}": {"differing": DIFFERING},
        f"kept back, of all other images; differing {3 * DIFFERING:.2f}": {"differing": 3 * DIFFERING},
    }


def power(size: float, seeds: int, level: float, overlap: float = 0.0) -> float:
    """The chance to find a difference by a single test of all seeds.

    Args:
        size: of the difference, in standard deviations of the paired differences.
        seeds: how many.
        level: that its p-value is held to.
        overlap: as `compare` takes it; what correlates is then taken to be as much as that says.
    """
    error = np.sqrt(1 / seeds + overlap)
    spreads = np.sqrt(scipy.stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, seeds - 1) / (seeds - 1))
    bar = scipy.stats.t.ppf(1 - level / 2, seeds - 1) * spreads
    return float((scipy.stats.norm.sf(bar - size / error) + scipy.stats.norm.cdf(-bar - size / error)).mean())


@dataclass(frozen=True)
class Found:
    """What sweeps came to in which the first is better than one contender, and as good as the rest.

    Attributes:
        detected: share in which it beats that one, as the verdict has it.
        false_claims: share in which the verdict has any other contender beat another.
        seeds: mean number of seeds until that comparison ended.
        trainings: mean number of all contenders together.
        mean_covered: share in which the interval of the mean of the first has its true error in it.
        difference_covered: likewise of that difference.
    """

    detected: float
    false_claims: float
    seeds: float
    trainings: float
    mean_covered: float
    difference_covered: float


def found(size: float, most: int, others: int, repetitions: int, smallest: float = SMALLEST) -> Found:
    """Simulate sweeps with one true difference.

    Args:
        size: of the difference, in standard deviations of the paired differences, which are 1.4 points.
        most: seeds at most.
        others: contenders beside the first.
        repetitions: how many sweeps.
        smallest: difference that matters, as a fraction.
    """
    rng, rows = np.random.default_rng([1, most, others, int(100 * size)]), []
    true = size * STANDARD
    for _ in range(repetitions):
        errors = differing(rng, size, most, others)
        compared = compare_sequentially(errors, range(most), smallest)
        one = compared["supervised"]
        longest = max(each.after for each in compared.values())
        mean = interval([errors[NAMES[0]][seed] for seed in range(longest)])
        rows.append(
            (
                one.winner == one.a,
                any(each.winner for each in compared.values() if each is not one),
                one.after,
                longest + sum(each.after for each in compared.values()),
                mean.low <= 0.3 <= mean.high,
                one.difference.low <= -true <= one.difference.high,
            )
        )
    return Found(*map(float, np.mean(rows, axis=0)))


def found_by_budget(size: float, most: int, others: int, repetitions: int) -> tuple[float, float, float]:
    """Simulate sweeps as `found` does, whose trainings a budget ends.

    Returns:
        Shares of sweeps: in which the look at a part of the contenders was made; that detect the difference; and that
        would detect it without such looks.
    """
    rng, rows = np.random.default_rng([2, most, others, int(100 * size)]), []
    for _ in range(repetitions):
        errors = differing(rng, size, most, others)
        compared = compare_sequentially(errors, range(most), SMALLEST)
        part = until(budget(rng, others, most), errors, compared)
        whole, at_end = (compare_sequentially(part, range(most), SMALLEST, is_over=over) for over in (False, True))
        detected = ["supervised" in each and each["supervised"].winner == NAMES[0] for each in (at_end, whole)]
        rows.append((whole != at_end, *detected))
    looked, detected_at_end, detected_before = map(float, np.mean(rows, axis=0))
    return looked, detected_at_end, detected_before


def differing(rng: np.random.Generator, size: float, most: int, others: int) -> Errors:
    """Return the errors of a sweep whose first is better than supervised, and as good as the others."""
    labels = rng.normal(0, 0.02, most)
    names = (NAMES[0], *FAMILIES[others])
    errors = {name: dict(enumerate(0.3 + labels + rng.normal(0, 0.01, most))) for name in names}
    errors["supervised"] = {seed: error + size * STANDARD for seed, error in errors["supervised"].items()}
    return errors


def wilson(share: float, n: int) -> str:
    """Return a share with its 95 % interval (Wilson 1927)."""
    low, high = scipy.stats.binomtest(round(share * n), n).proportion_ci(0.95, "wilson")
    return f"{share:.1%} [{low:.1%}, {high:.1%}]"


def table(head: str, rows: Iterator[str] | list[str]) -> None:
    print(f"\n| {head} |\n|{'---|' * (head.count(' | ') + 1)}")
    for row in rows:
        print(f"| {row} |", flush=True)


def simulate(repetitions: int) -> bool:
    """Print the tables; whether the verdict keeps its promise."""
    most, counts = 0.0, (3, 8, 12)
    head = " | ".join(f"at most {n} seeds" for n in counts)
    rows = []
    for name, case in claimed().items():
        for others in FAMILIES:
            rates = [Equals(name, seeds, others, **case).false_positives(repetitions) for seeds in counts]
            most = max(most, *rates)
            rows.append(f"{name} | {others} | " + " | ".join(wilson(share, repetitions) for share in rates))
    table(f"sweeps of equals in which something beats something | others | {head}", rows)
    print(f"\nAt most {most:.2%} of {repetitions:,}; allowed are {LIMIT:.1%}.")

    rows = []
    for name, case in beyond().items():
        rates = [Equals(name, seeds, 2, **case).false_positives(repetitions) for seeds in counts]
        rows.append(f"{name} | 2 | " + " | ".join(wilson(share, repetitions) for share in rates))
    table(f"what is not promised | others | {head}", rows)

    for others in (1, 2, 4):
        rows = []
        for size in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
            for seeds in (6, 8, 12):
                it = found(size, seeds, others, repetitions)
                fixed = power(size, seeds, ALPHA / others)
                rows.append(
                    f"{size} | {seeds} | {wilson(it.detected, repetitions)} | {fixed:.0%} | {it.false_claims:.1%} | "
                    f"{it.seeds:.1f} | {it.trainings:.1f} of {(others + 1) * seeds} | {it.mean_covered:.1%} | "
                    f"{it.difference_covered:.1%}"
                )
        table(
            f"difference in s.d., one of {others} | seeds at most | detected | detected, one test of all seeds | other "
            "claims | seeds | trainings | the mean's interval covers | the difference's",
            rows,
        )

    rows = []
    for others in (2, 4):
        for size in (1.0, 1.5, 2.0):
            shares = found_by_budget(size, max(counts), others, repetitions)
            rows.append(" | ".join([f"{size} | {others}", *(wilson(share, repetitions) for share in shares)]))
    table(
        f"difference in s.d., at most {max(counts)} seeds, a budget ends them | others | looks at a part | detected "
        "| detected without these looks",
        rows,
    )
    return most <= LIMIT


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=2000, help="sweeps a number of the tables is a share of")
    parser.add_argument("--estimate", action="store_true", help="train the digits instead: half an hour on one core")
    parser.add_argument("--seeds", type=int, help="with --estimate: only so many, at least 3: a rehearsal, no result")
    parser.add_argument("--steps", type=int, default=300, help="with --estimate: of a training")
    parser.add_argument("--outcomes", type=Path, metavar="DIR", help="keeps what --estimate trained, to go on from")
    options = parser.parse_args()
    cores, python = len(os.sched_getaffinity(0)), platform.python_version()
    print(f"{platform.platform()}, {cores} cores, Python {python}, numpy {np.__version__}, scipy {scipy.__version__}")
    if options.estimate:
        import spreads  # beside this file; brings torch

        spreads.estimate(options.outcomes, options.seeds, options.steps)
        return 0
    return 0 if simulate(options.repetitions) else 1


if __name__ == "__main__":
    sys.exit(main())
