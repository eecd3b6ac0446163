"""A prepared data set as tensors, mapped into memory: the processes of one machine share its pages."""

import json
from dataclasses import dataclass
from functools import lru_cache

from safetensors import safe_open
from torch import Tensor

from trainers.config import DatasetConfig
from trainers.data.cache import prepare


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
    with safe_open(prepare(config), framework="pt") as stored:
        facts = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
    return ImageData(**tensors, classes=json.loads(facts["classes"]), fingerprint=facts["fingerprint"])
