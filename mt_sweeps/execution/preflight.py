"""Check before the first trial that a sweep can run on this machine: images, first weights, storage, disk."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mt_sweeps.errors import InputError, trainer_error_text
from mt_sweeps.formatting import counted
from mt_sweeps.plugins import run_versions
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.storage import file_store
from mt_sweeps.storage.environment import weights_key
from mt_sweeps.storage.home import Home
from mt_sweeps.terminal import print
from trainers.config import DatasetConfig, ImageFolder, Imagenet, TrainerConfig
from trainers.config.known_datasets import KNOWN_DATASETS
from trainers.config.model import first_weights_of
from trainers.config.plugins import MODELS, registered_plugins
from trainers.data.cache import Facts, prepare, read_facts
from trainers.data.folders import Folder
from trainers.data.listing import LeftOutCount
from trainers.data.overlaps import groups_per_purpose, look_alike_caution, overlap_sentences
from trainers.data.sources import check_source
from trainers.data.splits import Split, split_for
from trainers.errors import DataError, WrongNetwork, escaped
from trainers.files import cache_folder
from trainers.weights_file import weights_file


@dataclass(frozen=True)
class DatasetCheck:
    """What is known of a data set once it is ready.

    Attributes:
        fingerprint: of the images and their classes.
        split_fingerprint: of which image serves which purpose.
        classes: their names, in the order of their indices.
        purposes: how many images serve which purpose.
        published: all settings of the published baseline, from `SweepSpec.published_values`.
        weights: SHA-256 of each file of first weights, by `weights_key`.
        groups: how many groups of images are trained on (`training`), and how many validation and verdict have.
        cautions: why errors on these images should be doubted, a sentence each.
    """

    fingerprint: str
    split_fingerprint: str
    classes: list[str]
    purposes: dict[str, int]
    published: Values
    weights: dict[str, str]
    groups: dict[str, int] = field(default_factory=dict)
    cautions: list[str] = field(default_factory=list)


def spec_versions(spec: SweepSpec) -> dict[str, str]:
    """Return the versions of everything that decides the results of a sweep, its plugins included."""
    corners = spec.corners() if registered_plugins() else []
    return run_versions(spec.config(values, arm) for values, arm in corners)


def check_folder(file: Path, spec: SweepSpec) -> str | None:
    """Make sure that a folder of images has the images that every trial needs, and that files of weights are there.

    No image is decoded, and no weights are loaded.

    Args:
        file: to name in an error.
        spec: of the sweep.

    Returns:
        What could not be checked, or None: data sets that are downloaded or come from a plugin have no folder yet.

    Raises:
        InputError: the folder is missing, has another layout or too few images; or a file of weights is missing.
    """
    configs = [spec.config(values, arm) for values, arm in spec.corners()]
    dataset = configs[0].dataset
    try:
        for weights in {first_weights_of(config.model) for config in configs}:
            if weights not in (None, "pretrained"):
                weights_file(weights)
        if not isinstance(dataset, ImageFolder | Imagenet):
            return None if dataset.name in KNOWN_DATASETS else f"the images of {dataset.name} were not looked at"
        folder = Folder(dataset)
        labels = np.array([label for _, label in folder.train] + [-1] * len(folder.unlabeled), np.int64)
        for config in configs:
            split = _checked_split(config, labels, folder.classes, dataset.image_size)
        if "published" in spec.arms():
            published = spec.config(spec.published_values(len(folder.classes), len(split.unlabeled)), "published")
            _checked_split(published, labels, folder.classes, dataset.image_size)
    except DataError as error:
        raise InputError(f"{file}: {trainer_error_text(error)}") from None
    return None


def check_data(file: Path, spec: SweepSpec) -> DatasetCheck:
    """Make the data set ready on this machine, and make sure that it has the images that every trial needs.

    Args:
        file: to name in an error.
        spec: of the sweep.

    Raises:
        InputError: images are missing, unreadable or too few.
    """
    configs = [spec.config(values, arm) for values, arm in spec.corners()]
    dataset = configs[0].dataset
    try:
        listed = _listing_progress(dataset)
        left_out = check_source(dataset, listed)
        prepared = prepare(dataset, decoding_progress(), listed)
        facts = read_facts(prepared)
        about = (facts.train_labels, facts.classes, facts.shape[0], facts.groups)
        for config in configs:
            split = _checked_split(config, *about)
        published: Values = {}
        if "published" in spec.arms():
            published = spec.published_values(len(facts.classes), len(split.unlabeled))
            _checked_split(spec.config(published, "published"), *about)
    except DataError as error:
        raise InputError(f"{file}: {trainer_error_text(error)}") from None
    except OSError as error:
        raise InputError(
            f"{error.filename or dataset.name}: {error.strerror}; decoded images go to {cache_folder()}, which "
            "MT_SWEEP_CACHE can change"
        ) from None
    look_alikes = look_alike_caution(prepared, facts, split, dataset)
    for line in [*left_out_lines(facts, left_out), *overlap_sentences(prepared, facts, split, dataset)]:
        print(line, flush=True)
    if look_alikes is not None:
        print(f"caution: {look_alikes}", flush=True)
    counts = {purpose: len(getattr(split, purpose)) for purpose in ("labeled", "unlabeled", "validation", "verdict")}
    if dataset.folds is not None:
        counts["validation"] = counts["labeled"]  # each is held out once
    if published:
        configs = [*configs, spec.config(published, "published")]
    weights = _check_networks(file, configs, facts)
    groups = groups_per_purpose(facts, split)
    cautions = [*facts.cautions, *([look_alikes] if look_alikes else [])]
    fingerprints = facts.fingerprint, split.fingerprint
    return DatasetCheck(*fingerprints, facts.classes, counts, published, weights, groups, cautions)


def left_out_lines(facts: Facts, left_out: list[LeftOutCount]) -> list[str]:
    """Return a line for each reason why files are not used, and each caution about the pixels of those that are."""
    lines = []
    if facts.skipped:
        names = escaped(", ".join(facts.skipped[:3]) + (", ..." if len(facts.skipped) > 3 else ""))
        lines.append(f"left out, since they cannot be read: {counted(len(facts.skipped), 'image')}: {names}")
    return [*lines, *(one.text() for one in left_out), *(f"caution: {caution}" for caution in facts.cautions)]


def _checked_split(
    config: TrainerConfig,
    labels: np.ndarray,
    classes: list[str],
    image_size: int | None,
    groups: np.ndarray | None = None,
) -> Split:
    """Return the split of a trial, after checking that it suffices, and for a fold if there are folds."""
    trained = [config, config.of_fold(0)] if config.is_cross_validated else [config]
    splits = [split_for(one, labels, classes, image_size, groups) for one in trained]
    return splits[0]


def _check_networks(file: Path, configs: list[TrainerConfig], facts: Facts) -> dict[str, str]:
    """Make sure that networks of libraries and plugins can be built here, have their weights and take the images.

    Returns:
        SHA-256 of each file of first weights, by `weights_key`.

    Raises:
        InputError: a network or its weights cannot be used.
    """
    digests: dict[str, str] = {}
    different = {(config.model, config.augmentation.crop, config.heads): config for config in configs}
    for config in different.values():
        key = weights_key(config.model)
        if key is None and config.model.name != "timm" and MODELS.get(config.model.name) is None:
            continue
        from trainers.models.inspection import inspect_network  # loads torch, and what the network needs

        try:
            found = inspect_network(config, facts.shape[2], len(facts.classes), facts.shape[0])
        except (DataError, WrongNetwork) as error:
            raise InputError(f"{file}: {trainer_error_text(error)}") from None
        if key is not None and found.weights is not None:
            digests[key] = found.weights
            names = ", ".join(found.unused[:3]) + (", ..." if len(found.unused) > 3 else "")
            unused = f"; {len(found.unused)} not used: {names}" if found.unused else ""
            print(f"first weights from {key}: {counted(found.loaded, 'tensor')}{unused}", flush=True)
    return digests


def _listing_progress(dataset: DatasetConfig) -> Callable[[int], None]:
    """Return a function that prints how many files are listed."""
    return lambda count: print(f"listing files below {escaped(getattr(dataset, 'root', ''))}: {count:,}", flush=True)


def decoding_progress() -> Callable[[int, int], None]:
    """Return a function that prints how far the decoding is, every other second."""
    printed = float("-inf")

    def progress(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed > 2 or done == total:
            printed = time.monotonic()
            print(f"decoding images, once for this machine: {done:,} of {total:,}", flush=True)

    return progress


def check_storage(file: Path, home: Home, spec: SweepSpec) -> None:
    """Make sure that everything a sweep keeps can be written from here.

    Raises:
        InputError: it cannot; or the ledger is in a database that several machines reach, and the rest is not.
    """
    home.check_writable()
    if home.is_shared:
        for key, value in (("storage", spec.storage), ("tracking.uri", spec.tracking.uri)):
            if value is None:
                raise InputError(
                    f"{file}: {key}: must be set if the home is a database: every machine has to reach all that the "
                    "sweep keeps; write it into the file, or use --set"
                )
    if spec.storage is not None:
        file_store.check_file_store(spec.storage)


def check_disk(home: Home, storage: str | None, needed: int) -> None:
    """Make sure that there is room for what a sweep writes, if it goes to a disk.

    Args:
        home: of the sweep.
        storage: where trials are kept, or None for the home.
        needed: bytes.

    Raises:
        InputError: there is too little.
    """
    if storage is not None and storage.startswith(file_store.SCHEME):
        return
    path = home.path if storage is None else Path(storage)
    free = shutil.disk_usage(path).free
    if free < needed:
        raise InputError(
            f"{path}: the sweep needs about {needed / 1e6:,.0f} MB of disk and {free / 1e6:,.0f} MB "
            "are free; make room, choose another disk with --home DIR, or lower trials"
        )
