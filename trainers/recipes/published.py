"""What the authors would have used on a data set: nothing of it is searched, which makes it a baseline for a search."""

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
    "compile",
    "evaluate_every",
    "seed",
    "device",
)
"""Settings that a published recipe does not decide: which images, how long, and on what machine."""


def published_settings(fixed: Mapping[str, Any], classes: int, unlabeled: int) -> dict[str, Any]:
    """The published values for a training run, nested, for `TrainerConfig.model_validate`.

    Where there is a Mean Teacher recipe for these images, as many labels and this network, they are the recipe's, each
    length in proportion to the steps of this run; of several, those of the recipe whose steps are nearest. Elsewhere
    the authors' rules of thumb come before what is fixed: EMA decay 0.999; mse with the weight C to the power of 1.5,
    the geometric middle of C and C squared (C classes), or, with more than a hundred classes, kl with the weight
    10, their ImageNet's; ramp-up over the first fifth of the steps; of each batch, 0.375 labeled, the middle of a
    quarter and a half; the class loss a mean over the labeled images, for which these weights are meant.

    Args:
        fixed: nested settings of the run: `dataset`, `steps`, and what else is not searched.
        classes: of the data set.
        unlabeled: images that it has without labels; too few for a batch: all of the batch is labeled.
    """
    found = [recipe for recipe in _published_recipes() if _concerns(recipe) == _concerns(fixed)]
    if found:
        nearest = min(found, key=lambda recipe: abs(recipe["steps"] - fixed["steps"]))
        own = {key: fixed[key] for key in OF_THE_RUN if key in fixed}
        return scaled(nearest, fixed["steps"]) | own
    batch, fraction = fixed.get("batch_size", 100), 0.375
    loss, weight = ("mse", float(classes**1.5)) if classes <= 100 else ("kl", 10.0)
    consistency = {"loss": loss, "weight": weight, "ramp_up_steps": None}
    if unlabeled < batch - round(fraction * batch):
        fraction, consistency = 1.0, consistency | {"images": "all"}
    rules = {
        "method": "mean_teacher",
        "class_loss_normalizer": "labeled",
        "labeled_batch_fraction": fraction,
        "consistency": consistency,
        "ema": {"decay": 0.999},
    }
    return recipes.merged({key: value for key, value in fixed.items() if key != "ensemble"}, rules)


def _published_recipes() -> list[dict[str, Any]]:
    """Those of Mean Teacher at its best: not what its authors compare it with."""
    return [recipes.settings(name) for name in recipes.names() if not name.endswith(("supervised", "no_augmentation"))]


def _concerns(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """The images, the labels and the network of a run."""
    dataset, known = settings["dataset"], KNOWN_DATASETS.get(settings["dataset"]["name"])
    labels = dataset["labels"]
    if known and isinstance(labels, float):
        labels = round(labels * known.train)
    network = settings.get("model", {}).get("name", "small_cnn")
    return dataset["name"], labels, dataset.get("extra", False), dataset.get("unlabeled"), network


def scaled(recipe: dict[str, Any], steps: int) -> dict[str, Any]:
    """A recipe's settings, each length in the proportion to `steps` that it has to the recipe's steps."""
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
