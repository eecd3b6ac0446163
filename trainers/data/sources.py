"""Where images come from: scikit-learn's digits, a download by torchvision, a folder on disk, or a plugin.

Every source is decoded once, to uint8 with the channels last: the training images, then the test images.
"""

import hashlib
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL
from filelock import FileLock

from trainers.config import Cifar10, Cifar100, DatasetConfig, Digits, ImageFolder, Imagenet, Svhn
from trainers.config.dataset import check_split_sizes
from trainers.config.known_datasets import KNOWN_DATASETS
from trainers.config.plugins import DATASETS
from trainers.data.arrays import plugin_images, plugin_key, write_images
from trainers.data.class_names import class_name_cautions
from trainers.data.contrast import contrast_cautions
from trainers.data.decoding import Progress, Write, decode_files
from trainers.data.folders import Folder
from trainers.data.listing import LeftOutCount, Listed
from trainers.errors import DataError, escaped


@dataclass(frozen=True)
class Contents:
    """All of a data set but its pixels.

    Attributes:
        train_labels: int64 [n], class indices, -1 for images without a class; the images with classes come first.
        test_labels: int64 [m], class indices; m is 0 if there is no test set.
        classes: names, in the order of their indices.
        skipped: files that could not be read and were left out.
        names: paths of all images, relative to the root of the folder; empty if the images are in no folder.
        groups: int64 [n + m], the number of the group of each image by `dataset.groups`; None if that is not set.
        left_out: other files of a folder that are not used, by reason.
        cautions: what names and pixels look as if they were wrong, in words.
    """

    train_labels: np.ndarray
    test_labels: np.ndarray
    classes: list[str]
    skipped: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    left_out: tuple[LeftOutCount, ...] = ()
    cautions: tuple[str, ...] = ()


def source_key(config: DatasetConfig, listed: Listed | None = None) -> str:
    """Return a short name that changes if the source changes. It is cheap: no image is opened.

    Args:
        config: of the data set.
        listed: called about once per second while the files of a folder are listed.

    Raises:
        DataError: the folder does not exist or has another layout; or a plugin gives no key.
    """
    if (plugin := DATASETS.get(config.name)) is not None:
        return plugin_key(plugin, config)
    if isinstance(config, ImageFolder | Imagenet):
        settings = f"size={config.image_size} unreadable={config.unreadable} range={config.pixel_range} "
        settings += f"groups={config.groups} pillow={PIL.__version__}\n{Folder(config, listed).digest(listed)}"
        return f"{config.name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"
    return f"{config.name}-extra" if getattr(config, "extra", False) else config.name


def check_source(config: DatasetConfig, listed: Listed | None = None) -> list[LeftOutCount]:
    """Refuse, before anything is decoded, a folder that is missing, has another layout or is too small for the split.

    Args:
        config: of the data set.
        listed: called about once per second while the files of a folder are listed.

    Returns:
        What lies in the folder and is not used, by reason; nothing for other sources.

    Raises:
        DataError: names the folder, what is expected there, and what to do.
    """
    if not isinstance(config, ImageFolder | Imagenet):
        return []
    folder = Folder(config, listed)
    try:
        images = len(folder.train)
        labels = config.label_count(images)
        check_split_sizes(labels, config.validation, config.verdict, images, len(folder.classes), config.root)
    except ValueError as error:
        raise DataError(f"dataset.{error}") from None
    folder.group_numbers(folder.files())
    return [one.brief() for one in folder.left_out]


def decode(config: DatasetConfig, cache: Path, write: Write, progress: Progress | None = None) -> Contents:
    """Decode all images of a source.

    Args:
        config: of the data set.
        cache: folder that receives downloads, if the configuration names none; the pixels go to the same disk.
        write: called with blocks of the training images, then of the test images.
        progress: called while the images of a folder are decoded.

    Raises:
        DataError: images are missing, unreadable, or differ in size and none is set; or the disk is too small; or a
            plugin returns no images.
    """
    if (plugin := DATASETS.get(config.name)) is not None:
        images = plugin_images(plugin, config)
        write_images(images, write)
        return Contents(images.train_labels, images.test_labels, images.classes)
    if isinstance(config, Digits):
        return _digits(write)
    if isinstance(config, ImageFolder | Imagenet):
        return _folder(config, cache, write, progress)
    # The same lock with and without extra images, since they share files.
    with FileLock(cache / f"{config.name}-download.lock"):
        return _downloaded(config, Path(config.root).expanduser() if config.root else cache, write)


def _digits(write: Write) -> Contents:
    # The table that `load_digits` reads: to import scikit-learn takes most of a second.
    package = find_spec("sklearn")
    assert package is not None
    assert package.submodule_search_locations is not None
    table = np.loadtxt(Path(package.submodule_search_locations[0]) / "datasets/data/digits.csv.gz", delimiter=",")
    images = np.round(table[:, :64].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    labels = table[:, 64].astype(np.int64)
    # The package has no test set. Every fifth image is one: the same for every user, independent of any seed.
    test = np.arange(len(images)) % 5 == 4
    write(images[~test])
    write(images[test])
    return Contents(labels[~test], labels[test], [str(label) for label in range(10)])


def _downloaded(config: Cifar10 | Cifar100 | Svhn, root: Path, write: Write) -> Contents:
    # torchvision takes seconds to import; only the first process on a machine gets here. It shows the progress of the
    # download and compares checksums.
    from torchvision.datasets import CIFAR10, CIFAR100, SVHN

    try:
        if isinstance(config, Svhn):
            parts = ["train", "extra", "test"] if config.extra else ["train", "test"]
            labels = {}
            for part in parts:
                read = SVHN(str(root), split=part, download=True)
                write(read.data.transpose(0, 2, 3, 1))
                labels[part] = read.labels.astype(np.int64)
            unlabeled = np.full(len(labels.get("extra", ())), -1)
            train_labels = np.concatenate([labels["train"], unlabeled])
            return Contents(train_labels, labels["test"], [str(digit) for digit in range(10)])
        kind = CIFAR10 if isinstance(config, Cifar10) else CIFAR100
        train, test = (kind(str(root), train=part, download=True) for part in (True, False))
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{config.name} could not be read from or downloaded to {root}: {error}. Expected there: "
            f"{KNOWN_DATASETS[config.name].files}. Download it on a machine with a network, copy the folder here and "
            "set dataset.root to it"
        ) from None
    write(train.data)
    write(test.data)
    return Contents(np.asarray(train.targets, np.int64), np.asarray(test.targets, np.int64), train.classes)


def _folder(config: ImageFolder | Imagenet, cache: Path, write: Write, progress: Progress | None) -> Contents:
    folder = Folder(config)
    files = folder.files()
    needed, free = len(files) * 3 * (config.image_size or 0) ** 2, shutil.disk_usage(cache).free
    if needed > free:
        raise DataError(
            f"dataset.root: {len(files):,} images of {config.image_size}x{config.image_size} pixels take "
            f"{needed / 1e9:,.1f} GB of disk and {cache} has {free / 1e9:,.1f} GB free; make room, set MT_SWEEP_CACHE "
            "to another folder, or lower dataset.image_size"
        )
    names = folder.paths(files)
    groups = folder.group_numbers(files)
    labels = [label for _, label in folder.train] + [-1] * len(folder.unlabeled) + [label for _, label in folder.test]
    decoded = decode_files(files, config, write, progress)
    kept = decoded.kept
    if not kept:
        raise DataError(f"dataset.root: none of the {len(files)} images below {folder.root} can be read")
    n = sum(i < len(files) - len(folder.test) for i in kept)
    kept_labels = np.array([labels[i] for i in kept], np.int64)
    skipped = sorted(set(range(len(files))) - set(kept))
    cautions = class_name_cautions(folder.classes)
    if decoded.several:
        shown = escaped(", ".join(names[i] for i in decoded.several[:3])) + (
            ", ..." if len(decoded.several) > 3 else ""
        )
        count = f"{len(decoded.several):,} {'files have' if len(decoded.several) > 1 else 'file has'}"
        cautions.append(f"{count} several pages or frames, of which the first is used: {shown}")
    cautions += contrast_cautions(decoded.lowest, decoded.highest, decoded.flat, kept_labels, folder.classes)
    return Contents(
        kept_labels[:n],
        kept_labels[n:],
        folder.classes,
        skipped=tuple(names[i] for i in skipped),
        names=tuple(names[i] for i in kept),
        groups=None if groups is None else groups[kept],
        left_out=tuple(one.brief() for one in folder.left_out),
        cautions=tuple(cautions),
    )
