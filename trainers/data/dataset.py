"""A prepared data set as tensors, mapped into memory: the processes of one machine share its pages."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from trainers.config import DatasetConfig
from trainers.data.cache import pixels_of, prepare, read_facts


@dataclass(frozen=True)
class ImageData:
    """A data set; nobody writes to its tensors.

    Attributes:
        train: uint8 [n, height, width, channels].
        train_labels: int64 [n], -1 where an image has no class.
        test: uint8 [m, height, width, channels]; m is 0 where there is no test set.
        test_labels: int64 [m].
        classes: names, in the order of their indices.
        fingerprint: SHA-256 over pixels, labels and class names.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: list[str]
    fingerprint: str


@lru_cache(maxsize=1)  # a worker trains many trials on one data set
def load(config: DatasetConfig) -> ImageData:
    """The images of a data set, prepared now if nobody on this machine has done so before.

    Raises:
        DataError: the images are missing or unreadable.
    """
    file = prepare(config)
    facts = read_facts(file)
    labels = [torch.from_numpy(values) for values in (facts.train_labels, facts.test_labels)]
    n, m = map(len, labels)
    pixels = mapped(pixels_of(file), (n + m, *facts.shape))
    return ImageData(pixels[:n], labels[0], pixels[n:], labels[1], facts.classes, facts.fingerprint)


def mapped(file: Path, shape: tuple[int, ...]) -> Tensor:
    """A file of bytes as a tensor, read from disk where it is looked at.

    Args:
        file: of at least as many bytes as the shape holds.
        shape: of the tensor.
    """
    return torch.from_file(str(file), shared=False, size=prod(shape), dtype=torch.uint8).view(shape)
