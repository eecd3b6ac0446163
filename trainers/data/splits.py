"""Which image serves which purpose. Each serves only one, so no result is measured on images that tuned it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainers.config import DatasetConfig, TrainerConfig
from trainers.config.compatibility import check_image_size, check_unlabeled
from trainers.config.dataset import check_split_sizes
from trainers.data.class_balance import class_weights
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


def split(labels: np.ndarray, classes: int, config: DatasetConfig) -> Split:
    """Draw the split of a data set from its seeds.

    Labeled images are drawn first, so that they stay the same when the other sizes change: the same number of every
    class (a remainder goes to classes drawn at random), or without regard to classes. Validation and verdict follow
    the class frequencies. With a `label_seed`, other images are then drawn to be labeled, from all but these two. With
    `with_validation`, both finally join the labeled images, and none is left to measure on.

    Args:
        labels: int64 [n]; -1 if an image has no class, and is therefore always unlabeled.
        classes: how many there are.
        config: sizes and seeds.

    Raises:
        DataError: a class has too few images, or all classes together have too few.
    """
    count = config.label_count(int((labels >= 0).sum()))
    try:
        check_split_sizes(count, config.validation, config.verdict, int((labels >= 0).sum()), classes, "the data set")
    except ValueError as error:
        raise DataError(f"dataset.{error}") from None
    rng = np.random.default_rng([config.split_seed, 0x5B117])
    by_class = [rng.permutation(np.flatnonzero(labels == c)) for c in range(classes)]
    quota = np.zeros(classes, np.int64)
    if count != "all" and config.draw == "random":
        quota = rng.multivariate_hypergeometric([len(images) for images in by_class], count)
        if not quota.all():
            raise DataError(
                f"dataset.draw: random gave class {quota.argmin()} none of the {count} labels; raise labels, or use "
                "another split_seed or draw: balanced"
            )
    elif count != "all":
        quota += count // classes
        quota[rng.permutation(classes)[: count % classes]] += 1
        for c, (have, want) in enumerate(zip(by_class, quota, strict=True)):
            if len(have) < want:
                raise DataError(
                    f"dataset.labels: {count} class-balanced labels need {want} images of class {c}, which has "
                    f"{len(have)}; use at most {classes * min(map(len, by_class))}"
                )
    labeled = [images[:n] for images, n in zip(by_class, quota, strict=True)]
    rest = _interleaved([images[n:] for images, n in zip(by_class, quota, strict=True)])
    validation, verdict, rest = np.split(rest, [config.validation, config.validation + config.verdict])
    if config.label_seed is not None:
        labeled, rest = _drawn_anew(labels, np.concatenate([*labeled, rest]), quota, config)
    if count == "all":
        labeled, rest = [rest], rest[:0]
        missing = set(range(classes)) - set(labels[labeled[0]].tolist())
        if missing:
            raise DataError(f"dataset.labels: no image of class {min(missing)} is left to train on; lower validation")
    unlabeled = np.concatenate([rest, np.flatnonzero(labels < 0)])
    if config.unlabeled is not None:
        if len(unlabeled) < config.unlabeled:
            raise DataError(
                f"dataset.unlabeled: {config.unlabeled} is more than the {len(unlabeled)} that are left over"
            )
        unlabeled = rng.permutation(unlabeled)[: config.unlabeled]
    if config.with_validation:
        labeled = [*labeled, validation, verdict]
        validation = verdict = rest[:0]
    return Split(
        labeled=np.sort(np.concatenate(labeled)),
        unlabeled=np.sort(unlabeled),
        validation=np.sort(validation),
        verdict=np.sort(verdict),
    )


def split_for(config: TrainerConfig, labels: np.ndarray, classes: Sequence[str], image_size: int | None) -> Split:
    """Return the split of a run, after checking that it suffices for the run.

    Args:
        config: of the run.
        labels: int64 [n]; -1 if an image has no class.
        classes: names, in the order of their indices.
        image_size: pixels per side; None: not known, and not checked.

    Raises:
        DataError: too few images for the split or for a batch, or images too small for the network; or the classes do
            not fit `sampling` or `class_weights`.
    """
    try:
        if image_size is not None:
            check_image_size(config, image_size)
        purposes = split(labels, len(classes), config.dataset)
        check_unlabeled(config, len(purposes.unlabeled))
    except ValueError as error:
        raise DataError(str(error)) from None
    class_weights(config, labels[purposes.labeled], classes)
    return purposes


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
