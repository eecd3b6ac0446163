"""Random erasing (Zhong et al. 2020) of whole batches, a rectangle of its own for each image."""

import math

import torch
from torch import Tensor

from trainers.data.draws import Draws

_TRIES = 10  # as in torchvision; if none fits, nothing is erased
_AREA = (0.02, 0.33)  # share of the image, uniform
_ASPECT = (math.log(0.3), math.log(3.3))  # logarithm of height / width, uniform


def erase(pixels: Tensor, chance: float, draws: Draws) -> Tensor:
    """Set a random rectangle of some images to 0. The distribution is that of torchvision's RandomErasing.

    Args:
        pixels: float [b, channels, height, width], normalised.
        chance: that a rectangle of an image is erased, in [0, 1].
        draws: on the device of the pixels.
    """
    b, (height, width) = len(pixels), pixels.shape[2:]
    areas = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * draws.uniform(b, _TRIES))
    aspects = (_ASPECT[0] + (_ASPECT[1] - _ASPECT[0]) * draws.uniform(b, _TRIES)).exp()
    heights, widths = (areas * aspects).sqrt().round(), (areas / aspects).sqrt().round()
    fits = (heights < height) & (widths < width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    rows = _within(heights.gather(1, first), height, draws.uniform(b, 1))
    columns = _within(widths.gather(1, first), width, draws.uniform(b, 1))
    chosen = (draws.uniform(b, 1) < chance) & fits.any(1, keepdim=True)
    erased = (chosen & rows)[:, None, :, None] & columns[:, None, None, :]
    return pixels.masked_fill(erased, 0)


def _within(lengths: Tensor, size: int, chances: Tensor) -> Tensor:
    """Return which positions lie in a stretch at a random place: bool [b, size].

    Args:
        lengths: float [b, 1], of the stretches: whole numbers up to `size`.
        size: number of positions.
        chances: float [b, 1], uniform in [0, 1).
    """
    starts = (chances * (size - lengths + 1)).floor()
    positions = torch.arange(size, device=lengths.device)
    return (positions >= starts) & (positions < starts + lengths)
