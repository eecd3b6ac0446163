"""The settings of the networks."""

from itertools import pairwise
from typing import Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from trainers.config.base import Settings


class ModelSettings(Settings):
    """What the settings of a network that a plugin brings derive from: see `trainers.register_model`.

    Where they have a field `dropout`, the network must have `trainers.models.Dropout` layers, which `teacher.dropout`
    can change.
    """

    name: str

    @property
    def parameters(self) -> int:
        """About how many weights; for forecasts of disk space. Override it: ten million are assumed."""
        return 10_000_000

    @property
    def smallest_image(self) -> int:
        """Pixels per side of the smallest images that the network can take. Override it, if that is more than 1."""
        return 1


class SmallCnn(Settings):
    """Five 3x3 convolutions with batch norm: a trial takes seconds on a CPU."""

    name: Literal["small_cnn"] = "small_cnn"
    width: int = Field(16, ge=1, le=1024, description="channels of the first convolution")
    dropout: float = Field(0.0, ge=0, lt=1)

    @property
    def parameters(self) -> int:
        """About how many weights, with three channels and ten classes; for forecasts."""
        return 9 * self.width * (3 + self.width + 2 * self.width + 4 * self.width + 8 * self.width) + 40 * self.width


class ConvLarge(Settings):
    """The 13-layer network of Tarvainen & Valpola 2017 (table 5)."""

    name: Literal["conv_large"]
    dropout: float = Field(0.5, ge=0, lt=1)
    norm: Literal["batch", "weight"] = Field(
        "batch", description="weight: weight normalisation with mean-only batch norm, as published"
    )

    @property
    def parameters(self) -> int:
        """About how many weights, with three channels and ten classes; for forecasts."""
        return 3_130_000


class ShakeShake(Settings):
    """Shake-shake-26 2x96d (Gastaldi 2017): the paper's best CIFAR-10 results."""

    name: Literal["shake_shake"]
    width: int = Field(96, ge=1, le=1024, description="channels of each branch in the first stage")

    @property
    def parameters(self) -> int:
        """About how many weights, with three channels and ten classes; for forecasts."""
        return 2840 * self.width**2


class WideResnet(Settings):
    """WRN-28-2 by default (Zagoruyko & Komodakis 2016), the network of most later comparisons."""

    name: Literal["wide_resnet"]
    depth: int = Field(28, ge=10, le=400, description="layers: 4 plus a multiple of 6")
    width: int = Field(2, ge=1, le=64, description="the stages have 16, 32 and 64 times as many channels")

    @field_validator("depth")
    @classmethod
    def _makes_whole_blocks(cls, depth: int) -> int:
        if (depth - 4) % 6:
            raise ValueError(f"{depth} layers make no whole blocks; use 4 and a multiple of 6: 10, 16, 22, 28, 40, ...")
        return depth

    @property
    def parameters(self) -> int:
        """About how many weights, with three channels and ten classes; for forecasts."""
        channels = [16, 16 * self.width, 32 * self.width, 64 * self.width]
        later = (self.depth - 4) // 3 - 1  # convolutions of a stage that have its channels on both sides
        return sum(10 * i * o + 9 * later * o * o for i, o in pairwise(channels))


class WithWeights(Settings):
    """A network that can start from the weights of an earlier training. Its heads are not in the file."""

    name: str
    weights: str | None = Field(
        None,
        min_length=1,
        description="first weights: a .safetensors or .pth file, as it is on every node; pretrained: those that the "
        "library publishes, downloaded once; none: drawn at random",
    )
    head: Literal["random", "probe"] = Field(
        "random",
        description="first weights of the heads; probe: of a linear probe, fitted to the labeled images; needs weights",
    )
    batch_norm: Literal["batch", "of_weights"] = Field(
        "batch",
        description="what training normalises by: batch: mean and variance of each batch; of_weights: those that "
        "came with the weights, which stay as they are",
    )

    @model_validator(mode="after")
    def _has_the_weights_that_it_starts_from(self) -> Self:
        for key, value, default in (("head", self.head, "random"), ("batch_norm", self.batch_norm, "batch")):
            if self.weights is None and value != default:
                raise ValueError(f"{key}: {value} needs first weights; set weights, or use {key}: {default}")
        return self


class Residual(WithWeights):
    """torchvision's residual networks; ResNeXt-152 32x4d is the paper's for ImageNet."""

    name: Literal["resnet18", "resnet50", "resnext152"]
    stem: Literal["small", "large"] = Field(
        "small", description="small: a 3x3 convolution; large: 7x7 with stride 2, and pooling, for 224x224 pixels"
    )

    @property
    def parameters(self) -> int:
        """About how many weights, with three channels and a thousand classes; for forecasts."""
        return {"resnet18": 11_700_000, "resnet50": 25_600_000, "resnext152": 60_000_000}[self.name]


class Timm(WithWeights):
    """Any network of timm (PyTorch Image Models)."""

    name: Literal["timm"]
    architecture: str = Field(min_length=1, description="as timm.list_models() has it: resnet18, convnext_nano, ...")


WITH_WEIGHTS: tuple[str, ...] = tuple(
    name for kind in (Residual, Timm) for name in get_args(kind.model_fields["name"].annotation)
)
"""Names of the networks that can start from the weights of an earlier training."""


def network_name(model: Settings) -> str:
    """Return what a network is called where people read it: with timm, the architecture too."""
    return " ".join(
        getattr(model, key) for key in ("name", "architecture") if isinstance(getattr(model, key, None), str)
    )


def first_weights_of(model: Any) -> str | None:
    """Return the setting `weights` of a network, validated or not, or None if it begins with random ones."""
    if isinstance(model, dict):
        return model.get("weights") if model.get("name") in WITH_WEIGHTS else None
    return model.weights if isinstance(model, WithWeights) else None


ModelConfig = SmallCnn | ConvLarge | ShakeShake | WideResnet | Residual | Timm
