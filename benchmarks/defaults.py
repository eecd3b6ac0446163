"""Which settings are good on all sets, and what knowing them saves: leave-one-set-out over recorded trainings.

    uv run python benchmarks/defaults.py
    uv run python benchmarks/defaults.py --arm supervised
    uv run --group dev python benchmarks/defaults.py --start probe

benchmarks/recorded.py has trained the same configurations on every set. Those with the lowest mean loss over the sets
make a short list; for a set, it is made from the other sets alone. Then the set is searched by trainings that are drawn
from its table, in the place of new ones: all at random, or the list first. Two other lists come first for comparison.
One is a portfolio: each next configuration lowers the mean over sets of the best so far as much as any (Winkelmolen et
al. 2020, "Practical and sample efficient zero-shot HPO"). The other, to see what a wrong one costs, has the worst of
the other sets. The trial with the lowest error on some of the validation images is chosen. Its regret is its error on
the verdict images above the lowest of the table.

A configuration's loss on a set is its regret in units of the median's, at most 2, so that all sets count alike. Tables
of one set with other numbers of labels share its vote. Intervals are 95 %, by bootstrap over sets.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from recorded import Table, tables
from search import interval, table

from mt_sweeps.spec.prior_points import GoodSettings

BUDGETS = (4, 8, 16, 32)
SIZES = (1, 2, 3, 4)
MOST = 2.0  # loss that a configuration has at the most


def shared(some: Sequence[Table]) -> list[Table]:
    """Return tables with the configurations that all of them have: one may still be recorded."""
    count = min(len(one.truth) for one in some)

    def cut(one: Table) -> Table:
        correct = {when: {name: bits[:count] for name, bits in of.items()} for when, of in one.correct.items()}
        return replace(one, values=one.values[:count], truth=one.truth[:count], correct=correct)

    return [cut(one) for one in some]


def losses(of: Table) -> np.ndarray:
    """Return float [configurations]: 0 for the best of a set, 1 for its median, at most `MOST`."""
    regret = of.truth - of.truth.min()
    relative: np.ndarray = np.minimum(regret / np.median(regret), MOST)
    return relative


def name_of(one: Table) -> str:
    """Return the set of a table."""
    return one.task.partition(":")[0]


def by_set(some: Sequence[Table]) -> np.ndarray:
    """Return float [sets, configurations]: the mean loss over the tables of each set."""
    names = dict.fromkeys(map(name_of, some))
    return np.array([np.mean([losses(one) for one in some if name_of(one) == name], axis=0) for name in names])


def best(loss: np.ndarray, size: int) -> list[int]:
    """Return the configurations with the lowest mean loss, the best first.

    Args:
        loss: float [sets, configurations].
        size: how many.
    """
    return [int(one) for one in np.argsort(loss.mean(0), kind="stable")[:size]]


def worst(loss: np.ndarray) -> list[int]:
    """Return the three configurations with the highest mean loss; `loss` as of `best`."""
    return [int(one) for one in np.argsort(-loss.mean(0), kind="stable")[:3]]


def portfolio(loss: np.ndarray) -> list[int]:
    """Return four configurations that complement each other; `loss` as of `best`."""
    chosen: list[int] = []
    lowest = np.full(len(loss), np.inf)
    for _ in range(4):
        after = np.minimum(lowest[:, None], loss).mean(0)
        after[chosen] = np.inf
        chosen.append(int(after.argmin()))
        lowest = np.minimum(lowest, loss[:, chosen[-1]])
    return chosen


FIRST: dict[str, Callable[[np.ndarray], list[int]]] = {
    "at random": lambda _: [],
    **{f"the best {size} of the other sets": partial(best, size=size) for size in SIZES},
    "a portfolio of 4": portfolio,
    "the worst 3 of the other sets": worst,
}
"""What a search begins with, from the losses on the other sets."""


def regrets(of: Table, first: Sequence[int], budget: int, images: int, repetitions: int) -> float:
    """Return the mean regret of searches of a set, as a fraction of images; `first` is tried before the others."""
    rng, found = np.random.default_rng(0), []
    correct = of.correct["end"]["teacher"]
    for _ in range(repetitions):
        seen = rng.choice(correct.shape[1], images, replace=False)
        drawn = [one for one in rng.permutation(len(of.truth)) if one not in first]
        tried = np.array([*first, *drawn][:budget])
        right = correct[tried][:, seen].sum(1)
        found.append(of.truth[tried][right == right.max()].mean() - of.truth.min())
    return float(np.mean(found))


def of_sets(tasks: Sequence[Table], values: Sequence[float]) -> np.ndarray:
    """Return float [sets]: in percent, the mean over the tables of each set."""
    names = list(map(name_of, tasks))
    pairs = list(zip(names, values, strict=True))
    return np.array([100 * np.mean([value for name, value in pairs if name == one]) for one in dict.fromkeys(names)])


def good_settings(of: Table, number: int) -> GoodSettings:
    """Return a configuration without what depends on the set, with two digits that count."""

    def two(value: Any) -> float:
        return float(f"{value:.2g}")

    values: dict[str, Any] = of.values[number]
    rates = two(values["optimizer.learning_rate"]), two(values["optimizer.weight_decay"])
    if of.arm == "supervised":
        return GoodSettings(*rates, values["augmentation.strong"])
    loss, weight = values.get("consistency.loss", "mse"), values["consistency.weight"]
    position = math.log(3 * weight / of.classes) / math.log(9 * of.classes)
    return GoodSettings(
        *rates,
        values["augmentation.strong"],
        window=two(1 / (1 - values["ema.decay"]) / of.steps),
        loss=loss,
        weight=two(weight if loss == "kl" else position),
        labeled=values["labeled_batch_fraction"],
    )


def interval_text(differences: np.ndarray) -> str:
    """Return a mean and its interval."""
    low, high = interval(differences, np.mean)
    return f"{np.mean(differences):+.2f} ({low:+.2f} to {high:+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arm", choices=["search", "supervised"], default="search")
    parser.add_argument("--start", choices=["nothing", "probe"], default="nothing", help="what the networks start from")
    parser.add_argument("--images", type=int, default=100, help="validation images that choose")
    parser.add_argument("--repetitions", type=int, default=500, help="searches of each set")
    options = parser.parse_args()
    recorded = shared(tables(options.arm, options.start))
    all_sets = by_set(recorded)
    others = {one.task: by_set([other for other in recorded if name_of(other) != name_of(one)]) for one in recorded}

    rows = ["set, labels per class | best of the table, % | median | published | the first of the list | best of all 4"]
    for one in recorded:
        chosen = best(others[one.task], max(SIZES))
        errors = [one.truth.min(), np.median(one.truth), one.published, one.truth[chosen[0]], one.truth[chosen].min()]
        rows.append(" | ".join([one.task, *("" if error is None else f"{100 * error:.1f}" for error in errors)]))
    table(*rows)

    rows = ["trials | first | regret, points | minus a search at random"]
    for budget in [each for each in BUDGETS if each < len(recorded[0].truth)]:
        base = None
        for label, rule in FIRST.items():
            found = [
                regrets(one, rule(others[one.task]), budget, options.images, options.repetitions) for one in recorded
            ]
            mean = of_sets(recorded, found)
            difference = "" if base is None else interval_text(mean - base)
            base = mean if base is None else base
            rows.append(f"{budget} | {label} | {mean.mean():.2f} | {difference}")
    table(*rows)

    rows = ["place, of all sets | mean loss | settings"]
    for place, number in enumerate(best(all_sets, max(SIZES)), 1):
        good = good_settings(recorded[0], number)
        rows.append(f"{place} | {all_sets[:, number].mean():.2f} | `{good}`")
    table(*rows)


if __name__ == "__main__":
    main()
