"""Mean Teacher as one writes it in plain PyTorch: the loop that `throughput.py` compares the trainer with.

An image folder, PIL transforms, a DataLoader, fp32, SGD with Nesterov's momentum, an average over the parameters, and
the loss read at every step. Neither tuned nor made slow. The network and the sizes are the trainer's.
"""

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler
from torchvision import datasets, transforms

from trainers.models import Network

NO_LABEL = -1
CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class TwoViews:
    """One image, twice transformed."""

    def __init__(self, size: int, translate: int) -> None:
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(size, padding=translate, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(CIFAR_MEAN, CIFAR_STD),
            ]
        )

    def __call__(self, image: object) -> tuple[Tensor, Tensor]:
        return self.transform(image), self.transform(image)


class TwoStreamSampler(Sampler[list[int]]):
    """Endless batches of labeled, then unlabeled images; each stream is shuffled anew when it has been through."""

    def __init__(self, labeled: list[int], unlabeled: list[int], batch_size: int, labeled_per_batch: int) -> None:
        self._streams = (labeled, labeled_per_batch), (unlabeled, batch_size - labeled_per_batch)

    def __iter__(self) -> Iterator[list[int]]:
        labeled, unlabeled = (_endless(*stream) for stream in self._streams)
        return (first + second for first, second in zip(labeled, unlabeled, strict=True))


def _endless(indices: list[int], size: int) -> Iterator[list[int]]:
    while True:
        order = torch.randperm(len(indices)).tolist()
        for start in range(0, len(order) - size + 1, size):
            yield [indices[i] for i in order[start : start + size]]


class PlainLoop:
    """A student, its teacher, and the loop that trains them.

    Args:
        images: folder that holds train/<class>/*.
        labels: how many of the images keep their label, of each class the same number.
        network: the student; the teacher begins as its copy.
        batch_size: images a step.
        labeled_per_batch: how many of them have a label.
        translate: pixels an axis.
        workers: of the DataLoader.
        device: of both networks.
    """

    def __init__(
        self,
        images: Path,
        labels: int,
        network: Network,
        batch_size: int,
        labeled_per_batch: int,
        translate: int,
        workers: int,
        device: torch.device,
    ) -> None:
        dataset = datasets.ImageFolder(str(images / "train"))
        dataset.transform = TwoViews(dataset[0][0].width, translate)
        labeled = _of_each_class(dataset.targets, labels // len(dataset.classes))
        unlabeled = sorted(set(range(len(dataset))) - set(labeled))
        for i in unlabeled:
            dataset.samples[i] = (dataset.samples[i][0], NO_LABEL)
        self._loader = DataLoader(
            dataset,
            batch_sampler=TwoStreamSampler(labeled, unlabeled, batch_size, labeled_per_batch),
            num_workers=workers,
            pin_memory=device.type == "cuda",
        )
        self._device = device
        self._student = network.to(device).train()
        self._teacher = copy.deepcopy(self._student).requires_grad_(False)
        self._optimizer = torch.optim.SGD(
            self._student.parameters(), lr=0.05, momentum=0.9, weight_decay=2e-4, nesterov=True
        )
        self._step = 0

    def train(self) -> Iterator[float]:
        """Take steps without end, yielding the loss of each."""
        for (view, other), labels in self._loader:
            view = view.to(self._device, non_blocking=True)
            other = other.to(self._device, non_blocking=True)
            labels = labels.to(self._device, non_blocking=True)
            logits = self._student(view)
            with torch.no_grad():
                target = self._teacher(other).softmax(1)
            class_loss = F.cross_entropy(logits, labels, ignore_index=NO_LABEL, reduction="sum") / len(labels)
            consistency_loss = F.mse_loss(logits.softmax(1), target)
            loss = class_loss + 10.0 * _ramp_up(self._step / 1000) * consistency_loss

            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self._step += 1
            alpha = min(1 - 1 / (self._step + 1), 0.999)
            for average, weight in zip(self._teacher.parameters(), self._student.parameters(), strict=True):
                average.data.mul_(alpha).add_(weight.data, alpha=1 - alpha)
            yield loss.item()


def _ramp_up(x: float) -> float:
    return math.exp(-5 * (1 - min(x, 1.0)) ** 2)


def _of_each_class(targets: list[int], n: int) -> list[int]:
    """The first `n` images of each class."""
    by_class: dict[int, list[int]] = {}
    for i, target in enumerate(targets):
        by_class.setdefault(target, []).append(i)
    return [i for members in by_class.values() for i in members[:n]]
