"""A network and a data set of one's own: copy it, and change what is in the two functions. docs/plugins.md explains it.

mt-sweep run examples/my_plugin.yaml --plugin examples.my_plugin
"""

from typing import Literal

import numpy as np
from pydantic import Field
from torch import nn

from trainers import DatasetSettings, ImageArrays, ModelSettings, register_dataset, register_model
from trainers.models import Dropout


class PatchMixer(ModelSettings):
    """Convolutions over patches (Trockman & Kolter 2022), a small network that is not in mt-sweeps."""

    name: Literal["patch_mixer"]
    width: int = Field(16, ge=1, le=1024, description="channels")
    depth: int = Field(2, ge=1, le=32, description="blocks")
    dropout: float = Field(0.0, ge=0, lt=1, description="before the linear layer")

    @property
    def parameters(self) -> int:
        """About how many, for forecasts of disk space."""
        return self.depth * self.width * (25 + self.width) + 20 * self.width

    @property
    def smallest_image(self) -> int:
        """Pixels per side: one patch."""
        return 2


@register_model(PatchMixer)
def patch_mixer(settings: PatchMixer, channels: int) -> tuple[nn.Module, int]:
    """Return layers from float [b, channels, height, width] to features [b, width], and the width."""
    width = settings.width
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 2, stride=2), nn.GELU(), nn.BatchNorm2d(width)]
    for _ in range(settings.depth):
        layers += [nn.Conv2d(width, width, 5, padding=2, groups=width), nn.GELU(), nn.BatchNorm2d(width)]
        layers += [nn.Conv2d(width, width, 1), nn.GELU(), nn.BatchNorm2d(width)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), Dropout(settings.dropout)]
    return nn.Sequential(*layers), width


class Stripes(DatasetSettings):
    """Grey images of noisy stripes; the class is their direction. It is made, so there is nothing to download."""

    name: Literal["stripes"]
    images: int = Field(1000, ge=100, description="training images; a fifth as many are for the test")
    noise: float = Field(0.5, ge=0, description="standard deviation of the noise, of stripes from -1 to 1")


@register_dataset(Stripes)
def stripes(settings: Stripes) -> ImageArrays:
    """Return the images, the class of each, and the names of the classes."""
    classes = ["horizontal", "falling", "vertical", "rising"]
    count, rng = settings.images + settings.images // 5, np.random.default_rng(0)
    labels = rng.integers(0, len(classes), count)
    angle, phase = (np.pi / 4 * labels)[:, None, None], rng.uniform(0, 2 * np.pi, (count, 1, 1))
    y, x = np.mgrid[:12, :12]
    waves = np.sin(1.2 * (np.cos(angle) * y - np.sin(angle) * x) + phase)
    noisy = waves + settings.noise * rng.standard_normal(waves.shape)
    pixels = np.clip(127.5 + 60 * noisy, 0, 255).astype(np.uint8)[..., None]
    train, test = slice(settings.images), slice(settings.images, None)
    return ImageArrays(pixels[train], labels[train], classes, pixels[test], labels[test])
