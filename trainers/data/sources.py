"""Where images come from: scikit-learn's digits, CIFAR-10, or a folder of your own.

Every source becomes the same `Images`: decoded once, uint8, height and width before channels.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from trainers.combinations import check_split_sizes
from trainers.config import Cifar10, DatasetConfig, Digits, ImageFolder
from trainers.errors import DataError

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}

Progress = Callable[[int, int], None]
"""Called with (images decoded, images in all)."""


@dataclass(frozen=True)
class Images:
    """One data set in memory.

    Attributes:
        train: uint8 [n, height, width, channels]; images of train/, then those of unlabeled/.
        train_labels: int64 [n]; class index, or -1 where an image has no class.
        test: uint8 [m, height, width, channels]; m is 0 where there is no test set.
        test_labels: int64 [m].
        classes: names, in the order of their indices.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: list[str]


def source_key(config: DatasetConfig) -> str:
    """A short name that changes when the source changes; cheap: no image is opened.

    Raises:
        DataError: the folder is not there or is not laid out as it must be.
    """
    if isinstance(config, ImageFolder):
        listing = hashlib.sha256(f"size={config.image_size}\n".encode())
        for path in _Folder(config).files():
            try:
                facts = path.stat()
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}; repair or remove it") from None
            listing.update(
                f"{path.relative_to(Path(config.root).expanduser())}\t{facts.st_size}\t{facts.st_mtime_ns}\n".encode()
            )
        return f"image_folder-{listing.hexdigest()[:16]}"
    return config.name


def check_source(config: DatasetConfig) -> None:
    """Refuse, before anything is decoded, a folder that is missing, misshapen or too small for the split.

    Raises:
        DataError: says which folder, what is expected there, and what to do.
    """
    if not isinstance(config, ImageFolder):
        return
    folder = _Folder(config)
    try:
        check_split_sizes(
            config.labels, config.validation, config.verdict, len(folder.train), len(folder.classes), config.root
        )
    except ValueError as error:
        raise DataError(f"dataset.{error}") from None


def decode(config: DatasetConfig, cache: Path, progress: Progress | None = None) -> Images:
    """Read all images of a source into memory.

    Args:
        config: which source.
        cache: folder for downloads, where the configuration names none.
        progress: told how far the decoding of a folder is.

    Raises:
        DataError: images are missing, unreadable, or of different sizes where none was set.
    """
    if isinstance(config, Digits):
        return _digits()
    if isinstance(config, Cifar10):
        return _cifar10(Path(config.root) if config.root else cache)
    return _image_folder(config, progress)


def _digits() -> Images:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    # The package names no test set. Every fifth image is one: the same for every user, and no seed decides it.
    test = np.arange(len(images)) % 5 == 4
    return Images(
        images[~test], bunch.target[~test], images[test], bunch.target[test], [str(c) for c in bunch.target_names]
    )


def _cifar10(root: Path) -> Images:
    # torchvision takes seconds to import; only the first process on a machine comes here.
    from torchvision.datasets import CIFAR10

    try:
        train, test = (CIFAR10(str(root), train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"CIFAR-10 could not be read from or downloaded to {root}: {error}. Download it on a machine with a "
            "network, copy the folder here and set dataset.root to it"
        ) from None
    return Images(
        train.data, np.asarray(train.targets, np.int64), test.data, np.asarray(test.targets, np.int64), train.classes
    )


class _Folder:
    """The files of an image folder, in an order that depends on their names alone."""

    def __init__(self, config: ImageFolder) -> None:
        self.root = Path(config.root).expanduser()
        layout = "expected train/<class>/*, and where there are any, unlabeled/* and test/<class>/*"
        if not (self.root / "train").is_dir():
            missing = self.root if not self.root.is_dir() else self.root / "train"
            raise DataError(f"dataset.root: there is no folder {missing}; {layout}")
        self.classes = sorted(entry.name for entry in (self.root / "train").iterdir() if entry.is_dir())
        if len(self.classes) < 2:
            raise DataError(f"dataset.root: {self.root / 'train'} has {len(self.classes)} class folders; {layout}")
        self.train = list(self._labeled("train"))
        counts = np.bincount([label for _, label in self.train], minlength=len(self.classes))
        empty = [name for name, count in zip(self.classes, counts, strict=True) if count == 0]
        if empty:
            raise DataError(f"dataset.root: no images in {self.root / 'train' / empty[0]}; add some or remove it")
        self.unlabeled = list(_images_below(self.root / "unlabeled"))
        if (self.root / "test").is_dir():
            unknown = sorted({e.name for e in (self.root / "test").iterdir() if e.is_dir()} - set(self.classes))
            if unknown:
                raise DataError(f"dataset.root: {self.root / 'test' / unknown[0]} is a class that train/ has not")
        self.test = list(self._labeled("test"))

    def _labeled(self, part: str) -> Iterator[tuple[Path, int]]:
        for label, name in enumerate(self.classes):
            for path in _images_below(self.root / part / name):
                yield path, label

    def files(self) -> list[Path]:
        return [path for path, _ in self.train] + self.unlabeled + [path for path, _ in self.test]


def _images_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _image_folder(config: ImageFolder, progress: Progress | None) -> Images:
    folder = _Folder(config)
    files = folder.files()
    decoded: np.ndarray | None = None
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding releases the GIL
        for i, image in enumerate(threads.map(lambda path: _read(path, config.image_size), files)):
            if decoded is None:
                decoded = np.empty((len(files), *image.shape), np.uint8)
            if image.shape != decoded.shape[1:]:
                raise DataError(
                    f"images differ in size: {files[0]} has {_pixels(decoded[0])} pixels, {files[i]} has "
                    f"{_pixels(image)}; set dataset.image_size to resize and centre-crop them all"
                )
            decoded[i] = image
            if progress is not None and (i + 1) % 1000 == 0:
                progress(i + 1, len(files))
    assert decoded is not None  # _Folder refuses an empty class
    n = len(folder.train) + len(folder.unlabeled)
    return Images(
        train=decoded[:n],
        train_labels=np.array([label for _, label in folder.train] + [-1] * len(folder.unlabeled), np.int64),
        test=decoded[n:],
        test_labels=np.array([label for _, label in folder.test], np.int64),
        classes=folder.classes,
    )


def _read(path: Path, size: int | None) -> np.ndarray:
    try:
        with Image.open(path) as file:
            image = _eight_bit(file).convert("RGB")
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            elif image.width != image.height:
                raise DataError(
                    f"{path} is not square ({image.width}x{image.height} pixels); set dataset.image_size to resize "
                    "and centre-crop all images"
                )
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image: {error}; repair or remove it") from None


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # PIL would clip these to white
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image


def _pixels(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
