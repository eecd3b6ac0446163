"""The folds of a cross-validation: the labeled images dealt into parts, each of which is held out once."""

from collections.abc import Sequence

import numpy as np

from trainers.errors import DataError


def fold_numbers(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, classes: Sequence[str]) -> np.ndarray:
    """Return the fold of each labeled image: int64 [n], in [0, folds).

    Every fold has about as many images of each class. Images of one group are in one fold.

    Args:
        labels: int64 [n], of the labeled images.
        groups: int64 [n], the number of the group of each.
        folds: how many.
        seed: draws the folds.
        classes: names, in the order of their indices.

    Raises:
        DataError: a class has fewer images, or groups, than there are folds, so that a training would miss it or a fold
            could not measure it.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # seconds to import

    for number in np.unique(labels):
        of_class = groups[labels == number]
        if (units := len(np.unique(of_class))) < folds:
            what = f"{units} labeled {'image' if units == 1 else 'images'}"
            if units < len(of_class):
                what = f"{len(of_class)} labeled images in {units} groups"
            more = "raise dataset.labels, or set dataset.validation instead of folds"
            raise DataError(
                f"dataset.folds: {folds} folds need as many labeled images of every class, and class {classes[number]} "
                f"has {what}; {f'use at most {units} folds, or ' if units > 1 else ''}{more}"
            )
    grouped = len(np.unique(groups)) < len(groups)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    found = np.empty(len(labels), np.int64)
    dealt = kind(folds, shuffle=True, random_state=seed).split(found, labels, groups if grouped else None)
    for fold, (_, held_out) in enumerate(dealt):
        found[held_out] = fold
    return found
