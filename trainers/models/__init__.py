"""Networks by name."""

from trainers.config import ConvLarge, ModelConfig, ModelSettings, ShakeShake, SmallCnn, Timm, WideResnet
from trainers.config.plugins import MODELS
from trainers.models.blocks import Dropout
from trainers.models.conv_large import conv_large
from trainers.models.network import Network
from trainers.models.plugin import plugin_network
from trainers.models.residual import residual
from trainers.models.shake_shake import shake_shake
from trainers.models.small_cnn import small_cnn
from trainers.models.timm_network import timm_network
from trainers.models.wide_resnet import wide_resnet


def build(config: ModelConfig, channels: int, classes: int, heads: int = 1, earlier: bool = False) -> Network:
    """Return a new network. Its weights are drawn from torch's global generator.

    Args:
        config: the kind of network and its settings.
        channels: of the images.
        classes: length of the logits.
        heads: 1, or 2: see `Network`.
        earlier: build the network that model files of format 3 have weights for; see `is_changed`.

    Raises:
        DataError: timm has no network of this name, or not for images of so many channels.
        WrongNetwork: the network of a plugin cannot be made.
    """
    plugin = MODELS.get(config.name)
    if plugin is not None and isinstance(config, ModelSettings):
        return plugin_network(plugin, config, channels, classes, heads)
    if isinstance(config, SmallCnn):
        return small_cnn(channels, classes, heads, config.width, config.dropout)
    if isinstance(config, ConvLarge):
        return conv_large(channels, classes, heads, config.dropout, config.norm, earlier)
    if isinstance(config, ShakeShake):
        return shake_shake(channels, classes, heads, config.width, earlier)
    if isinstance(config, WideResnet):
        return wide_resnet(channels, classes, heads, config.depth, config.width)
    if isinstance(config, Timm):
        return timm_network(channels, classes, heads, config.architecture)
    return residual(channels, classes, heads, config.name, config.stem)


def is_changed(config: ModelConfig) -> bool:
    """Return whether the network is not that of model files of format 3 and checkpoints of format 2."""
    return isinstance(config, ShakeShake) or (isinstance(config, ConvLarge) and config.norm == "weight")


__all__ = ["Dropout", "Network", "build", "is_changed"]
