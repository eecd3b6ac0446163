"""Decode a data set once a machine; every process after that reads the same file. Needs no torch."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import safe_open
from safetensors.numpy import save

from trainers.config import DatasetConfig
from trainers.data.sources import Images, Progress, decode, source_key
from trainers.files import write_atomically

VERSION = 2  # of the file format; part of the file name, so that no version takes another's files for its own
_ARRAYS = ("train", "train_labels", "test", "test_labels")


def cache_folder() -> Path:
    """`MT_SWEEP_CACHE`, or a folder of ours in the user's cache folder."""
    given = os.environ.get("MT_SWEEP_CACHE")
    return (
        Path(given).expanduser()
        if given
        else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mt-sweeps"
    )


def prepare(config: DatasetConfig, progress: Progress | None = None) -> Path:
    """Make sure that the decoded data set lies on this machine's disk.

    The first process to come decodes (and downloads, where the source does that); others wait for it.

    Args:
        config: which data set.
        progress: told how far the decoding of a folder is.

    Returns:
        The file that holds it: safetensors, the classes and the fingerprint in its header.

    Raises:
        DataError: the images are missing or unreadable.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{source_key(config)}-{VERSION}.safetensors"
    if not file.exists():
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                _write(decode(config, folder, progress), file)
    return file


@dataclass(frozen=True)
class Facts:
    """What can be known of a prepared data set without its pixels.

    Attributes:
        train_labels: int64 [n]; -1 where an image has no class.
        image_size: pixels a side.
        classes: names, in the order of their indices.
        fingerprint: SHA-256 over pixels, labels and class names.
        skipped: files that could not be read and were left out.
    """

    train_labels: np.ndarray
    image_size: int
    classes: list[str]
    fingerprint: str
    skipped: list[str]


def read_facts(file: Path) -> Facts:
    """The facts of a file that `prepare` returned."""
    with safe_open(file, framework="numpy") as stored:
        told = stored.metadata()
        size = stored.get_slice("train").get_shape()[1]
        classes, skipped = json.loads(told["classes"]), json.loads(told["skipped"])
        return Facts(stored.get_tensor("train_labels"), size, classes, told["fingerprint"], skipped)


def _write(images: Images, file: Path) -> None:
    arrays = {name: np.ascontiguousarray(getattr(images, name)) for name in _ARRAYS}
    digest = hashlib.sha256(json.dumps(images.classes).encode())
    for array in arrays.values():
        digest.update(array.data)
    facts = {
        "format": f"mt-sweeps-images/{VERSION}",
        "classes": json.dumps(images.classes),
        "fingerprint": digest.hexdigest(),
        "skipped": json.dumps(images.skipped),
    }
    write_atomically(file, save(arrays, facts))
