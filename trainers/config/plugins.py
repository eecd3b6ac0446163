"""Register networks and data sets of your own. docs/plugins.md shows how; `trainers.testing` tests them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from trainers.config.dataset import DatasetConfig, DatasetSettings
from trainers.config.model import ModelConfig, ModelSettings
from trainers.config.registry import Plugin, Registry

if TYPE_CHECKING:
    from trainers.config.trainer_config import TrainerConfig

MODELS = Registry("model", ModelSettings, ModelConfig)
DATASETS = Registry("dataset", DatasetSettings, DatasetConfig)

F = TypeVar("F", bound=Callable[..., Any])


def register_model(settings: type[ModelSettings]) -> Callable[[F], F]:
    """Return a decorator that registers the function that makes a network.

    The function takes the settings and the number of channels of the images. It returns a `torch.nn.Module` from float
    [b, channels, height, width] to features [b, width], and `width`. The linear layers that classify are added to it.
    It draws its first weights from torch's global generator, and random numbers of its layers from there too.

        class TinyNet(trainers.ModelSettings):
            name: Literal["tiny_net"]
            width: int = Field(8, ge=1)

        @trainers.register_model(TinyNet)
        def tiny_net(settings: TinyNet, channels: int) -> tuple[nn.Module, int]:
            ...
            return layers, settings.width

    Args:
        settings: derives from `ModelSettings`; its field `name` is a literal.

    Raises:
        TypeError: the class is none of these.
        ValueError: the name is taken, or is no plain name.
    """
    return _decorator(MODELS, lambda function: Plugin(settings, function))


def register_dataset(settings: type[DatasetSettings], key: str | Callable[[Any], str] = "") -> Callable[[F], F]:
    """Return a decorator that registers the function that returns the images of a data set.

    The function takes the settings and returns `trainers.ImageArrays`. It is called once per machine: the images are
    kept in the cache under a key of the settings, of the file that the function is written in, and of `key`.

    Args:
        settings: derives from `DatasetSettings`; its field `name` is a literal.
        key: a text, or a function of the settings that returns one; it must change when the images change for another
            reason, such as files that the function reads.

    Raises:
        TypeError: the class is none of these.
        ValueError: the name is taken, or is no plain name.
    """
    return _decorator(DATASETS, lambda function: Plugin(settings, function, key if callable(key) else lambda _: key))


def plugins_of(config: "TrainerConfig") -> list[Plugin]:
    """Return the plugins that the network and the data set of a run come from, those of this package left out."""
    found = (MODELS.get(config.model.name), DATASETS.get(config.dataset.name))
    return [plugin for plugin in found if plugin is not None]


def missing_plugins(modules: Iterable[str]) -> list[str]:
    """Return those of the modules that have registered nothing in this process."""
    return sorted(set(modules) - {plugin.module for plugin in registered_plugins()})


def registered_plugins() -> list[Plugin]:
    """Return all plugins of this process, one per name."""
    return [plugin for registry in (MODELS, DATASETS) for plugin in registry.plugins.values()]


def _decorator(registry: Registry, plugin: Callable[[Any], Plugin]) -> Callable[[F], F]:
    def register(function: F) -> F:
        registry.add(plugin(function))
        return function

    return register
