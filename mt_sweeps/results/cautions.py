"""Reasons to doubt the result of a search, as sentences that say what to do about them.

Two more are in the summary itself: rung correlations that show that pruning was guessing, and failed trials.
"""

import math
from collections.abc import Sequence

from pydantic import ValidationError

from mt_sweeps.formatting import counted, percent, value_text
from mt_sweeps.program import program
from mt_sweeps.results.search_gain import differences_from_best
from mt_sweeps.search_space.distributions import FloatRange, IntRange
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial

_EDGE = 0.05  # the outer fraction of a range, on its scale, that counts as its edge
_LEANING = 1 / 3  # the outer fraction in which the median of the better trials lies, if they lean to an edge
_LUCK = 2.0  # standard errors below the error of guessing within which a best error may be luck
_FEW = 4  # completed trials below which their better half says nothing


def cautions(
    ledger: Ledger,
    images: dict[str, int],
    guessing: float | None = None,
    of_images: Sequence[str] = (),
    probe: str | None = None,
) -> list[str]:
    """Return one sentence for each reason to doubt the best of a search: the probe first, the images last.

    While no trial has completed, there are those about the images alone.

    Args:
        ledger: of the sweep.
        images: number of images by purpose.
        guessing: the error of guessing, from `class_errors.guessing_error`.
        of_images: as `Environment.cautions`.
        probe: that it is not beaten, from `probe.unbeaten_in_validation`.
    """
    return [*([probe] if probe else []), *_of_trials(ledger, images, guessing), *of_images]


def _of_trials(ledger: Ledger, images: dict[str, int], guessing: float | None) -> list[str]:
    if (learned_nothing := nothing_learned(ledger, images, guessing)) is not None:
        return [learned_nothing]
    metric = ledger.spec.metric
    complete = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    complete.sort(key=lambda trial: trial.objective(metric))  # the earliest of equals first, as in `best_of`
    if not complete:
        return []
    return [
        *_within_noise(ledger, images, complete),
        *_ranked_within_noise(ledger, images),
        *_large_validation(images),
        *_edges(ledger, complete),
        *_never_confident(complete[0]),
    ]


def nothing_learned(ledger: Ledger, images: dict[str, int], guessing: float | None) -> str | None:
    """Return that the best error of the search is that of guessing, or None if it is better or no trial has completed.

    Args:
        ledger: of the sweep.
        images: number of images by purpose.
        guessing: the error of guessing; None: it is not known.
    """
    best = ledger.best()
    if best is None or guessing is None:
        return None
    error = best.objective(ledger.spec.metric)
    if error < guessing - _LUCK * math.sqrt(guessing * (1 - guessing) / images["validation"]):
        return None
    return (
        f"nothing was learned: the best error is {percent(error)}, and guessing has {percent(guessing)}; look at the "
        f"images and their classes (`{program()} preview FILE`), then try more labels, more steps, or other values of "
        "optimizer.learning_rate and augmentation"
    )


def _within_noise(ledger: Ledger, images: dict[str, int], complete: list[Trial]) -> list[str]:
    """Warn if more trials than are trained again are within one standard error of the best."""
    validation, kept = images["validation"], max(1, ledger.spec.finalists.top)
    differences = differences_from_best(complete, ledger.spec.metric, validation)
    within = 1 + sum(difference < noise for difference, noise in differences)
    if within <= kept:
        return []
    caution = (
        f"{within} of {counted(len(complete), 'completed trial')} are within one standard error of the best: "
        f"{validation} validation images cannot tell which of them is best"
    )
    difference, noise = differences[kept - 1]
    needed = math.ceil(round(validation * (noise / difference) ** 2, 6)) if difference > 0 else 0
    if validation < needed <= images["labeled"]:
        return [
            f"{caution}; about {_rounded(needed)} would tell the best from number {kept + 1}: "
            "raise trainer.dataset.validation"
        ]
    images_needed = f"about {_rounded(needed)}" if needed else "more than there are"
    return [
        f"{caution}; it would take {images_needed} to tell the best from number {kept + 1}. In another sweep, have "
        f"more of them trained again: finalists.top (now {ledger.spec.finalists.top})"
    ]


def _ranked_within_noise(ledger: Ledger, images: dict[str, int]) -> list[str]:
    """Warn if less than half of the trials that a rung ranks behind are worse by more than noise."""
    behind, worse = ledger.separated()
    if 2 * worse >= behind:
        return []
    return [
        f"of {counted(behind, 'trial')} ranked behind those that go on at a rung, {worse} can be told from the last of "
        f"them with {images['validation']} validation images, and only such trials are pruned: pruning saves little "
        "here; raise trainer.dataset.validation, or use pruner: {name: none}"
    ]


def _large_validation(images: dict[str, int]) -> list[str]:
    """Warn if more labeled images select than train: in practice, one would train with them (Oliver et al. 2018)."""
    validation, labeled = images["validation"], images["labeled"]
    if validation <= labeled:
        return []
    return [
        f"{validation} images with labels select and only {labeled} train: with only {labeled} labels in real life, "
        f"you could not select as well; lower trainer.dataset.validation to {labeled} or fewer, or raise "
        "trainer.dataset.labels"
    ]


def _edges(ledger: Ledger, complete: Sequence[Trial]) -> list[str]:
    """Warn of searched ranges that may end too early.

    By chance alone, the best of a search is within a twentieth of either end of one range in ten. So the better half of
    the completed trials must lean there too: their median must be in the outer third. For a key without any effect, the
    median is in the middle of the range; if the error falls all the way to the edge, it is in the outer quarter. There
    is no warning if the setting itself ends where the range does.
    """
    best, space, warnings = complete[0], ledger.spec.space(), []
    for key in best.values.keys() - {"seed"}:
        branch = space.branch(key, best.values)
        if not isinstance(branch, FloatRange | IntRange):
            continue
        same_branch = [trial for trial in complete if space.branch(key, trial.values) == branch]
        fractions = [branch.fraction_of(trial.values[key]) for trial in same_branch]
        upper = fractions[0] > 0.5
        distances = [1 - fraction if upper else fraction for fraction in fractions]
        better = sorted(distances[: len(distances) // 2])
        if distances[0] > _EDGE or len(distances) < _FEW or better[len(better) // 2] > _LEANING:
            continue
        if _is_valid_beyond(ledger, best, key, branch, upper):
            low, high = value_text(branch.low), value_text(branch.high)
            warnings.append(
                f"the best is on the {'upper' if upper else 'lower'} edge of {key}: {value_text(best.values[key])}, "
                f"searched from {low} to {high}, and the better half of the trials lean there; "
                f"{'raise its high' if upper else 'lower its low'} and search again"
            )
    return sorted(warnings)


def _never_confident(best: Trial) -> list[str]:
    """Warn if no target was confident enough to count at the end of the best trial."""
    if best.last is None or best.last.metrics.get("train.confident_share", 1.0) > 0:
        return []
    return [
        "at the end of the best trial no target exceeded consistency.confidence, so that nothing was learnt from "
        "images without labels; lower it"
    ]


def _is_valid_beyond(ledger: Ledger, best: Trial, key: str, branch: FloatRange | IntRange, upper: bool) -> bool:
    """Return True if the setting takes values beyond this end of its range."""
    beyond = branch.value_at(1 + _EDGE if upper else -_EDGE)
    if isinstance(branch, IntRange):
        beyond = branch.high + 1 if upper else branch.low - 1
    try:
        ledger.spec.config({**best.values, key: beyond})
    except ValidationError:
        return False
    return True


def _rounded(images: int) -> str:
    """Round up to two digits: 1,234 -> '1,300'."""
    unit = 10 ** max(0, len(str(images)) - 2)
    return f"{-(-images // unit) * unit:,}"
