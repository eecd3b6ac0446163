"""Suggest what is searched for a folder of images, and how: search space, sampler, trials, finalists."""

from typing import Any

from mt_sweeps.spec.chosen import Chosen, Entries
from mt_sweeps.spec.fitting import Fit, Length
from trainers.data.inspection import FolderFacts

_IMBALANCED = 3.0  # images of the largest class for each of the smallest, above which rare classes get attention
_MOST_FOR_MSE = 100  # classes
_SOME_TRIALS, _MANY_TRIALS = 16, 24  # of the search, from which on further settings are searched


def suggest_search(found: FolderFacts, fits: Fit, hours: float) -> Entries:
    """Return the entries of a search-space file beside those of `trainer`.

    Args:
        found: in the folder of images.
        fits: network, split and lengths.
        hours: that the sweep may take.
    """
    space = {
        **_searched_rates(fits),
        **_searched_consistency(len(found.classes), fits.length),
        **_searched_views(found, fits),
        **_searched_batches(found, fits),
    }
    return {("search_space", key): one for key, one in space.items()} | _of_search(found, fits, hours)


def _searched_rates(fits: Fit) -> dict[str, Chosen]:
    first = fits.network.first
    why = "pre-trained weights want small steps" if first else "usual for a network that starts from nothing"
    space = {"optimizer.learning_rate": Chosen(_log(*fits.network.rates), why)}
    if fits.length.trials >= _MANY_TRIALS:
        decays = (0.001, 0.1) if first else (0.0001, 0.005)
        space["optimizer.weight_decay"] = Chosen(_log(*decays), "there are trials enough to search it too")
    return space


def _searched_consistency(classes: int, length: Length) -> dict[str, Chosen]:
    decay = {
        "type": "float",
        "low": _two_digits(1 - 1 / max(5, length.steps / 500)),
        "high": min(0.9999, _two_digits(1 - 2 / length.steps)),
        "scale": "one_minus_log",
    }
    space = {
        "ema.decay": Chosen(decay, "the teacher averages the student over 1 / (1 - decay) steps, at most half of all")
    }
    mse = _log(_two_digits(classes / 3), _two_digits(3 * classes**2))
    kl = _log(0.3, 30.0)
    scaled = f"C / 3 to 3 C squared with C = {classes} classes, over which the squared error is a mean"
    if classes > _MOST_FOR_MSE:
        space["consistency.loss"] = Chosen(_choices("kl"), f"of {classes} classes the squared error is tiny")
        space["consistency.weight"] = Chosen(kl, "the authors' 1 to 10, and three times as far on both sides")
    elif length.trials < _MANY_TRIALS:
        space["consistency.weight"] = Chosen(mse, f"of the squared error: {scaled}")
    else:
        space["consistency.loss"] = Chosen(_choices("mse", "kl"), "how student and teacher are compared")
        branches = [{"when": {"consistency.loss": loss}, **entry} for loss, entry in (("mse", mse), ("kl", kl))]
        space["consistency.weight"] = Chosen(branches, f"mse: {scaled}; kl: the authors' 1 to 10, and beyond")
    return space


def _searched_views(found: FolderFacts, fits: Fit) -> dict[str, Chosen]:
    space = {}
    if fits.flip.value is None:
        space["augmentation.flip"] = Chosen(_choices(False, True), fits.flip.why)
    if found.is_colour:
        # The translations of trivial_augment are up to 32 pixels, whatever the size.
        strong = "trivial_augment" if fits.network.image_size >= 48 else "rand_augment"
        space["augmentation.strong"] = Chosen(
            _choices("none", strong), "random turns, shears and colours; leave it out if they change a class"
        )
    return space


def _searched_batches(found: FolderFacts, fits: Fit) -> dict[str, Chosen]:
    space = {}
    if len(fits.fractions) > 1:
        from_nothing = fits.network.first is None
        why = "the authors keep a quarter to a half" if from_nothing else "neither is the better one on all sets"
        space["labeled_batch_fraction"] = Chosen(_choices(*sorted(fits.fractions)), why)
    if found.unlabeled and fits.length.trials >= _SOME_TRIALS:
        space["consistency.confidence"] = Chosen(
            _choices(0.0, 0.7), "0.7: images that the teacher is not sure of do not count"
        )
    if found.imbalance > _IMBALANCED:
        space["sampling"] = Chosen(
            _choices("uniform", "class_balanced"),
            f"the largest class has {found.imbalance:.1f} times as many images as the smallest; class_balanced draws "
            "all classes equally often",
        )
    return space


def _of_search(found: FolderFacts, fits: Fit, hours: float) -> Entries:
    balanced, length, first = found.imbalance > _IMBALANCED, fits.length, fits.network.first
    metric = f"validation.teacher_{'balanced_' if balanced else ''}error"
    baselines = [*(["probe"] if first else []), "supervised", "published"]
    probe = "a linear probe of the pre-trained features, " if first else ""
    where = f"{fits.split.verdict:,} images that chose nothing" if fits.split.verdict else "splits drawn anew"
    rare = "the mean over the classes, so that a rare one counts as much" if balanced else "no class is rare"
    sampler: dict[str, Any] = {"name": "tpe", "seed": 0}
    points: Entries = {}
    drawn = "new trials are drawn near the good ones"
    if first is None:
        sampler["prior"] = "measured"
        drawn += "; first come settings that were good on six other sets (docs/search-spaces.md)"
    else:
        points["points",] = Chosen([_usual(len(found.classes), fits)], "usual values, which are tried first")
    return {
        ("sampler",): Chosen(sampler, drawn),
        ("pruner",): Chosen({"name": "asha", "reduction_factor": 3}, "the best third goes on after 0.3 of the steps"),
        ("trials",): Chosen(length.trials, "of the search; the supervised baseline is searched with as many"),
        **points,
        ("objective",): Chosen({"metric": metric, "direction": "minimize"}, rare),
        ("budget",): Chosen({"hours": hours}, "then no trial is started any more"),
        ("finalists",): Chosen(
            {"baselines": baselines, "top": length.top, "seeds": length.seeds},
            f"Beside the search: {probe}the labeled images alone, and the authors' values. The best and these are "
            f"trained again with up to {length.seeds} seeds and compared on {where}. More seeds find smaller "
            "differences (docs/verdict.md).",
        ),
    }


def _usual(classes: int, fits: Fit) -> dict[str, float | str]:
    """Return the first point of a search from pre-trained weights; keys that are left out are sampled."""
    point: dict[str, float | str] = {"optimizer.learning_rate": fits.network.learning_rate}
    point["ema.decay"] = min(0.999, max(0.9, _two_digits(1 - 8 / fits.length.steps)))
    if classes > _MOST_FOR_MSE:
        return point | {"consistency.loss": "kl", "consistency.weight": 3.0}
    if fits.length.trials >= _MANY_TRIALS:
        point["consistency.loss"] = "mse"
    return point | {"consistency.weight": _two_digits(classes**1.5)}


def _log(low: float, high: float) -> dict[str, Any]:
    return {"type": "float", "low": float(low), "high": float(high), "scale": "log"}


def _choices(*choices: float | str) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices)}


def _two_digits(value: float) -> float:
    """Return a number with two digits that count; between 0.5 and 1, with two digits of its distance from 1."""
    return round(1 - float(f"{1 - value:.2g}"), 9) if 0.5 < value < 1 else float(f"{value:.2g}")
