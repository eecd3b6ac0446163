"""Batched augmentation on the device. Shifts and mirroring of small images are a single gather."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainers.config import Augmentation
from trainers.data.color import jitter
from trainers.data.draws import Draws
from trainers.data.erasing import erase
from trainers.data.geometry import warp
from trainers.data.normalization import Normalization


class ViewAugmenter:
    """Draws independently augmented views of images, all of them in one call.

    Args:
        normalization: of uint8 images; applied after the geometric changes, the colour jitter and strong operations.
        config: the augmentation.
        noise: standard deviation of the Gaussian noise on normalised pixels.
        seeds: one per view; views with different seeds are independent.
        device: of the images.

    Attributes:
        generators: what each view is drawn from.
    """

    def __init__(
        self,
        normalization: Normalization,
        config: Augmentation,
        noise: float,
        seeds: Sequence[int],
        device: torch.device,
    ) -> None:
        self._normalization = normalization
        self._config = config
        self._noise = noise
        self._draws = Draws(seeds, device)
        self.generators = self._draws.generators

    def draw(self, images: Tensor, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the augmented views of some images.

        Args:
            images: [n, height, width, channels], on the device: uint8, or float if they are normalised already.
            indices: int64 [b], of the images to draw, on the device.

        Returns:
            One per seed: float [b, channels, height, width], normalised.
        """
        warps = self._config.crop is not None or self._config.rotate
        moved = self._warped(images[indices.repeat(len(self.generators))]) if warps else self._moved(images, indices)
        if self._config.jitters:
            colours = moved.permute(0, 3, 1, 2).to(torch.get_default_dtype()) / 255
            moved = 255 * jitter(colours, self._config, self._draws).permute(0, 2, 3, 1)
        if self._config.strong != "none":
            moved = self._strengthened(moved)
        pixels = moved.permute(0, 3, 1, 2) if images.is_floating_point() else self._normalization(moved)
        if self._noise:
            pixels = pixels + self._noise * self._draws.normal_like(pixels)
        if self._config.erase:
            pixels = erase(pixels, self._config.erase, self._draws)
        return pixels.chunk(len(self.generators))

    def _moved(self, images: Tensor, indices: Tensor) -> Tensor:
        """Shift and mirror by whole pixels: [views * b, height, width, channels] of the images' own type."""
        b, views, (height, width, channels) = len(indices), len(self.generators), images.shape[1:]
        rows = torch.arange(height, device=images.device).expand(views, b, -1)
        columns = torch.arange(width, device=images.device).expand(views, b, -1)
        if self._config.translate:
            limit = self._config.translate
            shifts = self._draws.integers(-limit, limit + 1, 2 * views, b, 1).view(views, 2, b, 1)
            rows, columns = _reflected(rows + shifts[:, 0]), _reflected(columns + shifts[:, 1])
        if self._config.flip:
            mirrored = self._draws.uniform(views, b, 1) < 0.5
            columns = torch.where(mirrored, columns.flip(2), columns)
        # One index per pixel is several times as fast as one index per axis.
        positions = ((indices[:, None] * height + rows) * width)[..., None] + columns[..., None, :]
        return images.view(-1, channels).index_select(0, positions.flatten()).view(-1, height, width, channels)

    def _warped(self, picked: Tensor) -> Tensor:
        """Crop, rotate, shift and mirror by fractions of pixels: [views * b, height, width, channels], float."""
        pixels = picked.permute(0, 3, 1, 2).to(torch.get_default_dtype())
        return warp(pixels, self._config, self._draws).permute(0, 2, 3, 1)

    def _strengthened(self, moved: Tensor) -> Tensor:
        """Apply the strong operations, which take whole grey levels: uint8 [b, height, width, channels]."""
        # The import of torchvision takes a second, which other runs need not pay.
        from trainers.data.strong_views import strengthen

        levels = moved.round().to(torch.uint8) if moved.is_floating_point() else moved
        return strengthen(levels.permute(0, 3, 1, 2), self._config, self._draws).permute(0, 2, 3, 1)


def _reflected(positions: Tensor) -> Tensor:
    """Reflect positions outside 0..n-1 back in, without repeating the edge pixel (PIL's and numpy's 'reflect').

    Args:
        positions: int64 [..., n]; at most n - 1 outside.
    """
    last = positions.shape[-1] - 1
    return last - (last - positions.abs()).abs()
