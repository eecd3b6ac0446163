"""Batched augmentation on the device: the images are picked, moved and mirrored by one gather."""

import torch
from torch import Tensor

from trainers.config import Augmentation
from trainers.data.normalization import Normalization


class Views:
    """Draws independently augmented views of resident images.

    Args:
        images: [n, height, width, channels], on the device: uint8, or float where they are normalised already.
        normalization: of uint8 images, applied after the pixels are moved.
        config: how pixels are moved.
        noise: standard deviation, on normalised pixels.
        seed: of this view; two views with two seeds are independent.
    """

    def __init__(
        self, images: Tensor, normalization: Normalization, config: Augmentation, noise: float, seed: int
    ) -> None:
        self._images = images
        self._normalization = normalization
        self._config = config
        self._noise = noise
        self._generator = torch.Generator(images.device).manual_seed(seed)
        self._rows = torch.arange(images.shape[1], device=images.device)
        self._columns = torch.arange(images.shape[2], device=images.device)

    def draw(self, indices: Tensor) -> Tensor:
        """A view of the chosen images.

        Args:
            indices: int64 [b], on the device.

        Returns:
            float [b, channels, height, width], normalised.
        """
        b = len(indices)
        rows, columns = self._rows.expand(b, -1), self._columns.expand(b, -1)
        if self._config.translate:
            reach = self._config.translate
            shifts = torch.randint(-reach, reach + 1, (2, b, 1), generator=self._generator, device=self._images.device)
            rows, columns = _reflected(rows + shifts[0]), _reflected(columns + shifts[1])
        if self._config.flip:
            mirrored = torch.rand((b, 1), generator=self._generator, device=self._images.device) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        # One index a pixel: several times as fast as one index an axis.
        height, width, channels = self._images.shape[1:]
        places = ((indices[:, None] * height + rows) * width)[:, :, None] + columns[:, None, :]
        picked = self._images.view(-1, channels).index_select(0, places.flatten()).view(b, height, width, channels)
        pixels = picked.permute(0, 3, 1, 2) if picked.is_floating_point() else self._normalization(picked)
        if self._noise:
            noise = torch.empty_like(pixels).normal_(generator=self._generator)
            pixels = pixels + self._noise * noise
        return pixels

    def state_dict(self) -> dict[str, Tensor]:
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self._generator.set_state(state["generator"])


def _reflected(positions: Tensor) -> Tensor:
    """Positions outside 0..n-1 reflected back in, the edge pixel not repeated (PIL's and numpy's 'reflect').

    Args:
        positions: int64 [b, n]; at most n - 1 outside.
    """
    last = positions.shape[1] - 1
    return last - (last - positions.abs()).abs()
