"""Networks and data sets that a test registers, and that are gone after it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import Field
from torch import nn

from trainers import DatasetSettings, ImageArrays, ModelSettings
from trainers.config.plugins import DATASETS, MODELS

EXAMPLE = "examples.my_plugin"

MODULE = """
from typing import Literal
from torch import nn
from trainers import ModelSettings, register_model
class Settings(ModelSettings):
    name: Literal["{name}"]
    blocks: int = 1
@register_model(Settings)
def network(settings, channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4)), 4
"""


class Tiny(ModelSettings):
    name: Literal["tiny", "tinier"]
    width: int = 4


class WithDropout(Tiny):
    dropout: float = 0.5


class Squares(DatasetSettings):
    name: Literal["squares"]
    images: int = 40
    sizes: list[int] = Field([8])


def tiny(settings: Tiny, channels: int) -> tuple[nn.Module, int]:
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, settings.width), nn.ReLU())
    return pooled, settings.width


def squares(settings: Squares) -> ImageArrays:
    labels = np.arange(settings.images) % 2
    pixels = np.full((settings.images, 8, 8, 1), 20, np.uint8) + (200 * labels).astype(np.uint8)[:, None, None, None]
    pixels[:, 0, 0, 0] = np.arange(settings.images)  # so that no image is a copy of another
    return ImageArrays(pixels, labels, ["dark", "bright"])


@contextmanager
def temporary() -> Iterator[None]:
    """Forget, at the end, what was registered and imported since the beginning."""
    before, modules, path = [set(registry.plugins) for registry in (MODELS, DATASETS)], set(sys.modules), list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        for registry, names in zip((MODELS, DATASETS), before, strict=True):
            added = {name: plugin for name, plugin in registry.plugins.items() if name not in names}
            for name, plugin in added.items():
                registry.remove(name)
                if plugin.module in set(sys.modules) - modules:
                    del sys.modules[plugin.module]


@pytest.fixture
def plugins() -> Iterator[None]:
    with temporary():
        yield


def write_plugin(folder: Path, module: str, name: str = "written") -> None:
    """Write a module that registers a network."""
    (folder / f"{module}.py").write_text(MODULE.format(name=name))
