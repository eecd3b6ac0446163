"""Decode a data set once per machine; later processes read the decoded file. This module does not import torch."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import safe_open
from safetensors.numpy import save

from trainers.config import DatasetConfig
from trainers.data.decoding import Progress
from trainers.data.listing import LeftOutCount, Listed
from trainers.data.sources import decode, source_key
from trainers.files import atomic_file, cache_folder, write_atomically

VERSION = 4  # of the file format; part of the file name, so that no version reads the files of another


def prepare(config: DatasetConfig, progress: Progress | None = None, listed: Listed | None = None) -> Path:
    """Make sure that the decoded data set is on this machine's disk.

    The first process decodes it (and downloads it, if the source is a download); other processes wait.

    Args:
        config: of the data set.
        progress: called while the images of a folder are decoded.
        listed: called about once per second while the files of a folder are listed.

    Returns:
        The file of its facts, in the safetensors format: labels, classes and fingerprint. The pixels are in a second
        file: see `pixels_of`.

    Raises:
        DataError: the images are missing or unreadable.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{source_key(config, listed)}-{VERSION}.safetensors"
    if not file.exists():
        with FileLock(file.with_suffix(".lock")):
            if not file.exists():
                _write(config, file, progress)
    return file


def pixels_of(file: Path) -> Path:
    """Return the file of pixels that belongs to a file that `prepare` returned.

    It holds the bytes of uint8 [images, height, width, channels] and nothing else.
    """
    return file.with_suffix(".pixels")


@dataclass(frozen=True)
class Facts:
    """All of a prepared data set but its pixels.

    Attributes:
        train_labels: int64 [n]; -1 where an image has no class.
        test_labels: int64 [m]; m is 0 where there is no test set.
        shape: height, width and channels of every image.
        classes: names, in the order of their indices.
        fingerprint: SHA-256 over pixels, labels and class names.
        skipped: files that could not be read and were left out.
        left_out: other files of a folder that were not used when it was decoded, by reason.
        cautions: what pixels look as if they were wrong, in words.
    """

    train_labels: np.ndarray
    test_labels: np.ndarray
    shape: tuple[int, int, int]
    classes: list[str]
    fingerprint: str
    skipped: list[str]
    left_out: list[LeftOutCount]
    cautions: list[str]


def read_facts(file: Path) -> Facts:
    """Read the facts in a file that `prepare` returned."""
    with safe_open(file, framework="numpy") as stored:
        metadata = stored.metadata()
        train, test = stored.get_tensor("train_labels"), stored.get_tensor("test_labels")
    height, width, channels = json.loads(metadata["shape"])
    classes, skipped, cautions = (json.loads(metadata[name]) for name in ("classes", "skipped", "cautions"))
    left_out = [LeftOutCount(**one) for one in json.loads(metadata["left_out"])]
    return Facts(train, test, (height, width, channels), classes, metadata["fingerprint"], skipped, left_out, cautions)


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
        "left_out": json.dumps([asdict(one) for one in contents.left_out]),
        "cautions": json.dumps(contents.cautions),
    }
    write_atomically(file, save(labels, facts))  # last, since the pixels must be there first
