"""Jitter of colours, every image by amounts of its own.

What torchvision's ColorJitter does, which takes the same amounts for a whole batch; always in the order brightness,
contrast, saturation, hue.
"""

import torch
from torch import Tensor

from trainers.config import Augmentation

_GREY = (0.2989, 0.587, 0.114)  # ITU-R 601, as torchvision and PIL


def jitter(pixels: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """Images of other brightness, contrast, saturation and hue.

    Args:
        pixels: float [b, channels, height, width] in [0, 1].
        config: how far each may go.
        generator: on the device of the pixels.

    Returns:
        The same shape, in [0, 1]. Images of one channel have no saturation and no hue.
    """

    def amounts(reach: float) -> Tensor:
        chance = torch.rand((len(pixels), 1, 1, 1), generator=generator, device=pixels.device, dtype=pixels.dtype)
        return (2 * chance - 1) * reach

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
    return torch.einsum("bchw,c->bhw", pixels, pixels.new_tensor(_GREY))[:, None]


def shift_hue(pixels: Tensor, turns: Tensor) -> Tensor:
    """The same saturation and value, another hue.

    Args:
        pixels: float [b, 3, height, width] in [0, 1].
        turns: float [b, 1, 1], of the colour circle: 1 is all around.
    """
    red, green, blue = pixels.unbind(1)
    value, darkest = pixels.amax(1), pixels.amin(1)
    chroma = value - darkest
    safe = torch.where(chroma > 0, chroma, 1.0)
    sixths = torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    sixths = torch.where(value == red, (green - blue) / safe, sixths)
    # From hue back to colours: each channel is a trapezoid over the circle (Smith 1978).
    places = (pixels.new_tensor([5.0, 3.0, 1.0])[:, None, None] + (sixths + 6 * turns)[:, None]) % 6
    return value[:, None] - chroma[:, None] * torch.minimum(places, 4 - places).clamp(0, 1)
