"""Classes of different sizes: how many labeled images each has, and the weights in the classification loss."""

from collections.abc import Sequence

import numpy as np

from trainers.config import TrainerConfig
from trainers.errors import DataError


def class_weights(config: TrainerConfig, labels: np.ndarray, classes: Sequence[str]) -> np.ndarray | None:
    """Return the factor on the classification loss of the images of each class: float64 [classes].

    Args:
        config: of the run. With `class_weights: balanced`, the weight of a class is n / (classes * its labeled images),
            as in scikit-learn, so that the weights of all labeled images have the mean 1.
        labels: int64 [n], of the labeled images.
        classes: names, in the order of their indices.

    Returns:
        The factors, or None if the classes are not weighted.

    Raises:
        DataError: a weight is for no class, or a class has no labeled image to be balanced with.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if config.sampling == "class_balanced":
        _check_counts("sampling: class_balanced", "sampling: uniform", counts, classes)
    if config.class_weights == "none":
        return None
    if config.class_weights == "balanced":
        _check_counts("class_weights: balanced", "class_weights: none", counts, classes)
        balanced: np.ndarray = len(labels) / (len(classes) * counts)
        return balanced
    unknown = [name for name in config.class_weights if name not in classes]
    if unknown:
        raise DataError(
            f"class_weights: {_listed(unknown)}: there is no such class; the {len(classes)} classes are "
            f"{_listed(classes)}"
        )
    return np.array([config.class_weights.get(name, 1.0) for name in classes])


def _check_counts(setting: str, instead: str, counts: np.ndarray, classes: Sequence[str]) -> None:
    missing = [name for name, count in zip(classes, counts, strict=True) if not count]
    if missing:
        raise DataError(
            f"{setting} and a class without a labeled image clash: {len(missing)} of {len(classes)} classes have none "
            f"among {counts.sum():,}: {_listed(missing)}; raise dataset.labels, or use {instead}"
        )


def _listed(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
