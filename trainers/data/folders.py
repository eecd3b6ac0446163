"""The files in a folder of images, and the class of each."""

import hashlib
import os
from pathlib import Path

import numpy as np

from trainers.config.dataset import ImageFolder, Imagenet
from trainers.config.known_datasets import KNOWN_DATASETS
from trainers.errors import DataError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
_LAYOUT = "expected train/<class>/*, and where there are any, unlabeled/* and test/<class>/*"
_IMAGENET = (
    "expected train/<wnid>/*.JPEG of ILSVRC 2012's 1,000 classes (138 GB) and val/<wnid>/*.JPEG (6 GB); it is "
    "not downloaded automatically: register at image-net.org; torchvision.datasets.ImageNet(root, split) unpacks both "
    "archives to this layout"
)


class Folder:
    """The image files of a folder, in an order that depends on their names alone.

    Args:
        config: of the data set.

    Attributes:
        root: of the folder.
        classes: names.
        train: (file, class index) of the training images that have a class.
        unlabeled: files of the training images that have none.
        test: (file, class index) of the test images.

    Raises:
        DataError: the folder does not exist or has another layout.
    """

    def __init__(self, config: ImageFolder | Imagenet) -> None:
        self.root = Path(config.root).expanduser()
        train = self.root / "train"
        layout, test = (_IMAGENET, "val") if isinstance(config, Imagenet) else (_LAYOUT, "test")
        if not train.is_dir():
            raise DataError(f"dataset.root: there is no folder {train if self.root.is_dir() else self.root}; {layout}")
        if config.label_file is None:
            self.classes = _folders_in(train)
            if len(self.classes) < 2:
                raise DataError(f"dataset.root: {train} has {len(self.classes)} class folders; {layout}")
            self.train = self._labeled("train")
        else:
            self.classes, self.train = _from_label_file(Path(config.label_file).expanduser(), train)
        known = KNOWN_DATASETS.get(config.name)
        if known is not None and len(self.classes) != known.classes:
            raise DataError(f"dataset.root: {train} has {len(self.classes)} classes; {layout}; or use image_folder")
        counts = np.bincount([label for _, label in self.train], minlength=len(self.classes))
        empty = [name for name, count in zip(self.classes, counts, strict=True) if count == 0]
        if empty:
            raise DataError(f"dataset.root: no images in {train / empty[0]}; add some or remove it")
        self.unlabeled = images_below(self.root / "unlabeled")
        if config.label_file is not None:
            labeled = {file for file, _ in self.train}
            self.unlabeled += [file for file in images_below(train) if file not in labeled]
        if (self.root / test).is_dir():
            unknown = sorted(set(_folders_in(self.root / test)) - set(self.classes))
            if unknown:
                raise DataError(f"dataset.root: {self.root / test / unknown[0]} is a class that train/ has not")
        self.test = self._labeled(test)

    def _labeled(self, part: str) -> list[tuple[str, int]]:
        return [
            (file, label) for label, name in enumerate(self.classes) for file in images_below(self.root / part / name)
        ]

    def files(self) -> list[str]:
        """Return all files: those with a class, the unlabeled ones, those of the test set."""
        return [file for file, _ in self.train] + self.unlabeled + [file for file, _ in self.test]

    def digest(self) -> str:
        """Return a hash that changes if a file is added, removed, modified, replaced or given another class.

        No image is opened. The time of the last change (ctime) is part of it, since nobody can set it: a file that
        replaces another may have the same name, size and time of modification.

        Raises:
            DataError: a file cannot be accessed.
        """
        listing = hashlib.sha256("".join(f"{label}\n" for _, label in self.train).encode())
        for file in self.files():
            try:
                facts = os.stat(file)  # noqa: PTH116 (path objects are slow for a million files)
            except OSError as error:
                raise DataError(f"{file} cannot be read: {error.strerror}; repair or remove it") from None
            name = os.path.relpath(file, self.root)
            listing.update(
                f"{name}\t{facts.st_size}\t{facts.st_mtime_ns}\t{facts.st_ctime_ns}\n".encode(errors="surrogateescape")
            )
        return listing.hexdigest()


def _from_label_file(file: Path, train: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the classes, and (file, class index) of each image, of a file whose lines are `path class`.

    The paths are relative to `train`.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"dataset.label_file: {file} cannot be read: {error}") from None
    named: dict[str, str] = {}
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
        if str(path) in named:
            raise DataError(f"{where}: {path_text} is named a second time; remove one of the lines")
        named[str(path)] = name
    classes = sorted(set(named.values()))
    if len(classes) < 2:
        raise DataError(f"dataset.label_file: {file} names {len(classes)} classes; at least two are needed")
    number_of = {name: number for number, name in enumerate(classes)}
    return classes, [(path, number_of[name]) for path, name in sorted(named.items())]


def _folders_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())


def images_below(folder: Path) -> list[str]:
    """Return all files in and below a folder whose names end like those of images, sorted by name."""
    files = [
        os.path.join(directory, name)  # noqa: PTH118 (path objects are slow for a million files)
        for directory, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES)
    ]
    return sorted(files)
