"""The settings that the authors would have used on a data set: nothing is searched, so they are a baseline."""

from collections.abc import Mapping
from typing import Any

from trainers import recipes
from trainers.config.known_datasets import KNOWN_DATASETS

OF_THE_RUN = (
    "dataset",
    "steps",
    "images",
    "precision",
    "channels_last",
    "deterministic",
    "compile",
    "evaluate_every",
    "seed",
    "device",
)
"""Settings that a published recipe does not decide: which images, how long, on which machine."""


def published_settings(fixed: Mapping[str, Any], classes: int, unlabeled: int) -> dict[str, Any]:
    """Return the published settings for a training run, nested, for `TrainerConfig.model_validate`.

    If there is a Mean Teacher recipe for these images, this number of labels and this network, its settings are used,
    with each length in proportion to the steps of this run. Of several recipes, it is the one with the nearest steps.

    Otherwise the authors' rules of thumb are used, and override the fixed settings:

    - EMA decay 0.999
    - mse with the weight C to the power of 1.5 for C classes, the geometric mean of C and C squared; above a hundred
      classes, kl with the weight 10, as the authors did on ImageNet
    - ramp-up over the first fifth of the steps
    - 0.375 of each batch labeled, between the authors' quarter and half
    - a class loss that is a mean over the labeled images, for which these weights are meant
    - a consistency loss from the first step on, over all images; a teacher whose views are augmented as the student's

    Args:
        fixed: nested settings of the run: `dataset`, `steps`, and the others that are not searched.
        classes: of the data set.
        unlabeled: how many images without labels there are. If they are too few for a batch, all of it is labeled.
    """
    matching = [recipe for recipe in _published_recipes() if _concerns(recipe) == _concerns(fixed)]
    if matching:
        nearest = min(matching, key=lambda recipe: abs(recipe["steps"] - fixed["steps"]))
        own = {key: fixed[key] for key in OF_THE_RUN if key in fixed}
        return scaled(nearest, fixed["steps"]) | own
    batch, fraction = fixed.get("batch_size", 100), 0.375
    loss, weight = ("mse", float(classes**1.5)) if classes <= 100 else ("kl", 10.0)
    as_published = {"start": 0, "confidence": 0.0, "target_gradient": False}
    consistency = {"loss": loss, "weight": weight, "ramp_up_steps": None, **as_published}
    if unlabeled < batch - round(fraction * batch):
        fraction, consistency = 1.0, consistency | {"images": "all"}
    rules = {
        "method": "mean_teacher",
        "class_loss_normalizer": "labeled",
        "labeled_batch_fraction": fraction,
        "consistency": consistency,
        "ema": {"decay": 0.999},
        "teacher": {"augmentation": "same"},
    }
    return recipes.merged({key: value for key, value in fixed.items() if key != "ensemble"}, rules)


def _published_recipes() -> list[dict[str, Any]]:
    """Return the recipes of Mean Teacher, without those that its authors compare it with."""
    return [recipes.settings(name) for name in recipes.names() if not name.endswith(("supervised", "no_augmentation"))]


def _concerns(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the images, the labels and the network of a run."""
    dataset, known = settings["dataset"], KNOWN_DATASETS.get(settings["dataset"]["name"])
    labels = dataset["labels"]
    if known and isinstance(labels, float):
        labels = round(labels * known.train)
    network = settings.get("model", {}).get("name", "small_cnn")
    return dataset["name"], labels, dataset.get("extra", False), dataset.get("unlabeled"), network


def scaled(recipe: dict[str, Any], steps: int) -> dict[str, Any]:
    """Return a recipe's settings with each length scaled from the recipe's steps to `steps`."""
    stretch: float = steps / recipe["steps"]

    def to_scale(length: int) -> int:
        return max(min(1, length), round(stretch * length))

    schedule = dict(recipe["schedule"])
    for key in schedule.keys() & {"warm_up_steps", "ramp_down_steps", "length"}:
        schedule[key] = to_scale(schedule[key])
    if "length" in schedule:
        schedule["length"] = max(steps, schedule["length"])
    if "at" in schedule:
        schedule["at"] = sorted({max(1, min(to_scale(at), steps - 1)) for at in schedule["at"]})
    ramp_up = {"ramp_up_steps": to_scale(recipe["consistency"]["ramp_up_steps"])}
    return recipe | {"steps": steps, "schedule": schedule, "consistency": recipe["consistency"] | ramp_up}
