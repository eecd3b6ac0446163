"""Two-stream batches: a fixed number of labeled images, then unlabeled ones (the authors' PyTorch sampler)."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Stream:
    """Draws endless batches from some images, in a new random order every epoch.

    Args:
        indices: int64 [n], of the images.
        size: images per batch.
        seed: of the random orders.
        whole_epochs: drop the last, incomplete batch of an epoch (the unlabeled stream). Otherwise a batch may span
            two epochs (the labeled stream, whose epoch may be shorter than a batch).
    """

    def __init__(self, indices: np.ndarray, size: int, seed: int, whole_epochs: bool) -> None:
        self._indices = torch.from_numpy(indices)
        self._size = size
        self._whole_epochs = whole_epochs
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64)
        self._cursor = 0

    def next(self) -> Tensor:
        """Return the next batch: int64 [size], on the CPU."""
        left = self._order[self._cursor :]
        if self._whole_epochs and len(left) < self._size:
            left = left[:0]
        while len(left) < self._size:
            self._order = torch.randperm(len(self._indices), generator=self._generator)
            self._cursor = -len(left)
            left = torch.cat([left, self._order])
        self._cursor += self._size
        return self._indices[left[: self._size]]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._generator.get_state(), "order": self._order, "cursor": self._cursor}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._order = state["order"]
        self._cursor = state["cursor"]


class ClassBalancedStream:
    """Draws endless batches in which all classes are equally frequent, however many images each has.

    Each class has endless passes over its images, in a new random order every time. If the size of a batch is no
    multiple of the number of classes, some classes have one image more than the others: those that had it least often
    so far, at random among equals. So all classes have been drawn equally often, to within one image, after any batch.

    Args:
        indices: int64 [n], of the images.
        classes: int64 [n], the class of each image. Classes without images are not drawn.
        size: images per batch.
        seed: of the random orders.
    """

    def __init__(self, indices: np.ndarray, classes: np.ndarray, size: int, seed: int) -> None:
        self._images = [torch.from_numpy(indices[classes == one]) for one in np.unique(classes)]
        self._size = size
        self._generator = torch.Generator().manual_seed(seed)  # one for all classes: its state takes 5 kB
        self._orders = [self._shuffled(images) for images in self._images]
        self._cursors = [0] * len(self._images)
        self._extra = torch.zeros(len(self._images), dtype=torch.int64)

    def next(self) -> Tensor:
        """Return the next batch: int64 [size], on the CPU, class by class."""
        every, rest = divmod(self._size, len(self._images))
        shuffled = torch.randperm(len(self._images), generator=self._generator)
        favoured = shuffled[torch.argsort(self._extra[shuffled], stable=True)[:rest]]
        self._extra[favoured] += 1
        counts = torch.full_like(self._extra, every)
        counts[favoured] += 1
        return torch.cat([self._draw(one, count) for one, count in enumerate(counts.tolist()) if count])

    def _draw(self, one: int, count: int) -> Tensor:
        left = self._orders[one][self._cursors[one] :]
        while len(left) < count:
            self._orders[one] = self._shuffled(self._images[one])
            self._cursors[one] = -len(left)
            left = torch.cat([left, self._orders[one]])
        self._cursors[one] += count
        return left[:count]

    def _shuffled(self, images: Tensor) -> Tensor:
        return images[torch.randperm(len(images), generator=self._generator)]

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self._generator.get_state(),
            "orders": torch.cat(self._orders),
            "cursors": torch.tensor(self._cursors),
            "extra": self._extra.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generator.set_state(state["generator"])
        self._orders = list(state["orders"].split([len(images) for images in self._images]))
        self._cursors = state["cursors"].tolist()
        self._extra = state["extra"].clone()


class TwoStreamBatches:
    """Draws batches of indices: labeled images first, then unlabeled ones.

    Args:
        labeled: int64 [n], images with labels.
        unlabeled: int64 [m], images without labels; at least as many as one batch takes.
        batch_size: images per batch.
        labeled_per_batch: how many images of a batch come from `labeled`.
        seeds: of the labeled and of the unlabeled stream.
        classes: int64 [n], the class of each labeled image: all classes are drawn equally often. None: all images are.

    Attributes:
        size: images per batch.
        epoch: batches until every image was drawn once, except for the last, incomplete batch of unlabeled images.
    """

    def __init__(
        self,
        labeled: np.ndarray,
        unlabeled: np.ndarray,
        batch_size: int,
        labeled_per_batch: int,
        seeds: tuple[int, int],
        classes: np.ndarray | None = None,
    ) -> None:
        self.size = batch_size
        unlabeled_per_batch = batch_size - labeled_per_batch
        needed = len(labeled)  # drawn images, until each was drawn once
        self._labeled: Stream | ClassBalancedStream
        if classes is None:
            self._labeled = Stream(labeled, labeled_per_batch, seeds[0], whole_epochs=False)
        else:
            self._labeled = ClassBalancedStream(labeled, classes, labeled_per_batch, seeds[0])
            sizes = np.unique(classes, return_counts=True)[1]
            needed = len(sizes) * int(sizes.max())
        self._unlabeled = Stream(unlabeled, unlabeled_per_batch, seeds[1], True) if unlabeled_per_batch else None
        passes = [-(-needed // labeled_per_batch)]
        passes += [len(unlabeled) // unlabeled_per_batch] if unlabeled_per_batch else []
        self.epoch = max(passes)

    def copy(self) -> "TwoStreamBatches":
        """Return a copy that continues from the present state independently."""
        return copy.deepcopy(self)

    def next(self) -> Tensor:
        """Return the next batch: int64 [batch_size], on the CPU."""
        labeled = self._labeled.next()
        return labeled if self._unlabeled is None else torch.cat([labeled, self._unlabeled.next()])

    def state_dict(self) -> dict[str, Any]:
        return {
            "labeled": self._labeled.state_dict(),
            "unlabeled": self._unlabeled.state_dict() if self._unlabeled else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._labeled.load_state_dict(state["labeled"])
        if self._unlabeled is not None:
            self._unlabeled.load_state_dict(state["unlabeled"])
