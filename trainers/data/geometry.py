"""Crops and rotations of whole batches, every image by amounts of its own, in one resampling."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import Augmentation

_TRIES = 10  # as torchvision; after them, a crop that does not fit is cut to the image
_STRETCH = math.log(4 / 3)  # crops are from 3:4 to 4:3


def warp(pixels: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """Rotate each image about its centre, take a random part of it, mirror some.

    Args:
        pixels: float [b, channels, size, size].
        config: `crop`, `smallest_crop`, `rotate`, `flip`, `translate`.
        generator: on the device of the pixels.

    Returns:
        float [b, channels, crop, crop], bilinear; of the whole size where nothing is cropped.
    """
    b, channels, size, _ = pixels.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=pixels.device, dtype=pixels.dtype)

    # Coordinates go from -1 to 1. A point of the result is scaled and shifted into the crop, then turned.
    if config.crop is None:
        sides = pixels.new_ones(b, 2)
        reach = config.translate
        shifts = torch.randint(-reach, reach + 1, (b, 2), generator=generator, device=pixels.device)
        middles = shifts.to(pixels.dtype) * (2 / size)
    else:
        sides = crop_sides(uniform(b, _TRIES, 2), config.smallest_crop)
        middles = (1 - sides) * (2 * uniform(b, 2) - 1)
    angles = (2 * uniform(b) - 1) * math.radians(config.rotate)
    cosines, sines = angles.cos(), angles.sin()
    widths = sides[:, 0]
    if config.flip:
        widths = torch.where(uniform(b) < 0.5, -widths, widths)
    turn = torch.stack([cosines, -sines, sines, cosines], 1).view(b, 2, 2)
    scale = torch.diag_embed(torch.stack([widths, sides[:, 1]], 1))
    to = torch.cat([turn @ scale, turn @ middles[:, :, None]], 2)
    out = size if config.crop is None else config.crop
    grid = F.affine_grid(to, [b, channels, out, out], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def crop_sides(chances: Tensor, smallest: float) -> Tensor:
    """Widths and heights of random crops, as shares of the image's (Szegedy et al. 2015; torchvision's distribution).

    The area is uniform, the logarithm of width over height too; of several tries, the first that fits is taken.

    Args:
        chances: float [b, tries, 2], uniform in [0, 1).
        smallest: share of the area.

    Returns:
        float [b, 2], above 0, at most 1.
    """
    areas = smallest + (1 - smallest) * chances[:, :, 0]
    stretches = ((2 * chances[:, :, 1] - 1) * _STRETCH).exp()
    tried = torch.stack([areas * stretches, areas / stretches], 2).sqrt()
    fits = (tried <= 1).all(2)
    first = fits.to(torch.uint8).argmax(1)  # the first try, where none fits
    return tried[torch.arange(len(tried), device=tried.device), first].clamp(max=1)


def center_crop(pixels: Tensor, crop: int | None) -> Tensor:
    """The middle of each image, which is what evaluations see of it.

    Args:
        pixels: [b, channels, size, size].
        crop: pixels a side, at most `size`; none: the whole.
    """
    if crop is None:
        return pixels
    edge = (pixels.shape[-1] - crop) // 2
    return pixels[:, :, edge : edge + crop, edge : edge + crop]
