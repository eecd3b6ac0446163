"""How the pixels of a batch get to the device: all images are kept there, or worker processes read them from disk."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from trainers.data.samplers import TwoStreamBatches
from trainers.planned_rows import PlannedRows

RESIDENT_SHARE = 0.25  # of the device's memory, or of this process's part of it, that images may take
WORKERS = 2  # they only copy; images are augmented on the device
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """The images of one step, labeled ones first.

    Attributes:
        indices: int64 [b], into the training images, on the device.
        images: uint8 [n, height, width, channels], on the device; the images of the batch are among them.
        rows: int64 [b], where the images of the batch are in `images`.
    """

    indices: Tensor
    images: Tensor
    rows: Tensor


class Resident:
    """A loader that keeps all images on the device.

    Args:
        images: uint8 [n, height, width, channels].
        batches: yields the indices of each batch.
        device: the one that trains.

    Attributes:
        held: bytes of images on the device.
    """

    def __init__(self, images: Tensor, batches: TwoStreamBatches, device: torch.device) -> None:
        self._images = images.to(device)
        self._batches = batches
        self._planned = PlannedRows(batches.size, torch.int64, device)
        self.held = images.numel()

    def plan(self, count: int) -> None:
        """Draw the next batches, at most `PLANNED`; all of them must be taken before more are drawn."""
        self._planned.fill(torch.stack([self._batches.next() for _ in range(count)]))

    def next(self) -> Batch:
        """Return the next of the batches that were drawn. The program does not wait for the device."""
        indices = self._planned.take()
        return Batch(indices, self._images, indices)

    def take(self, indices: Tensor) -> Tensor:
        """Return the pixels of any images, on the device.

        Args:
            indices: int64 [b], on any device.
        """
        return self._images[indices.to(self._images.device)]


class Streamed:
    """A loader whose worker processes read images from disk, some batches ahead. It yields the batches of `Resident`.

    Args:
        images: uint8 [n, height, width, channels], mapped into memory.
        batches: yields the indices of each batch. A resumed run must load its state before the first batch is drawn.
        device: the one that trains.
    """

    held = 0

    def __init__(self, images: Tensor, batches: TwoStreamBatches, device: torch.device) -> None:
        self._images = images
        self._batches = batches
        self._device = device
        self._planned = PlannedRows(batches.size, torch.int64, device)
        self._ahead: Iterator[Tensor] | None = None

    def plan(self, count: int) -> None:
        """Draw the next batches, at most `PLANNED`; all of them must be taken before more are drawn."""
        if self._ahead is None:
            self._ahead = self._start()
        self._planned.fill(torch.stack([self._batches.next() for _ in range(count)]))

    def next(self) -> Batch:
        """Return the next of the batches that were drawn."""
        assert self._ahead is not None
        indices = self._planned.take()
        pixels = next(self._ahead).to(self._device, non_blocking=True)
        return Batch(indices, pixels, torch.arange(len(indices), device=self._device))

    def take(self, indices: Tensor) -> Tensor:
        """Return the pixels of any images, on the device.

        Args:
            indices: int64 [b], on any device.
        """
        return self._images[indices.cpu()].to(self._device)

    def _start(self) -> Iterator[Tensor]:
        loader = DataLoader(
            _Rows(self._images),
            batch_sampler=_Endless(self._batches.copy()),  # a copy, since workers are ahead of a checkpoint
            num_workers=WORKERS,
            collate_fn=_unchanged,
            multiprocessing_context="fork",  # so that they inherit the mapping
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # else it would draw from the generator of the networks
        )
        return iter(loader)


def loader(
    where: Literal["auto", "resident", "streamed"], images: Tensor, batches: TwoStreamBatches, device: torch.device
) -> Resident | Streamed:
    """Return the loader of a run. Both kinds give the same results.

    Args:
        where: whether images are kept on the device (resident) or streamed from disk. auto: resident, if they take at
            most a quarter of the device's memory, or of the part that `set_per_process_memory_fraction` leaves.
        images: uint8 [n, height, width, channels], mapped into memory.
        batches: yields the indices of each batch.
        device: the one that trains.
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
    """Return the memory in bytes that this process may use, free or not: other programs do not change the choice."""
    if device.type == "cuda":
        # Trials that share a GPU may use a fraction of its memory each.
        fraction = torch.cuda.get_per_process_memory_fraction(device.index)
        return int(fraction * torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _Rows(Dataset[Tensor]):
    """Images that are read one batch at a time."""

    def __init__(self, images: Tensor) -> None:
        self._images = images

    def __getitems__(self, indices: Tensor) -> Tensor:
        return self._images[indices]


class _Endless(Sampler[Any]):
    """Yields batches of indices without end."""

    def __init__(self, batches: TwoStreamBatches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield self._batches.next()


def _unchanged(batch: Any) -> Any:
    return batch
