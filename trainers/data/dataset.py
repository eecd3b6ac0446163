"""A prepared data set as tensors that are mapped into memory, so that the processes of a machine share its pages."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainers.config import DatasetConfig
from trainers.data.cache import pixels_of, prepare, read_facts


@dataclass(frozen=True)
class ImageData:
    """A data set. Its tensors must not be written to.

    Attributes:
        train: uint8 [n, height, width, channels].
        train_labels: int64 [n], -1 where an image has no class.
        test: uint8 [m, height, width, channels]; m is 0 where there is no test set.
        test_labels: int64 [m].
        classes: names, in the order of their indices.
        fingerprint: SHA-256 over pixels, labels and class names.
        groups: int64 [n + m], the number of the group of each image, training images first: see `cache.Facts`.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: list[str]
    fingerprint: str
    groups: np.ndarray


@lru_cache(maxsize=1)  # a worker trains many trials on one data set
def load(config: DatasetConfig) -> ImageData:
    """Return the images of a data set. They are prepared first if no process on this machine has done so.

    Raises:
        DataError: the images are missing or unreadable.
    """
    file = prepare(config)
    facts = read_facts(file)
    labels = [torch.from_numpy(values) for values in (facts.train_labels, facts.test_labels)]
    n, m = map(len, labels)
    pixels = mapped(pixels_of(file), (n + m, *facts.shape))
    return ImageData(pixels[:n], labels[0], pixels[n:], labels[1], facts.classes, facts.fingerprint, facts.groups)


def mapped(file: Path, shape: tuple[int, ...]) -> Tensor:
    """Return a file of bytes as a tensor whose parts are read from disk when they are used.

    Args:
        file: holds at least as many bytes as the tensor.
        shape: of the tensor.
    """
    return torch.from_file(str(file), shared=False, size=prod(shape), dtype=torch.uint8).view(shape)
