"""The random numbers of several views of a batch, drawn together: a generator of its own for each view."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Draws:
    """Draws for all views at once, so that the views can be computed in one call.

    The first dimension of what is drawn is divided evenly among the views, in their order. The part of a view is what
    its generator would have drawn for it alone.

    Args:
        seeds: one per view; views with different seeds are independent.
        device: where the numbers are needed.

    Attributes:
        generators: one per view.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        self._device = device

    def uniform(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return floats, uniform in [0, 1)."""
        numbers = torch.empty(shape, dtype=dtype, device=self._device)
        for part, generator in self._parts(numbers):
            part.uniform_(generator=generator)
        return numbers

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Return int64, uniform from `low` to `high` - 1."""
        numbers = torch.empty(shape, dtype=torch.int64, device=self._device)
        for part, generator in self._parts(numbers):
            part.random_(low, high, generator=generator)
        return numbers

    def normal_like(self, values: Tensor) -> Tensor:
        """Return normal numbers of mean 0 and deviation 1, with the shape, type and memory layout of `values`."""
        numbers = torch.empty_like(values)
        for part, generator in self._parts(numbers):
            part.normal_(generator=generator)
        return numbers

    def _parts(self, numbers: Tensor) -> list[tuple[Tensor, torch.Generator]]:
        return list(zip(numbers.chunk(len(self.generators)), self.generators, strict=True))
