"""The looks at the finalists: after each seed from the third on, which comparisons are settled, and by what.

A comparison ends when it is decided, or when the seeds that are left would hardly decide it, or show less than matters.
A look is at the first k seeds, once every contender that still matters has ended them. So what is decided depends on
the errors alone, and not on the order in which trainings end.

Over the looks the levels of `spending` hold, over the comparisons the procedure of Holm (1979), made at each look with
the levels of that look (Ye, Li, Liu & Yao 2013, "A group sequential Holm procedure with multiple primary endpoints"):
the probability of any false "beats" is at most `ALPHA`. To stop where nothing would be decided can only lower it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mt_sweeps.results.spending import FIRST_LOOK, boundary
from mt_sweeps.results.statistics import ALPHA, Comparison, Outcome, chance_to_detect, compare

HOPELESS = 0.1
"""A comparison ends where the chance that the seeds that are left show a difference that matters is below this."""

Results = Mapping[str, Mapping[int, float | None]]
"""By contender, the best of the search first: the error by seed of each training that ended; None: it failed."""


def compare_sequentially(
    results: Results,
    seeds: Sequence[int],
    smallest: float,
    overlap: float = 0.0,
    images: int = 0,
    is_over: bool = False,
) -> dict[str, Comparison]:
    """Compare the first contender with each other one, as far as seeds are complete.

    It is chosen before the finalists are trained (the best of the search), so there is one comparison per other
    contender, and not one per pair.

    Args:
        results: of the trainings that ended.
        seeds: all that there are at most, in the order in which they are trained.
        smallest: difference of errors, as a fraction, below which nothing matters.
        overlap: as of `compare`.
        images: as of `compare`.
        is_over: no training is to come (a budget ended them). Then a look is at those contenders that have its seeds.
            Its level stays that of an early look, so the error rate holds also if the trainings go on one day.

    Returns:
        By the other contender, the comparison at the look at which it ended, or at the last look so far. Of contenders
        with which there was no look yet, or fewer than two seeds were completed by both in the end, there is none.
    """
    first, *others = results
    found: dict[str, Comparison] = {}
    remaining = list(others)
    for k in range(min(FIRST_LOOK, len(seeds)), len(seeds) + 1):
        complete = [name for name in (first, *remaining) if all(seed in results[name] for seed in seeds[:k])]
        if first not in complete or len(complete) < 2 or not (is_over or len(complete) > len(remaining)):
            break
        is_last = k == len(seeds)
        enough = 2 if is_last else FIRST_LOOK  # trainings may have failed
        pairs = {name: _paired(results[first], results[name], seeds[:k]) for name in remaining if name in complete}
        pairs = {name: paired for name, paired in pairs.items() if len(paired) >= enough}
        left = len(others) - sum(one.outcome == "decided" for one in found.values())
        for comparison in _holm(first, pairs, left, len(seeds), is_last, overlap, images):
            at_end = comparison.seeds + len(seeds) - k
            chance = chance_to_detect(pairs[comparison.b], at_end, left, smallest, overlap, images)
            outcome: Outcome = "all" if is_last else "unlikely" if chance < HOPELESS else "open"
            outcome = "decided" if comparison.winner else outcome
            found[comparison.b] = replace(comparison, after=k, most=len(seeds), outcome=outcome)
        remaining = [name for name in remaining if name not in found or found[name].outcome == "open"]
        if not remaining:
            break
    return {name: found[name] for name in others if name in found}


def _holm(
    first: str,
    pairs: Mapping[str, Sequence[float]],
    left: int,
    most: int,
    is_last: bool,
    overlap: float,
    images: int,
) -> list[Comparison]:
    """Compare at one look, the clearest first: each that is decided leaves more of alpha to the others."""
    remaining, decided = dict(pairs), list[Comparison]()
    while remaining:
        levels = boundary(ALPHA / left, most)
        at_level = [
            compare(first, name, paired, levels.level(len(paired), is_last), overlap, images)
            for name, paired in remaining.items()
        ]
        clearest = min(at_level, key=lambda one: one.p)
        if not clearest.winner:
            return decided + at_level
        decided.append(clearest)
        del remaining[clearest.b]
        left -= 1
    return decided


def _paired(a: Mapping[int, float | None], b: Mapping[int, float | None], seeds: Sequence[int]) -> list[float]:
    """Return the differences of the errors of two contenders on the seeds that both completed."""
    both = [(a[seed], b[seed]) for seed in seeds]
    return [one - other for one, other in both if one is not None and other is not None]
