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
from trainers.data.decoding import Progress
from trainers.data.sources import decode, source_key
from trainers.files import atomic_file, write_atomically

VERSION = 3  # of the file format; part of the file name, so that no version takes another's files for its own


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
        The file that tells of it: safetensors, with labels, classes and fingerprint. The pixels lie beside it.

    Raises:
        DataError: the images are missing or unreadable.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{source_key(config)}-{VERSION}.safetensors"
    if not file.exists():
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                _write(config, file, progress)
    return file


def pixels_of(file: Path) -> Path:
    """Where the pixels are of a file that `prepare` returned: uint8 [images, height, width, channels], nothing else."""
    return file.with_suffix(".pixels")


@dataclass(frozen=True)
class Facts:
    """What can be known of a prepared data set without its pixels.

    Attributes:
        train_labels: int64 [n]; -1 where an image has no class.
        test_labels: int64 [m]; m is 0 where there is no test set.
        shape: height, width and channels of every image.
        classes: names, in the order of their indices.
        fingerprint: SHA-256 over pixels, labels and class names.
        skipped: files that could not be read and were left out.
    """

    train_labels: np.ndarray
    test_labels: np.ndarray
    shape: tuple[int, int, int]
    classes: list[str]
    fingerprint: str
    skipped: list[str]


def read_facts(file: Path) -> Facts:
    """The facts of a file that `prepare` returned."""
    with safe_open(file, framework="numpy") as stored:
        told = stored.metadata()
        train, test = stored.get_tensor("train_labels"), stored.get_tensor("test_labels")
    height, width, channels = json.loads(told["shape"])
    classes, skipped = json.loads(told["classes"]), json.loads(told["skipped"])
    return Facts(train, test, (height, width, channels), classes, told["fingerprint"], skipped)


def _write(config: DatasetConfig, file: Path, progress: Progress | None) -> None:
    digest = hashlib.sha256()
    shape: tuple[int, ...] = ()
    with atomic_file(pixels_of(file)) as pixels:

        def write(images: np.ndarray) -> None:
            nonlocal shape
            shape = images.shape[1:]
            block = np.ascontiguousarray(images).data.cast("B")
            digest.update(block)
            pixels.write(block)

        contents = decode(config, file.parent, write, progress)
    labels = {name: np.ascontiguousarray(getattr(contents, name)) for name in ("train_labels", "test_labels")}
    for array in labels.values():
        digest.update(array.data)
    digest.update(json.dumps(contents.classes).encode())
    facts = {
        "format": f"mt-sweeps-images/{VERSION}",
        "shape": json.dumps(shape),
        "classes": json.dumps(contents.classes),
        "fingerprint": digest.hexdigest(),
        "skipped": json.dumps(contents.skipped),
    }
    write_atomically(file, save(labels, facts))  # last: where it is, the pixels are
