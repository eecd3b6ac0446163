"""Networks by name."""

from trainers.config import ModelConfig, SmallCnn
from trainers.models.conv_large import conv_large
from trainers.models.network import Network
from trainers.models.small_cnn import small_cnn


def build(config: ModelConfig, channels: int, classes: int, heads: int = 1) -> Network:
    """A freshly initialised network; its weights come from torch's global generator.

    Args:
        config: which network, and its settings.
        channels: of the images.
        classes: length of the logits.
        heads: 1, or 2: see `Network`.
    """
    if isinstance(config, SmallCnn):
        return small_cnn(channels, classes, heads, config.width, config.dropout)
    return conv_large(channels, classes, heads, config.dropout)


__all__ = ["Network", "build"]
