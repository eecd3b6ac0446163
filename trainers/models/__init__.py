"""Networks by name."""

from torch import nn

from trainers.config import ModelConfig, SmallCnn
from trainers.models.conv_large import conv_large
from trainers.models.small_cnn import small_cnn


def build(config: ModelConfig, channels: int, classes: int) -> nn.Module:
    """A freshly initialised network; its weights come from torch's global generator.

    Args:
        config: which network, and its settings.
        channels: of the images.
        classes: length of the logits.

    Returns:
        A module from float32 [b, channels, height, width] to logits, float32 [b, classes].
    """
    if isinstance(config, SmallCnn):
        return small_cnn(channels, classes, config.width, config.dropout)
    return conv_large(channels, classes, config.dropout)
