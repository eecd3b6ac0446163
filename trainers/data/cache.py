"""Decode a data set once per machine; later processes read the decoded file. This module does not import torch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path

import numpy as np
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from trainers.config import DatasetConfig
from trainers.data.copies import PixelDigests, under_two_classes
from trainers.data.decoding import Progress
from trainers.data.groups import LEFT_OUT, united
from trainers.data.listing import LeftOutCount, Listed
from trainers.data.sources import Contents, decode, source_key
from trainers.errors import ConflictingClasses, DataError, escaped
from trainers.files import atomic_file, cache_folder, write_atomically

VERSION = 5  # of the file format; part of the file name, so that no version reads the files of another

_SAMPLES, _SAMPLE = 256, 4096  # parts of the pixels, and bytes of each, that tell one file of pixels from another


def prepare(config: DatasetConfig, progress: Progress | None = None, listed: Listed | None = None) -> Path:
    """Make sure that the decoded data set is on this machine's disk.

    The first process decodes it (and downloads it, if the source is a download); other processes wait. It is decoded
    again if the source has changed, or if the files are damaged.

    Args:
        config: of the data set.
        progress: called while the images of a folder are decoded.
        listed: called about once per second while the files of a folder are listed.

    Returns:
        The file of its facts, in the safetensors format: see `Facts`. The pixels are in a second file: see `pixels_of`.

    Raises:
        DataError: the images are missing or unreadable, or change while they are decoded; or images with the same
            pixels have different classes, and the configuration refuses that.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    key = source_key(config, listed)
    file = folder / f"{key}-{VERSION}.safetensors"
    if not _is_whole(file, key):
        with FileLock(file.with_suffix(".lock")):
            if not _is_whole(file, key):
                _write(config, file, key, progress)
    if config.conflicts == "refuse":
        _refuse_conflicts(file)
    return file


def pixels_of(file: Path) -> Path:
    """Return the file of pixels that belongs to a file that `prepare` returned.

    It holds the bytes of uint8 [images, height, width, channels] and nothing else.
    """
    return file.with_suffix(".pixels")


@dataclass(frozen=True)
class Facts:
    """All of a prepared data set but its pixels. The n training images come first, then the m test images.

    Attributes:
        train_labels: int64 [n]; -1 where an image has no class.
        test_labels: int64 [m]; m is 0 where there is no test set.
        shape: height, width and channels of every image.
        classes: names, in the order of their indices.
        fingerprint: SHA-256 over pixels, labels and class names.
        skipped: files that could not be read and were left out.
        groups: int64 [n + m]: images with the same number serve one purpose, since they are copies or of one group of
            `dataset.groups`. -1: a training image under two classes, which serves none.
        copies: int64 [n + m], the number of the first image with the same pixels.
        conflicts: int64, the numbers of the images with the same pixels and different classes.
        near: int64 [pairs, 2], the numbers of images that look almost the same and are no copies.
        groups_of_paths: how many groups `dataset.groups` makes; 0 if it is not set.
        left_out: other files of a folder that were not used when it was decoded, by reason.
        cautions: what names and pixels look as if they were wrong, in words.
    """

    train_labels: np.ndarray
    test_labels: np.ndarray
    shape: tuple[int, int, int]
    classes: list[str]
    fingerprint: str
    skipped: list[str]
    groups: np.ndarray
    copies: np.ndarray
    conflicts: np.ndarray
    near: np.ndarray
    groups_of_paths: int
    left_out: list[LeftOutCount]
    cautions: list[str]


def read_facts(file: Path) -> Facts:
    """Read the facts in a file that `prepare` returned."""
    with safe_open(file, framework="numpy") as stored:
        metadata = stored.metadata()
        arrays = {name: stored.get_tensor(name) for name in stored.keys() if name != "names"}  # noqa: SIM118
    height, width, channels = json.loads(metadata["shape"])
    return Facts(
        **arrays,
        shape=(height, width, channels),
        classes=json.loads(metadata["classes"]),
        fingerprint=metadata["fingerprint"],
        skipped=json.loads(metadata["skipped"]),
        groups_of_paths=int(metadata["groups_of_paths"]),
        left_out=[LeftOutCount(**one) for one in json.loads(metadata["left_out"])],
        cautions=json.loads(metadata["cautions"]),
    )


def image_names(file: Path, images: Sequence[int]) -> list[str]:
    """Return what to call some images in a message: their paths in the folder, or their numbers.

    Args:
        file: that `prepare` returned.
        images: numbers of the images, training images first.
    """
    with safe_open(file, framework="numpy") as stored:
        names = bytes(stored.get_tensor("names")).decode(errors="surrogateescape").split("\0")
        n = len(stored.get_tensor("train_labels"))
    if len(names) > 1:
        return [escaped(names[i]) for i in images]
    return [f"training image {i}" if i < n else f"test image {i - n}" for i in images]


def _write(config: DatasetConfig, file: Path, key: str, progress: Progress | None) -> None:
    digest, seen = hashlib.sha256(), PixelDigests()
    shape: tuple[int, ...] = ()
    with atomic_file(pixels_of(file)) as pixels:

        def write(images: np.ndarray) -> None:
            nonlocal shape
            shape = images.shape[1:]
            block = np.ascontiguousarray(images)
            seen.add(block)
            digest.update(block.data.cast("B"))
            pixels.write(block.data.cast("B"))

        contents = decode(config, file.parent, write, progress)
        if source_key(config) != key:
            raise DataError(
                f"dataset {config.name}: its images changed while they were decoded; wait until nothing writes to "
                f"{getattr(config, 'root', 'them')}, and start again"
            )
    arrays = _arrays(contents, seen, pixels_of(file), shape)
    for name in ("train_labels", "test_labels"):
        digest.update(arrays[name].data)
    digest.update(json.dumps(contents.classes).encode())
    facts = {
        "format": f"mt-sweeps-images/{VERSION}",
        "source": key,
        "shape": json.dumps(shape),
        "classes": json.dumps(contents.classes),
        "fingerprint": digest.hexdigest(),
        "skipped": json.dumps(contents.skipped),
        "groups_of_paths": str(0 if contents.groups is None else len(np.unique(contents.groups))),
        "left_out": json.dumps([asdict(one) for one in contents.left_out]),
        "cautions": json.dumps(contents.cautions),
        "pixels": _sample(pixels_of(file)),
    }
    write_atomically(file, save(arrays, facts))  # last, since the pixels must be there first


def _arrays(contents: Contents, seen: PixelDigests, pixels: Path, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of the facts: see `Facts`. `names` are the paths of all images, with a zero byte between."""
    labels = np.concatenate([contents.train_labels, contents.test_labels])
    copies, n = seen.copies(), len(contents.train_labels)
    conflicts = under_two_classes(copies, labels)
    groups = united(copies, contents.groups).copy()
    groups[conflicts[conflicts < n]] = LEFT_OUT
    mapped = np.memmap(pixels, np.uint8, "r", shape=(len(labels), *shape))
    names = "\0".join(contents.names).encode(errors="surrogateescape")
    return {
        "train_labels": np.ascontiguousarray(contents.train_labels),
        "test_labels": np.ascontiguousarray(contents.test_labels),
        "groups": groups,
        "copies": copies,
        "conflicts": conflicts,
        "near": np.ascontiguousarray(seen.near_copies(copies, mapped)),
        "names": np.frombuffer(names, np.uint8),
    }


def _is_whole(file: Path, key: str) -> bool:
    """Return True if the facts of this source are there, and the file of pixels that was written with them."""
    try:
        facts = read_facts(file)
        with safe_open(file, framework="numpy") as stored:
            metadata = stored.metadata()
        size = (len(facts.train_labels) + len(facts.test_labels)) * prod(facts.shape)
        if metadata["source"] != key or pixels_of(file).stat().st_size != size:
            return False
        return bool(_sample(pixels_of(file)) == metadata["pixels"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return False


def _sample(pixels: Path) -> str:
    """Return a hash of the size of a file and of evenly spaced parts of it: reading all of it would take too long."""
    size = pixels.stat().st_size
    digest = hashlib.sha256(f"{size}\n".encode())
    with pixels.open("rb") as file:
        for offset in sorted({max(0, size - _SAMPLE) * i // (_SAMPLES - 1) for i in range(_SAMPLES)}):
            file.seek(offset)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def _refuse_conflicts(file: Path) -> None:
    """Refuse images with the same pixels and different classes.

    Raises:
        ConflictingClasses: there are some; names a few of them.
    """
    facts = read_facts(file)
    if not len(facts.conflicts):
        return
    together = facts.copies[facts.conflicts]
    shown = [facts.conflicts[together == first][:4].tolist() for first in np.unique(together)[:3]]
    labels = np.concatenate([facts.train_labels, facts.test_labels])
    pictures = [
        " and ".join(
            f"{name} ({facts.classes[labels[i]]})" for i, name in zip(images, image_names(file, images), strict=True)
        )
        for images in shown
    ]
    raise ConflictingClasses(
        f"dataset.conflicts: {len(facts.conflicts):,} images have the same pixels as an image of another class: "
        f"{'; '.join(pictures)}; remove those with the wrong class, or set dataset.conflicts: leave_out, and none of "
        "the training images among them serves a purpose"
    )
