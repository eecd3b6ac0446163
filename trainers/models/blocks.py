"""Pieces that several networks share."""

import torch
from torch import Tensor, nn

_LEVELS = 2**16


class GlobalAverage(nn.Module):
    """[b, channels, height, width] -> [b, channels]."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))


class Dropout(nn.Module):
    """In train mode, zeroes each value with a probability and scales the others to keep the mean.

    The masks are cut from random 64-bit integers, 16 bits a value: on a CPU several times faster than torch's, and the
    probability is exact to 1 / 65536. It is kept as tensors, so that compiled code serves every probability.

    Args:
        probability: in [0, 1).
    """

    lowest: Tensor
    scale: Tensor

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.register_buffer("lowest", torch.zeros((), dtype=torch.int16), persistent=False)
        self.register_buffer("scale", torch.ones(()), persistent=False)
        self.set(probability)

    def set(self, probability: float) -> None:
        """Use this probability from now on."""
        dropped = min(round(probability * _LEVELS), _LEVELS - 1)
        # New tensors: a backward pass may still need the old ones.
        self.lowest = torch.full_like(self.lowest, dropped - _LEVELS // 2)
        self.scale = torch.full_like(self.scale, _LEVELS / (_LEVELS - dropped))

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return features
        words = torch.randint(-(2**63), 2**63 - 1, (-(-features.numel() // 4),), device=features.device)
        levels = words.view(torch.int16)[: features.numel()]
        levels = levels.as_strided(features.size(), torch.empty_like(features).stride())  # in the features' own layout
        return features * (levels >= self.lowest) * self.scale


def convolution(inputs: int, outputs: int, kernel: int = 3, padding: int = 1) -> nn.Sequential:
    """Convolution, batch norm, leaky rectifier of slope 0.1 (the activation of the paper's ConvLarge)."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
    nn.init.kaiming_normal_(layer.weight, a=0.1, nonlinearity="leaky_relu")
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1, inplace=True))
