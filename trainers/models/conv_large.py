"""ConvLarge, the 13-layer network of Tarvainen & Valpola 2017 (appendix B, table 5)."""

from functools import partial
from typing import Literal

from torch import nn

from trainers.models import blocks
from trainers.models.blocks import Dropout, GlobalAverage
from trainers.models.network import Network
from trainers.models.weight_normalization import weight_normalized_linear


def conv_large(
    channels: int,
    classes: int,
    heads: int,
    dropout: float,
    norm: Literal["batch", "weight"],
    earlier: bool = False,
) -> Network:
    """Build the network, which has 3.12 million convolution weights with three input channels.

    Args:
        channels: of the images, which have at least 12 pixels per side (32 in the paper).
        classes: length of the logits.
        heads: 1 or 2.
        dropout: probability, after each of the two poolings (0.5 in the paper).
        norm: weight normalisation with mean-only batch norm, of the heads too, as published; or batch norm.
        earlier: with plain heads, for the weights of earlier versions.
    """
    convolution = partial(blocks.convolution, norm=norm)
    features = nn.Sequential(
        convolution(channels, 128),
        convolution(128, 128),
        convolution(128, 128),
        nn.MaxPool2d(2),
        Dropout(dropout),
        convolution(128, 256),
        convolution(256, 256),
        convolution(256, 256),
        nn.MaxPool2d(2),
        Dropout(dropout),
        convolution(256, 512, padding=0),
        convolution(512, 256, kernel=1, padding=0),
        convolution(256, 128, kernel=1, padding=0),
        GlobalAverage(),
    )
    head = weight_normalized_linear if norm == "weight" and not earlier else nn.Linear
    return Network(features, 128, classes, heads, head)
