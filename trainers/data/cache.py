"""Decode a data set once a machine; every process after that maps the same file into memory."""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from trainers.config import DatasetConfig
from trainers.data.sources import Images, Progress, decode, source_key
from trainers.files import write_atomically

FORMAT = "mt-sweeps-images/1"
_TENSORS = ("train", "train_labels", "test", "test_labels")


@dataclass(frozen=True)
class ImageData:
    """A data set as tensors; nobody writes to them.

    Attributes:
        train: uint8 [n, height, width, channels]; train_labels: int64 [n], -1 where there is no class.
        test: uint8 [m, height, width, channels]; test_labels: int64 [m].
        classes: names, in the order of their indices.
        fingerprint: SHA-256 over pixels, labels and class names.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: list[str]
    fingerprint: str


def cache_folder() -> Path:
    """`MT_SWEEP_CACHE`, or a folder of ours in the user's cache folder."""
    given = os.environ.get("MT_SWEEP_CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mt-sweeps"


def prepare(config: DatasetConfig, progress: Progress | None = None) -> Path:
    """Make sure that the decoded data set lies on this machine's disk.

    The first process to come decodes (and downloads, where the source does that); others wait for it.

    Returns:
        The file that holds it.

    Raises:
        DataError: the images are missing or unreadable.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{source_key(config)}.safetensors"
    if not file.exists():
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                _write(decode(config, folder, progress), file)
    return file


@lru_cache(maxsize=1)  # a worker trains many trials on one data set
def load(config: DatasetConfig) -> ImageData:
    """The images of a data set, mapped into memory: processes of one machine share the pages.

    Raises:
        DataError: the images are missing or unreadable.
    """
    with safe_open(prepare(config), framework="pt") as stored:
        facts = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (not a dict)
    return ImageData(**tensors, classes=json.loads(facts["classes"]), fingerprint=facts["fingerprint"])


def _write(images: Images, file: Path) -> None:
    arrays = {name: np.ascontiguousarray(getattr(images, name)) for name in _TENSORS}
    digest = hashlib.sha256(json.dumps(images.classes).encode())
    for array in arrays.values():
        digest.update(array.data)
    facts = {"format": FORMAT, "classes": json.dumps(images.classes), "fingerprint": digest.hexdigest()}
    write_atomically(file, save({name: torch.from_numpy(array) for name, array in arrays.items()}, facts))
