"""The error of a network on images it was not trained on."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainers.data.normalization import Normalization


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
def evaluate(network: nn.Module, images: Tensor, labels: Tensor, normalization: Normalization) -> Error:
    """The error of a network in eval mode on plain images; the network is left in the mode it was in.

    Args:
        network: from float [b, channels, height, width] to logits.
        images: uint8 [n, height, width, channels], n at least 1.
        labels: int64 [n].
        normalization: that of the training run.
    """
    training = network.training
    network.eval()
    wrong = torch.zeros((), dtype=torch.int64, device=images.device)
    for part, target in zip(torch.split(images, 500), torch.split(labels, 500), strict=True):
        wrong += (network(normalization(part)).argmax(1) != target).sum()
    network.train(training)
    return Error(int(wrong) / len(labels), len(labels))
