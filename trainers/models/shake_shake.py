"""Shake-shake-26 (Gastaldi 2017), the residual net of the paper's best CIFAR-10 results (section 3.4, appendix B)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from trainers.models.blocks import GlobalAverage, plain_convolution
from trainers.models.network import Network


def shake_shake(channels: int, classes: int, heads: int, width: int, earlier: bool = False) -> Network:
    """Build 26 layers: a stem of 16 channels and three stages of four blocks. Width 96 has 26.2 million parameters.

    As in the authors' PyTorch code, no batch norm follows the stem, and no rectifier precedes the average.

    Args:
        channels: of the images, which have at least 8 pixels per side (32 in the paper).
        classes: length of the logits.
        heads: 1 or 2.
        width: channels of each of the two branches in the first stage (96 in the paper); it doubles at each
            further stage.
        earlier: with both of them, for the weights of earlier versions.
    """
    layers: list[nn.Module] = [plain_convolution(channels, 16)]
    if earlier:
        layers.append(nn.BatchNorm2d(16))
    inputs = 16
    for stage in range(3):
        outputs = width * 2**stage
        for block in range(4):
            layers.append(_Block(inputs, outputs, stride=2 if stage > 0 and block == 0 else 1))
            inputs = outputs
    if earlier:
        layers.append(nn.ReLU(inplace=True))
    return Network(nn.Sequential(*layers, GlobalAverage()), inputs, classes, heads)


class _Block(nn.Module):
    """A randomly weighted sum of two branches, added to a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = _branch(inputs, outputs, stride), _branch(inputs, outputs, stride)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2:
            self.shortcut = _ShiftedHalving(inputs, outputs)
        elif inputs != outputs:
            self.shortcut = nn.Sequential(plain_convolution(inputs, outputs, kernel=1), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        first, second = self.first(features), self.second(features)
        if self.training:
            # One gate per image. The backward pass has a gate of its own.
            gates = torch.rand(2, len(features), 1, 1, 1, device=features.device, dtype=features.dtype)
            mixed: Tensor = _Shake.apply(first, second, gates[0], gates[1])
        else:
            mixed = 0.5 * (first + second)
        result: Tensor = self.shortcut(features) + mixed
        return result


def _branch(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        plain_convolution(inputs, outputs, stride=stride),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        plain_convolution(outputs, outputs),
        nn.BatchNorm2d(outputs),
    )


class _ShiftedHalving(nn.Module):
    """Halves the size: half of the channels come from every second pixel, half from the pixels diagonally below."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.here = plain_convolution(inputs, outputs // 2, kernel=1)
        self.beside = plain_convolution(inputs, outputs - outputs // 2, kernel=1)
        for half in (self.here, self.beside):
            nn.init.normal_(half.weight, std=math.sqrt(2 / outputs))  # the authors draw both as one layer
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        features = features.relu()
        shifted = nn.functional.pad(features[:, :, 1:, 1:], (0, 1, 0, 1))
        halves = [self.here(features[:, :, ::2, ::2]), self.beside(shifted[:, :, ::2, ::2])]
        normed: Tensor = self.norm(torch.cat(halves, 1))
        return normed


class _Shake(torch.autograd.Function):
    """Computes forward * first + (1 - forward) * second; the gradient has `backward` in place of `forward`."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        ctx.save_for_backward(backward)
        return torch.lerp(second, first, forward.expand_as(first))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (backward,) = ctx.saved_tensors
        return backward * gradient, (1 - backward) * gradient, None, None
