"""Layers that several networks share."""

from typing import Literal

import torch
from torch import Tensor, nn

from trainers.models.weight_normalization import MeanOnlyBatchNorm, weight_normalized

_LEVELS = 2**16


class GlobalAverage(nn.Module):
    """Averages over the pixels: [b, channels, height, width] -> [b, channels]."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


class Dropout(nn.Module):
    """In train mode, zeroes each value with a probability and scales the others to keep the mean.

    Each mask value takes 16 bits of a random 64-bit integer. On a CPU this is several times faster than torch's
    dropout, and the probability is exact to 1 / 65536. It is kept in tensors, so that compiled code works for all.

    Args:
        probability: in [0, 1).
    """

    lowest: Tensor
    scale: Tensor

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.register_buffer("lowest", torch.zeros((), dtype=torch.int16), persistent=False)
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self._used: dict[tuple[float, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}
        self.set(probability)

    def set(self, probability: float) -> None:
        """Use this probability from now on."""
        # Tensors of its own for each probability: a backward pass may still need those of the one before, and a
        # captured step finds them where they were.
        key = (probability, self.scale.device, self.scale.dtype)
        if key not in self._used:
            dropped = min(round(probability * _LEVELS), _LEVELS - 1)
            lowest = torch.full_like(self.lowest, dropped - _LEVELS // 2)
            self._used[key] = (lowest, torch.full_like(self.scale, _LEVELS / (_LEVELS - dropped)))
        self.lowest, self.scale = self._used[key]

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return features
        words = torch.randint(-(2**63), 2**63 - 1, (-(-features.numel() // 4),), device=features.device)
        levels = words.view(torch.int16)[: features.numel()]
        levels = levels.as_strided(features.size(), torch.empty_like(features).stride())  # in the features' layout
        return features * (levels >= self.lowest) * self.scale


def plain_convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """Return a convolution without bias, since a norm follows, with the first weights of He et al. (2015).

    Only the stride changes the size of the images.
    """
    layer = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


def convolution(
    inputs: int, outputs: int, kernel: int = 3, padding: int = 1, norm: Literal["batch", "weight"] = "batch"
) -> nn.Sequential:
    """Return a convolution, a norm and a leaky rectifier of slope 0.1 (the activation of the paper's ConvLarge).

    Args:
        inputs: channels.
        outputs: channels.
        kernel: pixels per side.
        padding: pixels at each edge.
        norm: batch norm; or weight normalisation with mean-only batch norm.
    """
    layer: nn.Module = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
    nn.init.kaiming_normal_(layer.weight, a=0.1, nonlinearity="leaky_relu")  # type: ignore[arg-type]
    after: nn.Module = nn.BatchNorm2d(outputs)
    if norm == "weight":
        layer, after = weight_normalized(layer), MeanOnlyBatchNorm(outputs)
    return nn.Sequential(layer, after, nn.LeakyReLU(0.1, inplace=True))
