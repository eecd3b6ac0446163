"""Which image serves which purpose. Each serves only one, so no result is measured on images that tuned it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainers.config import DatasetConfig, TrainerConfig
from trainers.config.compatibility import check_image_size, check_unlabeled
from trainers.config.dataset import check_split_sizes
from trainers.data.class_balance import class_weights
from trainers.data.folds import fold_numbers
from trainers.data.groups import LEFT_OUT, WholeGroups
from trainers.errors import DataError


@dataclass(frozen=True)
class Split:
    """Indices into the training images: int64, disjoint, each array sorted.

    Attributes:
        labeled: images that are trained on with their labels. With `with_validation`, those of validation and verdict
            are among them.
        unlabeled: images that are trained on without labels.
        validation: images that select among trials.
        verdict: images that compare the finalists.
    """

    labeled: np.ndarray
    unlabeled: np.ndarray
    validation: np.ndarray
    verdict: np.ndarray

    @property
    def fingerprint(self) -> str:
        """SHA-256 over which image serves which purpose."""
        digest = hashlib.sha256()
        for indices in (self.labeled, self.unlabeled, self.validation, self.verdict):
            digest.update(f"{len(indices)}\n".encode() + indices.astype("<i8").tobytes())
        return digest.hexdigest()


def split(labels: np.ndarray, classes: Sequence[str], config: DatasetConfig, groups: np.ndarray | None = None) -> Split:
    """Draw the split of a data set from its seeds.

    Labeled images are drawn first, so that they stay the same when the other sizes change: the same number of every
    class (a remainder goes to classes drawn at random), or without regard to classes, but at least one of each.
    Validation and verdict follow the class frequencies, and each has an image of every class that has one to spare, if
    it has room for one of each. With a `label_seed`, other images are then drawn to be labeled, from all but these two.
    With a `fold`, the validation images are instead those of the labeled ones that are in this fold.
    With `with_validation`, both finally join the labeled images, and none is left to measure on.

    The images of a group are never divided between validation, verdict and training. Validation and verdict take whole
    groups in the order in which images are drawn, while they fit, so they may have fewer images than were asked for.
    A labeled image whose group they take is replaced by the next one of its class. Images without a class are left out
    if their group is in validation or verdict, and all images of a group are left out if it has a test image.

    Args:
        labels: int64 [n]; -1 if an image has no class, and is therefore always unlabeled.
        classes: names, in the order of their indices.
        config: sizes and seeds.
        groups: int64 [n + m], the number of the group of each image, training images first, then test images; -1 if
            the image serves no purpose. None: each image is on its own.

    Raises:
        DataError: a class has too few images, or all classes together have too few; or whole groups fill less than half
            of validation or verdict.
    """
    groups = np.arange(len(labels)) if groups is None else groups
    groups, test_groups = groups[: len(labels)], groups[len(labels) :]
    usable = (groups != LEFT_OUT) & ~np.isin(groups, test_groups)
    count = _checked_count(labels, classes, config, usable)
    rng = np.random.default_rng([config.split_seed, 0x5B117])
    drawn = (rng.permutation(np.flatnonzero(labels == c)) for c in range(len(classes)))
    by_class = [images[usable[images]] for images in drawn]
    quota = _quota(by_class, classes, count, config, rng)
    order = _interleaved([images[n:] for images, n in zip(by_class, quota, strict=True)])
    validation, verdict, taken = _kept_back(labels, groups, usable, order, quota, config)
    left = [images[~taken[images]] for images in by_class]
    labeled = [images[:n] for images, n in zip(left, quota, strict=True)]
    rest = order[~taken[order] & ~np.isin(order, np.concatenate(labeled))]
    if config.label_seed is not None:
        labeled, rest = _drawn_anew(labels, np.concatenate([*labeled, rest]), quota, config)
    if count == "all":
        labeled, rest = [rest], rest[:0]
    without_class = np.flatnonzero((labels < 0) & usable & ~np.isin(groups, groups[taken]))
    unlabeled = np.concatenate([rest, without_class])
    if config.fold is not None and not config.with_validation:
        labeled, validation, unlabeled = _held_out(labels, groups, np.concatenate(labeled), unlabeled, classes, config)
    unlabeled = _some(unlabeled, config.unlabeled, rng)
    if config.with_validation:
        labeled = [*labeled, validation, verdict]
        validation = verdict = rest[:0]
    return Split(
        labeled=np.sort(np.concatenate(labeled)),
        unlabeled=np.sort(unlabeled),
        validation=np.sort(validation),
        verdict=np.sort(verdict),
    )


def split_for(
    config: TrainerConfig,
    labels: np.ndarray,
    classes: Sequence[str],
    image_size: int | None,
    groups: np.ndarray | None = None,
) -> Split:
    """Return the split of a run, after checking that it suffices for the run.

    Args:
        config: of the run.
        labels: int64 [n]; -1 if an image has no class.
        classes: names, in the order of their indices.
        image_size: pixels per side; None: not known, and not checked.
        groups: as in `split`.

    Raises:
        DataError: too few images for the split or for a batch, or images too small for the network; or the classes do
            not fit `sampling` or `class_weights`.
    """
    try:
        if image_size is not None:
            check_image_size(config, image_size)
        purposes = split(labels, classes, config.dataset, groups)
        check_unlabeled(config, len(purposes.unlabeled))
    except ValueError as error:
        raise DataError(str(error)) from None
    class_weights(config, labels[purposes.labeled], classes)
    return purposes


def _checked_count(
    labels: np.ndarray, classes: Sequence[str], config: DatasetConfig, usable: np.ndarray
) -> int | Literal["all"]:
    """Return the number of labels, after checking that there are enough images in all, and one of every class."""
    with_class = labels >= 0
    images = np.bincount(labels[with_class & usable], minlength=len(classes))
    left_out = int((with_class & ~usable).sum())
    note = ""
    if left_out:
        note = (
            f". {left_out:,} of {with_class.sum():,} images with a class serve no purpose, since they are copies of "
            "test images, of a group with test images (dataset.groups), or under two classes"
        )
    count = config.label_count(int(images.sum()))
    try:
        check_split_sizes(count, config.validation, config.verdict, int(images.sum()), len(classes), "the data set")
    except ValueError as error:
        raise DataError(f"dataset.{error}{note}") from None
    if not images.all():
        raise DataError(
            f"dataset.labels: class {classes[int(images.argmin())]} has no image to train on; add some, or remove the "
            f"class{note}"
        )
    return count


def _quota(
    by_class: list[np.ndarray],
    classes: Sequence[str],
    count: int | Literal["all"],
    config: DatasetConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return how many images of each class are labeled: int64 [classes]; 0 if all that are left over are labeled."""
    images = np.array([len(of_class) for of_class in by_class])
    quota = np.zeros(len(classes), np.int64)
    if count == "all":
        return quota
    if config.draw == "random":
        quota = rng.multivariate_hypergeometric(images, count)
        for c in np.flatnonzero(quota == 0):  # else nobody could learn this class
            quota[quota.argmax()] -= 1
            quota[c] = 1
        return quota
    quota += count // len(classes)
    quota[rng.permutation(len(classes))[: count % len(classes)]] += 1
    few = np.flatnonzero(images < quota)
    if len(few):
        others = f", and {len(few) - 1} other classes have too few" if len(few) > 1 else ""
        raise DataError(
            f"dataset.labels: {count} class-balanced labels need {quota[few[0]]} images of class {classes[few[0]]}, "
            f"which has {images[few[0]]}{others}; set dataset.draw: random, which keeps the {count} labels and draws "
            "classes as frequent as they are, or dataset.labels: all"
        )
    return quota


def _kept_back(
    labels: np.ndarray,
    groups: np.ndarray,
    usable: np.ndarray,
    order: np.ndarray,
    quota: np.ndarray,
    config: DatasetConfig,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw validation and verdict in this order of images; return both, and which images are in either: bool [n]."""
    draw = WholeGroups(labels, groups, usable)
    images = np.bincount(labels[usable & (labels >= 0)], minlength=len(quota))
    spare = images - np.maximum(quota, 1)  # one of each class is trained on
    for_verdict = np.minimum(spare // 2, 1)
    if config.verdict < for_verdict.sum():
        for_verdict[:] = 0
    spare -= for_verdict
    validation = draw.draw(order, config.validation, spare)
    spare += for_verdict
    verdict = draw.draw(order, config.verdict, spare)
    for name, drawn, size in (("validation", validation, config.validation), ("verdict", verdict, config.verdict)):
        if 2 * len(drawn) < size:
            raise DataError(
                f"dataset.{name}: {size:,} images are asked for, and whole groups that fit have {len(drawn):,}: the "
                f"{len(draw.sizes):,} groups (dataset.groups, and copies) have {draw.sizes.min():,} to "
                f"{draw.sizes.max():,} images with a class; raise {name}, lower labels, or use smaller groups"
            )
    return validation, verdict, draw.taken


def _held_out(
    labels: np.ndarray,
    groups: np.ndarray,
    labeled: np.ndarray,
    unlabeled: np.ndarray,
    classes: Sequence[str],
    config: DatasetConfig,
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Hold out a fold; return the labeled images that are left, those of the fold, and the unlabeled ones."""
    assert config.folds is not None
    labeled = np.sort(labeled)
    is_in = fold_numbers(labels[labeled], groups[labeled], config.folds, config.split_seed, classes) == config.fold
    held_out = labeled[is_in]
    return [labeled[~is_in]], held_out, unlabeled[~np.isin(groups[unlabeled], groups[held_out])]


def _some(unlabeled: np.ndarray, count: int | None, rng: np.random.Generator) -> np.ndarray:
    """Draw so many of the unlabeled images, or return all."""
    if count is None:
        return unlabeled
    if len(unlabeled) < count:
        raise DataError(f"dataset.unlabeled: {count} is more than the {len(unlabeled)} that are left over")
    return rng.permutation(unlabeled)[:count]


def _drawn_anew(
    labels: np.ndarray, pool: np.ndarray, quota: np.ndarray, config: DatasetConfig
) -> tuple[list[np.ndarray], np.ndarray]:
    """Draw other labeled images, as many of every class; return them per class, and the rest of the pool."""
    rng = np.random.default_rng([config.split_seed, config.label_seed or 0, 0x1ABE1])
    by_class = [rng.permutation(np.sort(pool[labels[pool] == c])) for c in range(len(quota))]
    drawn = [images[:n] for images, n in zip(by_class, quota, strict=True)]
    return drawn, np.concatenate([images[n:] for images, n in zip(by_class, quota, strict=True)])


def _interleaved(groups: list[np.ndarray]) -> np.ndarray:
    """Merge groups so that every prefix of the result holds them in proportion to their sizes."""
    position = np.concatenate([(np.arange(len(group)) + 0.5) / max(1, len(group)) for group in groups])
    return np.concatenate(groups)[np.argsort(position, kind="stable")]
