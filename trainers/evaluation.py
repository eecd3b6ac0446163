"""The error of a network on images that it was not trained on, in all and by class."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.confusion import Confusion
from trainers.data.geometry import center_crop
from trainers.data.normalization import Normalization
from trainers.report import rate_standard_error

PIXELS_AT_ONCE = 2**20  # a thousand images of 32x32 pixels, twenty of 224x224


@dataclass(frozen=True)
class Error:
    """An error rate.

    Attributes:
        rate: share of the images that were classified wrongly, in [0, 1].
        n: how many images.
    """

    rate: float
    n: int

    @property
    def standard_error(self) -> float:
        """The standard error of the rate, by Wilson's interval."""
        return rate_standard_error(self.rate, self.n)


@dataclass(frozen=True)
class Evaluation(Error):
    """The error of one network on some images, with what it took for what.

    Attributes:
        confusion: how many images of each class were classified as each class.
    """

    confusion: Confusion

    def metrics(self, name: str) -> dict[str, float]:
        """Return its numbers as a run reports them.

        Args:
            name: what they begin with: `validation.teacher`.
        """
        errors = {f"{name}_error": self.rate, f"{name}_standard_error": self.standard_error}
        return errors | self.confusion.metrics(name)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    take: Callable[[Tensor], Tensor],
    indices: Tensor,
    labels: Tensor,
    normalization: Normalization,
    crop: int | None = None,
) -> Evaluation:
    """Evaluate a network in eval mode on images that are not augmented; its mode is restored afterwards.

    Args:
        network: from float [b, channels, height, width] to logits.
        take: returns the pixels of some indices, uint8 [b, height, width, channels], on the network's device.
        indices: int64 [n], n at least 1.
        labels: int64 [n], on the network's device.
        normalization: that of the training run.
        crop: pixels per side of the centre crop, if the run trains on crops. None: whole images.
    """
    training = network.training
    network.eval()
    cells: list[Tensor] = []  # of the confusion matrix, one per image
    classes = 0
    images = max(1, PIXELS_AT_ONCE // take(indices[:1])[0, :, :, 0].numel())
    for part, target in zip(torch.split(indices, images), torch.split(labels, images), strict=True):
        logits = network(center_crop(normalization(take(part)), crop))
        classes = logits.shape[1]
        cells.append(target * classes + logits.argmax(1))
    network.train(training)
    # Counted on the device and read once, since every read waits for the device.
    counts = torch.bincount(torch.cat(cells), minlength=classes**2).view(classes, classes).cpu().numpy()
    return Evaluation((len(labels) - int(counts.trace())) / len(labels), len(labels), Confusion(counts))
