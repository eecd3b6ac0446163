"""Five 3x3 convolutions: a network that learns small images in seconds on a CPU."""

from torch import nn

from trainers.models.blocks import Dropout, GlobalAverage, convolution
from trainers.models.network import Network


def small_cnn(channels: int, classes: int, heads: int, width: int, dropout: float) -> Network:
    """Build two convolutions, a pooling, two of twice the width, a pooling, one of four times the width, an average.

    Args:
        channels: of the images, which have at least 4 pixels per side.
        classes: length of the logits.
        heads: 1 or 2.
        width: channels of the first convolution.
        dropout: probability, before the linear layer.
    """
    features = nn.Sequential(
        convolution(channels, width),
        convolution(width, width),
        nn.MaxPool2d(2),
        convolution(width, 2 * width),
        convolution(2 * width, 2 * width),
        nn.MaxPool2d(2),
        convolution(2 * width, 4 * width),
        GlobalAverage(),
        Dropout(dropout),
    )
    return Network(features, 4 * width, classes, heads)
