"""The images that a plugin's data set returns, checked before they are kept."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainers.config import DatasetConfig, DatasetSettings
from trainers.config.registry import Plugin
from trainers.data.decoding import Write
from trainers.errors import DataError


@dataclass(frozen=True)
class ImageArrays:
    """All images of a data set. It is what the function of `trainers.register_dataset` returns.

    Attributes:
        train: uint8 [n, size, size, channels], of 1 (grey) or 3 channels (red, green, blue).
        train_labels: integers [n]: class indices, or -1 for an image without a class.
        classes: names, in the order of their indices.
        test: uint8 [m, size, size, channels]; left out: there is no test set.
        test_labels: integers [m], class indices.
    """

    train: np.ndarray
    train_labels: np.ndarray
    classes: list[str]
    test: np.ndarray | None = None
    test_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def plugin_key(plugin: Plugin, config: DatasetConfig) -> str:
    """Return a short name that changes with the settings, the plugin's code and the author's key.

    Raises:
        DataError: the function that returns the key raises.
    """
    # How many images serve which purpose does not change them.
    own = config.model_dump_json(exclude=DatasetSettings.model_fields.keys() - {"name"})
    try:
        text = f"{own}\n{plugin.code}\n{plugin.key(config)}"
    except Exception as error:
        raise DataError(f"dataset {config.name}: {plugin}: its key raised {type(error).__name__}: {error}") from error
    return f"{config.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def plugin_images(plugin: Plugin, config: DatasetConfig) -> ImageArrays:
    """Return the images of a plugin's data set, those without a class last.

    Raises:
        DataError: its function raises, or returns something else than `ImageArrays` describes.
    """
    where = f"dataset {config.name}: {plugin}"
    try:
        images = plugin.function(config)
    except Exception as error:
        raise DataError(f"{where} raised {type(error).__name__}: {error}") from error
    if not isinstance(images, ImageArrays):
        raise DataError(f"{where} returned {type(images).__name__}; expected: trainers.ImageArrays")
    problem = _problem(images)
    if problem is not None:
        raise DataError(f"{where}: {problem}")
    order = np.argsort(images.train_labels < 0, kind="stable")
    test = images.train[:0] if images.test is None else images.test
    return ImageArrays(
        images.train[order],
        images.train_labels[order].astype(np.int64),
        images.classes,
        test,
        images.test_labels.astype(np.int64),
    )


def write_images(images: ImageArrays, write: Write) -> None:
    """Write the training images, then the test images."""
    write(images.train)
    if images.test is not None and len(images.test):
        write(images.test)


def _problem(images: ImageArrays) -> str | None:
    """Return what is wrong with the images, and what is expected, or None."""
    if images.test_labels is None:
        return "test_labels is None; expected: a numpy array, or left out"
    classes = images.classes
    names = isinstance(classes, list) and all(isinstance(name, str) and name for name in classes)
    if not names or len(set(classes)) != len(classes) or len(classes) < 2:
        return f"classes is {classes!r}; expected: a list of at least two different names"
    problem = _pixels_problem("train", images.train) or _labels_problem("train", images.train_labels, images.train)
    if problem is None and images.test is None and len(images.test_labels):
        problem = f"test_labels has {len(images.test_labels)} labels and test is left out; expected: both or neither"
    if problem is None and images.test is not None:
        problem = _pixels_problem("test", images.test) or _labels_problem("test", images.test_labels, images.test)
        if problem is None and images.test.shape[1:] != images.train.shape[1:]:
            problem = f"test has images {images.test.shape[1:]} and train {images.train.shape[1:]}; expected: the same"
    if problem is not None:
        return problem
    for name, labels, lowest in (("train", images.train_labels, -1), ("test", images.test_labels, 0)):
        if len(labels) and (labels.min() < lowest or labels.max() >= len(classes)):
            return (
                f"{name}_labels go from {labels.min()} to {labels.max()}; expected: from {lowest} to "
                f"{len(classes) - 1}, indices of the {len(classes)} classes" + (", or -1: no class" if lowest else "")
            )
    return None


def _pixels_problem(name: str, pixels: Any) -> str | None:
    expected = "expected: a numpy array of uint8 [images, size, size, channels], of 1 or 3 channels"
    if not isinstance(pixels, np.ndarray):
        return f"{name} is a {type(pixels).__name__}; {expected}"
    if pixels.dtype != np.uint8:
        return f"{name} has the dtype {pixels.dtype}; {expected}"
    if pixels.ndim != 4 or pixels.shape[1] != pixels.shape[2] or pixels.shape[3] not in (1, 3) or not pixels.size:
        return f"{name} has the shape {pixels.shape}; {expected}"
    return None


def _labels_problem(name: str, labels: Any, pixels: np.ndarray) -> str | None:
    expected = f"expected: a numpy array of {len(pixels)} integers, one per image"
    if not isinstance(labels, np.ndarray):
        return f"{name}_labels is a {type(labels).__name__}; {expected}"
    if labels.dtype.kind not in "iu" or labels.shape != (len(pixels),):
        return f"{name}_labels has the dtype {labels.dtype} and the shape {labels.shape}; {expected}"
    return None
