"""How the pixels of a batch come to the device: all of them lie there, or worker processes read them from disk."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from trainers.data.samplers import TwoStreamBatches

RESIDENT_SHARE = 0.25  # of the device's memory that images may take
WORKERS = 2  # they copy; augmentation is the device's
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """The images of a step, labeled ones first.

    Attributes:
        indices: int64 [b], into the training images, on the device.
        images: uint8 [n, height, width, channels], on the device, among which are those of the batch,
        rows: int64 [b], at these places.
    """

    indices: Tensor
    images: Tensor
    rows: Tensor


class Resident:
    """All images lie on the device.

    Args:
        images: uint8 [n, height, width, channels].
        batches: which images come next.
        device: that trains.

    Attributes:
        held: bytes of images on the device.
    """

    def __init__(self, images: Tensor, batches: TwoStreamBatches, device: torch.device) -> None:
        self._images = images.to(device)
        self._batches = batches
        self.held = images.numel()

    def next(self) -> Batch:
        """The next batch."""
        indices = self._batches.next().to(self._images.device, non_blocking=True)
        return Batch(indices, self._images, indices)

    def take(self, indices: Tensor) -> Tensor:
        """The pixels of any images, on the device.

        Args:
            indices: int64 [b], on any device.
        """
        return self._images[indices.to(self._images.device)]


class Streamed:
    """Worker processes read images from disk, some batches ahead. The batches are those of `Resident`.

    Args:
        images: uint8 [n, height, width, channels], mapped into memory.
        batches: which images come next; to be set to where a run goes on before the first batch is asked for.
        device: that trains.
    """

    held = 0

    def __init__(self, images: Tensor, batches: TwoStreamBatches, device: torch.device) -> None:
        self._images = images
        self._batches = batches
        self._device = device
        self._ahead: Iterator[Tensor] | None = None

    def next(self) -> Batch:
        """The next batch."""
        if self._ahead is None:
            self._ahead = self._start()
        indices = self._batches.next().to(self._device, non_blocking=True)
        pixels = next(self._ahead).to(self._device, non_blocking=True)
        return Batch(indices, pixels, torch.arange(len(indices), device=self._device))

    def take(self, indices: Tensor) -> Tensor:
        """The pixels of any images, on the device.

        Args:
            indices: int64 [b], on any device.
        """
        return self._images[indices.cpu()].to(self._device)

    def _start(self) -> Iterator[Tensor]:
        loader = DataLoader(
            _Rows(self._images),
            batch_sampler=_Endless(self._batches.copy()),  # a copy, since workers are ahead of what a checkpoint keeps
            num_workers=WORKERS,
            collate_fn=_as_it_is,
            multiprocessing_context="fork",  # they inherit the mapping
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from the one that the networks draw from
        )
        return iter(loader)


def loader(
    where: Literal["auto", "resident", "streamed"], images: Tensor, batches: TwoStreamBatches, device: torch.device
) -> Resident | Streamed:
    """What feeds a run; which of the two it is makes no difference to its results.

    Args:
        where: the images are to lie; auto: on the device, if they take no more than a quarter of its memory.
        images: uint8 [n, height, width, channels], mapped into memory.
        batches: which images come next.
        device: that trains.
    """
    needed, memory = images.numel(), _memory(device)
    if where == "auto":
        where = "resident" if needed <= RESIDENT_SHARE * memory else "streamed"
        _log.info(
            "images: %s: they take %.2f GB, and at most %.2f GB of the memory of %s (%.0f %%) are given to them",
            where, needed / 1e9, RESIDENT_SHARE * memory / 1e9, device, 100 * RESIDENT_SHARE,
        )  # fmt: skip
    return Resident(images, batches, device) if where == "resident" else Streamed(images, batches, device)


def _memory(device: torch.device) -> int:
    """Bytes in all, free or not, so that the choice does not depend on what else runs."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _Rows(Dataset[Tensor]):
    """Reads a batch at once."""

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def __getitems__(self, indices: Tensor) -> Tensor:
        return self._images[indices]


class _Endless(Sampler[Any]):
    """Whole batches of indices."""

    def __init__(self, batches: TwoStreamBatches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield self._batches.next()


def _as_it_is(batch: Any) -> Any:
    return batch
