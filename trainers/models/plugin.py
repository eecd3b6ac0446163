"""Networks that plugins bring, made by their function."""

from safetensors.torch import save
from torch import nn
from torch.nn.parameter import is_lazy

from trainers.config import ModelSettings
from trainers.config.registry import Plugin
from trainers.errors import WrongNetwork
from trainers.models.blocks import Dropout
from trainers.models.network import Network

_EXPECTED = "expected: a module from float [b, channels, height, width] to features [b, width], and that width"


def plugin_network(plugin: Plugin, settings: ModelSettings, channels: int, classes: int, heads: int) -> Network:
    """Make the network of a plugin.

    Args:
        plugin: whose function is called.
        settings: of the network.
        channels: of the images.
        classes: length of the logits.
        heads: 1 or 2.

    Raises:
        WrongNetwork: the function raises, or returns something else than features and their width.
    """
    try:
        made = plugin.function(settings, channels)
    except Exception as error:
        raise WrongNetwork(f"{_name(plugin, settings)} raised {type(error).__name__}: {error}") from error
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], nn.Module) and type(made[1]) is int):
        shown = tuple(type(part).__name__ for part in made) if isinstance(made, tuple) else type(made).__name__
        raise WrongNetwork(f"{_name(plugin, settings)} returned {shown}; {_EXPECTED}")
    features, width = made
    if width < 1:
        raise WrongNetwork(f"{_name(plugin, settings)} returned the width {width}; {_EXPECTED}")
    if any(is_lazy(parameter) for parameter in features.parameters()):
        raise WrongNetwork(f"{_name(plugin, settings)}: has lazy layers; give them their sizes: channels is {channels}")
    if hasattr(settings, "dropout") and not any(isinstance(layer, Dropout) for layer in features.modules()):
        raise WrongNetwork(
            f"{_name(plugin, settings)}: its settings have dropout, and it has no trainers.models.Dropout layer, which "
            "teacher.dropout could change; use that layer in the place of torch's, or give the setting another name"
        )
    return Network(features, width, classes, heads)


def check_state(network: Network) -> None:
    """Refuse a network whose weights no file can hold.

    Raises:
        WrongNetwork: its state_dict has something else than dense tensors, or two of them share memory.
    """
    try:
        save({name: value.contiguous() for name, value in network.state_dict().items()})
    except Exception as error:  # whatever is no tensor
        raise WrongNetwork(
            f"its state_dict cannot be saved ({' '.join(str(error).split())[:300]}); expected: dense tensors alone, "
            "each with memory of its own"
        ) from error


def _name(plugin: Plugin, settings: ModelSettings) -> str:
    return f"model {settings.name}: {plugin}"
