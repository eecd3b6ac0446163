"""Jitter of colours, with random amounts for each image.

The changes are those of torchvision's ColorJitter, which uses the same amounts for a whole batch. They are always made
in the order brightness, contrast, saturation, hue.
"""

from functools import cache

import torch
from torch import Tensor

from trainers.config import Augmentation
from trainers.data.draws import Draws

_GREY = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision and PIL


def jitter(pixels: Tensor, config: Augmentation, draws: Draws) -> Tensor:
    """Change brightness, contrast, saturation and hue at random.

    Args:
        pixels: float [b, channels, height, width] in [0, 1].
        config: the range of each change.
        draws: on the device of the pixels.

    Returns:
        The same shape, in [0, 1]. Saturation and hue of grey images do not change.
    """

    def amounts(limit: float) -> Tensor:
        return (2 * draws.uniform(len(pixels), 1, 1, 1, dtype=pixels.dtype) - 1) * limit

    if config.brightness:
        pixels = _blend(pixels, torch.zeros_like(pixels), 1 + amounts(config.brightness))
    if config.contrast:
        pixels = _blend(pixels, _grey(pixels).mean((1, 2, 3), keepdim=True), 1 + amounts(config.contrast))
    if config.saturation:
        pixels = _blend(pixels, _grey(pixels), 1 + amounts(config.saturation))
    if config.hue and pixels.shape[1] == 3:
        pixels = shift_hue(pixels, amounts(config.hue)[:, 0])
    return pixels


def _blend(pixels: Tensor, others: Tensor, share: Tensor) -> Tensor:
    return (share * pixels + (1 - share) * others).clamp(0, 1)


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] == 1:
        return pixels
    return torch.einsum("bchw,c->bhw", pixels, _constant(_GREY, pixels.dtype, pixels.device))[:, None]


@cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return numbers as a tensor, which is copied to the device only once."""
    return torch.tensor(values, dtype=dtype, device=device)


def shift_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """Shift the hue; saturation and value stay the same.

    Args:
        pixels: float [b, 3, height, width] in [0, 1].
        turns: float [b, 1, 1], turns of the colour circle: 1 is a full turn.
    """
    red, green, blue = pixels.unbind(1)
    value, darkest = pixels.amax(1), pixels.amin(1)
    chroma = value - darkest
    safe = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sixths = torch.where(value == red, (green - blue) / safe, sixths)
    # From hue back to colours: each channel is a trapezoid over the circle (Smith 1978).
    offsets = _constant((5.0, 3.0, 1.0), pixels.dtype, pixels.device)
    positions = (offsets[:, None, None] + (sixths + 6 * turns)[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(positions, 4 - positions).clamp(0, 1)
