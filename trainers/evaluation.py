"""The error of a network on images that it was not trained on, in all and by class."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainers.confusion import Confusion, correct_bits
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
        correct: which images were classified correctly, as `correct_bits` packs them; empty if it is not known.
    """

    confusion: Confusion
    correct: str = ""

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
    cell = torch.cat(cells).cpu().numpy()  # read once, since every read waits for the device
    confusion = Confusion(np.bincount(cell, minlength=classes**2).reshape(classes, classes))
    wrong = len(labels) - int(confusion.counts.trace())
    return Evaluation(wrong / len(labels), len(labels), confusion, correct_bits(cell // classes == cell % classes))
