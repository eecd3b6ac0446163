"""Crops and rotations of whole batches, with random amounts for each image, in one resampling."""

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import Augmentation
from trainers.data.draws import Draws

_TRIES = 10  # as in torchvision; if none fits, the first is cut to the image
_MOST_SAMPLES = 8  # per axis: each takes a pass over the batch
_STRETCH = math.log(4 / 3)  # aspect ratios are from 3:4 to 4:3


def warp(pixels: Tensor, config: Augmentation, draws: Draws) -> Tensor:
    """Rotate each image about its centre, crop it or shift it at random, and mirror some.

    Args:
        pixels: float [b, channels, size, size].
        config: `crop`, `smallest_crop`, `rotate`, `flip`, `translate`.
        draws: on the device of the pixels.

    Returns:
        float [b, channels, crop, crop], bilinear; without a crop, of the size of the images. A crop that is larger than
        its result is antialiased: each pixel is the mean of several samples.
    """
    b, channels, size, _ = pixels.shape

    def uniform(*shape: int) -> Tensor:
        return draws.uniform(*shape, dtype=pixels.dtype)

    # Coordinates go from -1 to 1. A point of the result is scaled and shifted into the crop, then turned.
    if config.crop is None:
        sides = pixels.new_ones(b, 2)
        limit = config.translate
        shifts = draws.integers(-limit, limit + 1, b, 2)
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
    out = size if config.crop is None else config.crop
    across, down = sample_offsets(sides, size, out).unbind(2)
    result = torch.zeros((), device=pixels.device, dtype=pixels.dtype)
    for x, y in itertools.product(across, down):
        to = torch.cat([turn @ scale, turn @ (middles + torch.stack([x, y], 1))[:, :, None]], 2)
        grid = F.affine_grid(to, [b, channels, out, out], align_corners=False)
        result = result + F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return result / (len(across) * len(down))


def sample_offsets(sides: Tensor, size: int, out: int) -> Tensor:
    """Return where the samples of a pixel are, relative to its middle.

    A bilinear sample is a triangle that reaches one pixel of the image to each side. If a pixel of the result is p > 1
    pixels of the image wide, torchvision's antialiasing widens the triangle to p pixels, and its variance from 1/6 to
    p^2/6. The samples have the difference as their variance. With p of at most 1 they are all in the middle.

    Args:
        sides: float [b, 2], of the crops, as shares of the image's.
        size: pixels per side of the images.
        out: pixels per side of the results.

    Returns:
        float [n, b, 2], of n samples per axis, in coordinates in which the image is 2 wide.
    """
    n = min(max(1, -(-size // out)), _MOST_SAMPLES)
    pixels = sides * (size / out)
    deviation = ((pixels.square() - 1) / 6).clamp(min=0).sqrt()
    steps = torch.arange(n, device=sides.device, dtype=sides.dtype) - (n - 1) / 2
    if n > 1:
        steps = steps / math.sqrt((n**2 - 1) / 12)  # now with a variance of 1
    return (2 / size) * steps[:, None, None] * deviation


def crop_sides(chances: Tensor, smallest: float) -> Tensor:
    """Return the widths and heights of random crops, as shares of the image's.

    The area and the logarithm of the aspect ratio are uniform. Of several tries, the first that fits is used (Szegedy
    et al. 2015; torchvision's distribution).

    Args:
        chances: float [b, tries, 2], uniform in [0, 1).
        smallest: the smallest share of the area.

    Returns:
        float [b, 2], above 0, at most 1.
    """
    areas = smallest + (1 - smallest) * chances[:, :, 0]
    stretches = ((2 * chances[:, :, 1] - 1) * _STRETCH).exp()
    tried = torch.stack([areas * stretches, areas / stretches], 2).sqrt()
    fits = (tried <= 1).all(2)
    first = fits.to(torch.uint8).argmax(1)  # the first try if none fits
    return tried[torch.arange(len(tried), device=tried.device), first].clamp(max=1)


def center_crop(pixels: Tensor, crop: int | None) -> Tensor:
    """Return the centre of each image, which is the part that evaluations use.

    Args:
        pixels: [b, channels, size, size].
        crop: pixels per side, at most `size`. None: the whole image.
    """
    if crop is None:
        return pixels
    edge = (pixels.shape[-1] - crop) // 2
    return pixels[:, :, edge : edge + crop, edge : edge + crop]
