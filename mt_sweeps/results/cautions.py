"""What the result of a search should be doubted for, in sentences that say what to do.

That pruning guesses is told with the correlations of the rungs, and what failed with the reasons.
"""

import math
from collections.abc import Sequence

from pydantic import ValidationError

from mt_sweeps.formatting import counted, value_text
from mt_sweeps.search_space.distributions import FloatRange, IntRange
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial

_EDGE = 0.05  # of a range, on its scale
_LEANING = 1 / 3  # of a range: where the middle one of the better trials is, if they lean to an edge
_FEW = 4  # completed trials, below which their better half says nothing


def cautions(ledger: Ledger, images: dict[str, int]) -> list[str]:
    """A sentence for each reason to doubt the best of a search; none while no trial has completed.

    Args:
        ledger: of the sweep.
        images: how many serve which purpose.
    """
    metric = ledger.spec.metric
    complete = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    complete.sort(key=lambda trial: trial.objective(metric))  # the earliest of equals first, as `best_of`
    if not complete:
        return []
    return [*_within_noise(ledger, images, complete), *_large_validation(images), *_edges(ledger, complete)]


def _within_noise(ledger: Ledger, images: dict[str, int], complete: Sequence[Trial]) -> list[str]:
    """More trials than are trained again are no further from the best than one standard error of the difference.

    That is binomial, of two trials that each have images of their own. They have the same ones, which makes it less,
    and seeds of their own, which makes it more.
    """
    metric, validation = ledger.spec.metric, images["validation"]
    kept = max(1, ledger.spec.finalists.top)
    (best, own), *others = [trial.error(metric) or (0.0, 0.0) for trial in complete]
    finest = 1 / validation  # errors are no finer than that
    apart = [(error - best, max(math.hypot(own, its), finest)) for error, its in others]
    within = 1 + sum(difference < noise for difference, noise in apart)
    if within <= kept:
        return []
    told = (
        f"{within} of {counted(len(complete), 'completed trial')} are within one standard error of the best: which of "
        f"them is best, {validation} validation images cannot tell"
    )
    difference, noise = apart[kept - 1]
    needed = math.ceil(round(validation * (noise / difference) ** 2, 6)) if difference > 0 else 0
    if validation < needed <= images["labeled"]:
        return [
            f"{told}; about {_rounded(needed)} would tell the best from number {kept + 1}: trainer.dataset.validation"
        ]
    many = f"about {_rounded(needed)}" if needed else "more than there are"
    return [
        f"{told}; it would take {many} to tell the best from number {kept + 1}. In another sweep have more of them "
        f"trained again: finalists.top (now {ledger.spec.finalists.top})"
    ]


def _large_validation(images: dict[str, int]) -> list[str]:
    """Who has so many labels would train with them (Oliver et al. 2018)."""
    validation, labeled = images["validation"], images["labeled"]
    if validation <= labeled:
        return []
    return [
        f"{validation} images with labels select and only {labeled} train: whoever has {labeled} cannot select as "
        f"well; lower trainer.dataset.validation to {labeled} or fewer, or raise trainer.dataset.labels"
    ]


def _edges(ledger: Ledger, complete: Sequence[Trial]) -> list[str]:
    """Searched ranges that may end too early.

    By chance alone the best of a search is in the outer twentieths of one range in ten. So the better half of the
    completed trials must lean there too: the middle one of them in the outer third. Of a key that does nothing it is
    at a half of the range, of one whose error falls all the way to the edge at a quarter or nearer. A range that ends
    where its setting does is not told of.
    """
    best, told = complete[0], []
    for key in best.values.keys() - {"seed"}:
        branch = ledger.spec.space().branch(key, best.values)
        if not isinstance(branch, FloatRange | IntRange):
            continue
        same = [trial for trial in complete if ledger.spec.space().branch(key, trial.values) == branch]
        shares = [branch.fraction_of(float(trial.values[key])) for trial in same]
        upper = shares[0] > 0.5
        away = [1 - share if upper else share for share in shares]
        better = sorted(away[: len(away) // 2])
        if away[0] > _EDGE or len(away) < _FEW or better[len(better) // 2] > _LEANING:
            continue
        if _may_go_on(ledger, best, key, branch, upper):
            low, high = value_text(branch.low), value_text(branch.high)
            told.append(
                f"the best is on the {'upper' if upper else 'lower'} edge of {key}: {value_text(best.values[key])}, "
                f"searched from {low} to {high}, and the better half of the trials lean there; "
                f"{'raise its high' if upper else 'lower its low'} and search again"
            )
    return sorted(told)


def _may_go_on(ledger: Ledger, best: Trial, key: str, branch: FloatRange | IntRange, upper: bool) -> bool:
    beyond = branch.value_at(1 + _EDGE if upper else -_EDGE)
    if isinstance(branch, IntRange):
        beyond = branch.high + 1 if upper else branch.low - 1
    try:
        ledger.spec.config({**best.values, key: beyond})
    except ValidationError:
        return False
    return True


def _rounded(images: int) -> str:
    """To two digits, upwards: 1,234 -> '1,300'."""
    unit = 10 ** max(0, len(str(images)) - 2)
    return f"{-(-images // unit) * unit:,}"
