"""Where images come from: scikit-learn's digits, what torchvision downloads, or a folder of your own.

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
from trainers.config import Cifar10, Cifar100, DatasetConfig, Digits, ImageFolder, Svhn
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
        skipped: files that could not be read and were left out.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: list[str]
    skipped: tuple[str, ...] = ()


def source_key(config: DatasetConfig) -> str:
    """A short name that changes when the source changes; cheap: no image is opened.

    Raises:
        DataError: the folder is not there or is not laid out as it must be.
    """
    if isinstance(config, ImageFolder):
        folder = _Folder(config)
        listing = hashlib.sha256(f"size={config.image_size} unreadable={config.unreadable}\n".encode())
        listing.update("".join(f"{label}\n" for _, label in folder.train).encode())
        for path in folder.files():
            try:
                facts = path.stat()
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}; repair or remove it") from None
            listing.update(
                f"{path.relative_to(Path(config.root).expanduser())}\t{facts.st_size}\t{facts.st_mtime_ns}\n".encode()
            )
        return f"image_folder-{listing.hexdigest()[:16]}"
    return f"{config.name}-extra" if getattr(config, "extra", False) else config.name


def check_source(config: DatasetConfig) -> None:
    """Refuse, before anything is decoded, a folder that is missing, misshapen or too small for the split.

    Raises:
        DataError: says which folder, what is expected there, and what to do.
    """
    if not isinstance(config, ImageFolder):
        return
    folder = _Folder(config)
    try:
        images = len(folder.train)
        labels = config.label_count(images)
        check_split_sizes(labels, config.validation, config.verdict, images, len(folder.classes), config.root)
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
    if isinstance(config, ImageFolder):
        return _image_folder(config, progress)
    return _downloaded(config, Path(config.root).expanduser() if config.root else cache)


def _digits() -> Images:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    # The package names no test set. Every fifth image is one: the same for every user, and no seed decides it.
    test = np.arange(len(images)) % 5 == 4
    return Images(
        images[~test], bunch.target[~test], images[test], bunch.target[test], [str(c) for c in bunch.target_names]
    )


def _downloaded(config: Cifar10 | Cifar100 | Svhn, root: Path) -> Images:
    # torchvision takes seconds to import; only the first process on a machine comes here. It shows the progress of a
    # download and compares checksums.
    from torchvision.datasets import CIFAR10, CIFAR100, SVHN

    try:
        if isinstance(config, Svhn):
            parts = ["train", "test"] + (["extra"] if config.extra else [])
            train, test, *extra = (SVHN(str(root), split=part, download=True) for part in parts)
            pixels = [part.data.transpose(0, 2, 3, 1) for part in (train, *extra)]
            labels = [train.labels] + [np.full(len(part.labels), -1) for part in extra]
            return Images(
                np.concatenate(pixels),
                np.concatenate(labels).astype(np.int64),
                test.data.transpose(0, 2, 3, 1),
                test.labels.astype(np.int64),
                [str(digit) for digit in range(10)],
            )
        kind = CIFAR10 if isinstance(config, Cifar10) else CIFAR100
        train, test = (kind(str(root), train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{config.name} could not be read from or downloaded to {root}: {error}. Download it on a machine with a "
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
        if config.label_file is None:
            self.classes = sorted(entry.name for entry in (self.root / "train").iterdir() if entry.is_dir())
            if len(self.classes) < 2:
                raise DataError(f"dataset.root: {self.root / 'train'} has {len(self.classes)} class folders; {layout}")
            self.train = list(self._labeled("train"))
        else:
            self.classes, self.train = _from_label_file(Path(config.label_file).expanduser(), self.root / "train")
        counts = np.bincount([label for _, label in self.train], minlength=len(self.classes))
        empty = [name for name, count in zip(self.classes, counts, strict=True) if count == 0]
        if empty:
            raise DataError(f"dataset.root: no images in {self.root / 'train' / empty[0]}; add some or remove it")
        self.unlabeled = _images_below(self.root / "unlabeled")
        if config.label_file is not None:
            labeled = {path for path, _ in self.train}
            self.unlabeled += [path for path in _images_below(self.root / "train") if path not in labeled]
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


def _from_label_file(file: Path, train: Path) -> tuple[list[str], list[tuple[Path, int]]]:
    """The classes and the labeled images that a file of `path class` lines names, paths relative to `train`."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"dataset.label_file: {file} cannot be read: {error}") from None
    named: dict[Path, str] = {}
    for number, line in enumerate(lines, 1):
        where = f"dataset.label_file: {file}, line {number}"
        if not line.strip():
            continue
        path_text, _, name = line.strip().rpartition(" ")
        path = train / path_text.strip()
        if not path_text:
            raise DataError(f"{where}: {line.strip()!r} is no `path class`")
        if not path.is_file() or ".." in path.relative_to(train).parts:
            raise DataError(f"{where}: there is no {path}; paths are relative to {train}")
        if path in named:
            raise DataError(f"{where}: {path_text} is named a second time; remove one of the lines")
        named[path] = name
    classes = sorted(set(named.values()))
    if len(classes) < 2:
        raise DataError(f"dataset.label_file: {file} names {len(classes)} classes; at least two are needed")
    return classes, [(path, classes.index(name)) for path, name in sorted(named.items())]


def _images_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)


def _image_folder(config: ImageFolder, progress: Progress | None) -> Images:
    folder = _Folder(config)
    files = folder.files()
    labels = [label for _, label in folder.train] + [-1] * len(folder.unlabeled) + [label for _, label in folder.test]
    decoded: np.ndarray | None = None
    kept: list[int] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:  # decoding releases the GIL
        for i, image in enumerate(threads.map(lambda path: _read_or_skip(path, config), files)):
            if image is None:
                continue
            if decoded is None:
                decoded = np.empty((len(files), *image.shape), np.uint8)
            if image.shape != decoded.shape[1:]:
                raise DataError(
                    f"images differ in size: {files[kept[0]]} has {_pixels(decoded[0])} pixels, {files[i]} has "
                    f"{_pixels(image)}; set dataset.image_size to resize and centre-crop them all"
                )
            decoded[len(kept)] = image
            kept.append(i)
            if progress is not None and (i + 1) % 1000 == 0:
                progress(i + 1, len(files))
    if decoded is None:
        raise DataError(f"dataset.root: none of the {len(files)} images below {folder.root} can be read")
    n = sum(i < len(folder.train) + len(folder.unlabeled) for i in kept)
    kept_labels = np.array([labels[i] for i in kept], np.int64)
    skipped = sorted(set(range(len(files))) - set(kept))
    return Images(
        train=decoded[:n],
        train_labels=kept_labels[:n],
        test=decoded[n : len(kept)],
        test_labels=kept_labels[n:],
        classes=folder.classes,
        skipped=tuple(str(files[i].relative_to(folder.root)) for i in skipped),
    )


def _read_or_skip(path: Path, config: ImageFolder) -> np.ndarray | None:
    try:
        return _read(path, config.image_size)
    except _Unreadable:
        if config.unreadable == "skip":
            return None
        raise


class _Unreadable(DataError):
    """The file is no image, or a torn one."""


def _read(path: Path, size: int | None) -> np.ndarray:
    try:
        with Image.open(path) as file:
            image = _opaque(_eight_bit(ImageOps.exif_transpose(file)))
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            elif image.width != image.height:
                raise DataError(
                    f"{path} is not square ({image.width}x{image.height} pixels); set dataset.image_size to resize "
                    "and centre-crop all images"
                )
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _Unreadable(
            f"{path} cannot be read as an image: {error}; repair or remove it, or set dataset.unreadable: skip"
        ) from None


def _opaque(image: Image.Image) -> Image.Image:
    """In colour, and what is transparent on white: the colours below transparency are nobody's choice."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # PIL would clip these to white
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image


def _pixels(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
