"""Cautions about pixels that show nothing: classes and sets of one colour, or of few levels."""

from collections.abc import Sequence

import numpy as np

from trainers.errors import escaped

_FEW_LEVELS = 16  # of 256


def contrast_cautions(
    lowest: np.ndarray, highest: np.ndarray, flat: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[str]:
    """Return what to tell about images that show nothing.

    Args:
        lowest: uint8 [n], the lowest value of each image.
        highest: uint8 [n], the highest value of each image.
        flat: bool [n], whether all pixels of an image have the same colour.
        labels: int [n], class indices; -1 for images without a class.
        classes: names, in the order of their indices.
    """
    check = "look at them, as `preview` shows them, and at how they were written"
    if not len(flat):
        return []
    if flat.all():
        return [f"each of the {len(flat):,} images is of one colour; {check}"]
    cautions = []
    low, high = int(lowest.min()), int(highest.max())
    if high - low < _FEW_LEVELS:
        cautions.append(f"the pixels of all images lie between {low} and {high} of 0 to 255; {check}")
    for number, name in enumerate(classes):
        of_class = flat[labels == number]
        if len(of_class) and of_class.all():
            cautions.append(f"each of the {len(of_class):,} images of class {escaped(name)} is of one colour; {check}")
    if not cautions and flat.sum() > len(flat) / 10:
        cautions.append(f"{int(flat.sum()):,} of the {len(flat):,} images are of one colour; {check}")
    return cautions
