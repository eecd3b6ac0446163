"""The error of a network on images that it was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

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


@torch.no_grad()
def evaluate(
    network: nn.Module,
    take: Callable[[Tensor], Tensor],
    indices: Tensor,
    labels: Tensor,
    normalization: Normalization,
    crop: int | None = None,
) -> Error:
    """Return the error of a network in eval mode on images that are not augmented; its mode is restored afterwards.

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
    wrong = torch.zeros((), dtype=torch.int64, device=labels.device)
    images = max(1, PIXELS_AT_ONCE // take(indices[:1])[0, :, :, 0].numel())
    for part, target in zip(torch.split(indices, images), torch.split(labels, images), strict=True):
        pixels = center_crop(normalization(take(part)), crop)
        wrong += (network(pixels).argmax(1) != target).sum()
    network.train(training)
    return Error(int(wrong) / len(labels), len(labels))
