"""Greys of more than 8 bits (integers and floats) become 8 bits by one rule that depends on no image.

The rule is `dataset.pixel_range`: two values, of which the first becomes black and the second white. Where it is not
set, it is the range of the type: 0 to 65535 for integers, 0 to 1 for floats. So two images of a set stay as bright as
they are to each other, and `predict` reads an image as training did.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from trainers.data.tiff_values import TiffValues

INTEGERS = (0.0, 65535.0)
FLOATS = (0.0, 1.0)

_HALF_LEVEL = 1 / 510  # of 8 bits: floats that rounding put beyond the range, as a resampling does

PixelRange = tuple[float, float] | None
"""The values that become black and white; None: the range of the type."""


class OutOfRange(ValueError):
    """An image has greys that the range does not hold."""


@dataclass(frozen=True)
class GreyValues:
    """The greys of an image of more than 8 bits, as they are in the file.

    Attributes:
        mode: Pillow's name for the type, or NumPy's where Pillow has none.
        highest: the largest value.
    """

    mode: str
    highest: float


def is_wide(image: Image.Image, stored: TiffValues) -> bool:
    """Return True for greys of more than 8 bits, or below 0, which Pillow would clip."""
    return image.mode in ("I", "F") or image.mode.startswith("I;") or stored.dtype is not None


def to_eight_bits(image: Image.Image, stored: TiffValues, pixel_range: PixelRange) -> tuple[Image.Image, GreyValues]:
    """Convert greys of more than 8 bits. What is transparent becomes white.

    Args:
        image: for which `is_wide`.
        stored: how the values of its file are to be read.
        pixel_range: values that become black and white. What is beyond them is black or white too.

    Returns:
        The image with 8 bits, and the greys that it had.

    Raises:
        OutOfRange: no range is set, and the image has values beyond the range of its type; or values that are no
            number.
    """
    raw = np.asarray(image)
    mode = image.mode if stored.dtype is None else np.dtype(stored.dtype).name
    values = (raw if stored.dtype is None else raw.view(stored.dtype)).astype(np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise OutOfRange(f"{bad:,} of its {values.size:,} pixels (mode {mode}) are no number; write numbers there")
    lowest, highest = float(values.min()), float(values.max())
    low, high = pixel_range or (FLOATS if image.mode == "F" else INTEGERS)
    slack = (high - low) * _HALF_LEVEL if image.mode == "F" else 0.0
    if pixel_range is None and (lowest < low - slack or highest > high + slack):
        raise OutOfRange(
            f"its greys (mode {mode}) go from {lowest:g} to {highest:g}; allowed: from {low:g} to {high:g}, or "
            "set dataset.pixel_range: [black, white] to the values that are to become black and white in every image"
        )
    scaled = np.clip((values - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    if stored.is_white_zero:
        scaled = 255 - scaled
    if isinstance(transparent := image.info.get("transparency"), int):
        scaled[values == transparent] = 255
    return Image.fromarray(scaled), GreyValues(mode, highest)


def why_too_dark(greys: list[GreyValues]) -> str | None:
    """Return what is wrong with a whole set whose greys are a sixteenth of their type's range or less, or None.

    Cameras and scanners of 10 or 12 bits write such files. They would become a few levels of black.

    Args:
        greys: of all images of more than 8 bits, converted without a range that was set.
    """
    for integers in (True, False):
        highest = max((one.highest for one in greys if (one.mode != "F") == integers), default=None)
        white = (INTEGERS if integers else FLOATS)[1]
        if highest is None or highest <= 0 or highest > white / 16:  # all black is black in any range
            continue
        likely = 2 ** max(1, int(highest).bit_length()) - 1 if integers else highest
        return (
            f"the brightest grey of all images of more than 8 bits is {highest:g}, and white is {white:g}: they would "
            f"be nearly black; set dataset.pixel_range: [black, white] to the values that are to become black and "
            f"white, as [0, {likely:g}], or [0, {white:g}] if they are meant to be dark"
        )
    return None
