"""The error of a network on images it was not trained on."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.data.geometry import center_crop
from trainers.data.normalization import Normalization

PIXELS_AT_ONCE = 2**20  # a thousand images of 32 pixels a side, twenty of 224


@dataclass(frozen=True)
class Error:
    """An error rate.

    Attributes:
        rate: share of images classified wrongly, in [0, 1].
        n: images.
    """

    rate: float
    n: int

    @property
    def standard_error(self) -> float:
        """Of the rate, binomial."""
        return math.sqrt(self.rate * (1.0 - self.rate) / self.n)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    take: Callable[[Tensor], Tensor],
    indices: Tensor,
    labels: Tensor,
    normalization: Normalization,
    crop: int | None = None,
) -> Error:
    """The error of a network in eval mode on plain images; the network is left in the mode it was in.

    Args:
        network: from float [b, channels, height, width] to logits.
        take: from indices to uint8 [b, height, width, channels], on the network's device.
        indices: int64 [n], n at least 1.
        labels: int64 [n], on the network's device.
        normalization: that of the training run.
        crop: pixels a side of the centre, where the run crops; none: whole images.
    """
    training = network.training
    network.eval()
    wrong = torch.zeros((), dtype=torch.int64, device=labels.device)
    images = max(1, PIXELS_AT_ONCE // take(indices[:1])[0, :, :, 0].numel())
    for part, target in zip(torch.split(indices, images), torch.split(labels, images), strict=True):
        seen = center_crop(normalization(take(part)), crop)
        wrong += (network(seen).argmax(1) != target).sum()
    network.train(training)
    return Error(int(wrong) / len(labels), len(labels))
