"""Five 3x3 convolutions: a network that learns small images in seconds on a CPU."""

from torch import nn

from trainers.models.blocks import GlobalAverage, convolution


def small_cnn(channels: int, classes: int, width: int, dropout: float) -> nn.Module:
    """Two convolutions, pool, two of twice the width, pool, one of four times the width, average, linear.

    Args:
        channels: of the images, which have at least 4 pixels a side.
        classes: length of the logits.
        width: channels of the first convolution.
        dropout: probability, before the linear layer.
    """
    return nn.Sequential(
        convolution(channels, width),
        convolution(width, width),
        nn.MaxPool2d(2),
        convolution(width, 2 * width),
        convolution(2 * width, 2 * width),
        nn.MaxPool2d(2),
        convolution(2 * width, 4 * width),
        GlobalAverage(),
        nn.Dropout(dropout),
        nn.Linear(4 * width, classes),
    )
