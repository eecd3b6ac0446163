"""Weight normalisation with mean-only batch norm (Salimans & Kingma 2016, "Weight Normalization")."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

# These three are those of the authors' TensorFlow code.
_DECAY = 0.999  # of the mean that evaluations subtract
_DEVIATION = 0.05  # of the first weights, of which only the direction counts
_SMALLEST_VARIANCE = 1e-8
_LENGTHS = "parametrizations.weight.original0"  # torch's name


class MeanOnlyBatchNorm(nn.Module):
    """Subtracts the mean of each channel and adds a learned bias; weight normalisation takes care of the scale.

    In eval mode the mean is the moving average of the means of the batches.

    Args:
        channels: of the features, [b, channels] or [b, channels, height, width].
    """

    running_mean: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        mean = self.running_mean
        if self.training:
            mean = self.mean(features)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 1.0 - _DECAY)
        return features + (self.bias - mean).to(features.dtype).view(-1, *[1] * (features.ndim - 2))

    def mean(self, features: Tensor) -> Tensor:
        """Return the mean of each channel."""
        return features.mean(_all_but_channels(features), dtype=self.running_mean.dtype)


def weight_normalized(layer: nn.Module) -> nn.Module:
    """Return a convolution or linear layer without bias whose weight is a length and a direction for each output."""
    nn.init.normal_(layer.weight, std=_DEVIATION)  # type: ignore[arg-type]
    normalized: nn.Module = parametrizations.weight_norm(layer)
    return normalized


def weight_normalized_linear(inputs: int, outputs: int) -> nn.Sequential:
    """Return a weight-normalised linear layer with mean-only batch norm."""
    return nn.Sequential(weight_normalized(nn.Linear(inputs, outputs, bias=False)), MeanOnlyBatchNorm(outputs))


def is_weight_normalized(network: nn.Module) -> bool:
    """Return whether a network has weight-normalised layers, whose scale a first batch decides."""
    return any(isinstance(layer, MeanOnlyBatchNorm) for layer in network.modules())


def keep_directions_contiguous(network: nn.Module) -> None:
    """Lay out the directions of weight-normalised layers as torch computes with them, whatever the layout of images.

    Else every pass copies them.
    """
    for layer in network.modules():
        if parametrize.is_parametrized(layer, "weight"):
            for parameter in layer.parametrizations["weight"].parameters():  # type: ignore[index, union-attr]
                parameter.data = parameter.data.contiguous()


@torch.no_grad()
def initialize_from_batch(network: nn.Module, pixels: Tensor) -> None:
    """Scale the weight-normalised layers so that what they return on a batch has deviation 1.

    Section 3 of Salimans & Kingma. Biases stay 0, since the norm subtracts the mean. The means for evaluations start at
    those of the batch; in the authors' code they start at 0, which some thousand steps later is the same.

    Args:
        network: in train mode.
        pixels: float [b, channels, height, width].
    """

    def scale(layer: nn.Module, _: Any, features: Tensor) -> Tensor:
        variance = features.var(_all_but_channels(features), correction=0)
        lengths = (variance + _SMALLEST_VARIANCE).rsqrt()
        parameter = layer.get_parameter(_LENGTHS)
        parameter.copy_(lengths.view_as(parameter))
        return features * lengths.view(-1, *[1] * (features.ndim - 2))

    def keep_mean(layer: MeanOnlyBatchNorm, inputs: tuple[Tensor]) -> None:
        layer.running_mean.copy_(layer.mean(inputs[0]))

    hooks = []
    for layer in network.modules():
        if parametrize.is_parametrized(layer, "weight"):
            layer.get_parameter(_LENGTHS).fill_(1.0)
            hooks.append(layer.register_forward_hook(scale))
        elif isinstance(layer, MeanOnlyBatchNorm):
            hooks.append(layer.register_forward_pre_hook(keep_mean))
    network(pixels)
    for hook in hooks:
        hook.remove()


def _all_but_channels(features: Tensor) -> list[int]:
    return [0, *range(2, features.ndim)]
