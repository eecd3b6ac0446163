"""Which images are grey, though their files may have three channels."""

import numpy as np

_LEVELS = 2.0  # of 255, between the channels of a pixel, in the mean: JPEG leaves traces of colour in grey images


def are_grey(pixels: np.ndarray) -> np.ndarray:
    """Return which images have no colour, bool [n].

    Args:
        pixels: uint8 [n, height, width, channels].
    """
    spread = pixels.max(-1) - pixels.min(-1)
    grey: np.ndarray = spread.mean((1, 2)) < _LEVELS
    return grey
