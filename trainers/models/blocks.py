"""Pieces that several networks share."""

from torch import Tensor, nn


def convolution(inputs: int, outputs: int, kernel: int = 3, padding: int = 1) -> nn.Sequential:
    """Convolution, batch norm, leaky rectifier of slope 0.1 (the activation of the paper's ConvLarge)."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
    nn.init.kaiming_normal_(layer.weight, a=0.1, nonlinearity="leaky_relu")
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1, inplace=True))


class GlobalAverage(nn.Module):
    """[b, channels, height, width] -> [b, channels]."""

    def forward(self, features: Tensor) -> Tensor:
        return features.mean((2, 3))
