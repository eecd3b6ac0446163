"""TrainerConfig: every setting of one training run, validated, with its unit and range.

Unknown keys are errors. Lengths are optimiser steps, sizes are images or pixels, errors are fractions in [0, 1].
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainers.data.catalog import KNOWN_DATASETS

CONSISTENCY_ONLY = ("class_loss_normalizer", "consistency.", "ema.", "labeled_batch_fraction")
"""Beginnings of the dotted keys that mean nothing to a supervised run, whose batches are labeled throughout."""


class Settings(BaseModel):
    """A group of settings: immutable, unknown keys refused, no silent conversion, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Dataset(Settings):
    """How many images serve which purpose. Each image serves one; what is left over is unlabeled."""

    labels: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        description="labeled training images, drawn class-balanced; 'all': every image no other purpose takes"
    )
    validation: int = Field(ge=1, description="images that select among trials")
    verdict: int = Field(0, ge=0, description="images kept back to compare the finalists")
    split_seed: int = Field(0, ge=0, description="which images serve which purpose")

    @model_validator(mode="after")
    def _fits_a_known_dataset(self) -> "_Dataset":
        known = KNOWN_DATASETS.get(getattr(self, "name", ""))
        if known is not None:
            check_split_sizes(self.labels, self.validation, self.verdict, known.train, known.classes, known.name)
        return self


class Digits(_Dataset):
    """scikit-learn's digits: 1,797 grey images of 8x8 pixels, shipped with the package."""

    name: Literal["digits"]


class Cifar10(_Dataset):
    """CIFAR-10: 60,000 colour images of 32x32 pixels, downloaded by torchvision when not there."""

    name: Literal["cifar10"]
    root: str | None = Field(None, description="folder that holds or receives the download; none: the cache folder")


class ImageFolder(_Dataset):
    """Your own images: `<root>/train/<class>/*`, optional `<root>/unlabeled/*` and `<root>/test/<class>/*`."""

    name: Literal["image_folder"]
    root: str = Field(min_length=1, description="folder that holds train/, and optionally unlabeled/ and test/")
    image_size: int | None = Field(
        None, ge=4, le=1024, description="pixels a side after resizing and centre crop; none: all images have one size"
    )


DatasetConfig = Digits | Cifar10 | ImageFolder


class SmallCnn(Settings):
    """Five 3x3 convolutions with batch norm: seconds a trial on a CPU."""

    name: Literal["small_cnn"] = "small_cnn"
    width: int = Field(16, ge=1, le=1024, description="channels of the first convolution")
    dropout: float = Field(0.0, ge=0, lt=1)

    @property
    def weights(self) -> int:
        """About how many, at three channels and ten classes: for forecasts."""
        return 9 * self.width * (3 + self.width + 2 * self.width + 4 * self.width + 8 * self.width) + 40 * self.width


class ConvLarge(Settings):
    """The 13-layer network of Tarvainen & Valpola 2017 (table 5), with plain batch norm."""

    name: Literal["conv_large"]
    dropout: float = Field(0.5, ge=0, lt=1)

    @property
    def weights(self) -> int:
        """About how many, at three channels and ten classes: for forecasts."""
        return 3_130_000


ModelConfig = SmallCnn | ConvLarge


class Augmentation(Settings):
    """Noise of the input, drawn anew for each image, each network and each step."""

    translate: int = Field(2, ge=0, description="pixels an axis, reflected at the edge, uniform over -n..n")
    flip: bool = Field(False, description="mirror left and right with probability 1/2")
    noise: float = Field(0.0, ge=0, description="standard deviation of Gaussian noise on normalised pixels")


class Consistency(Settings):
    """The loss that ties the student to the teacher (section 2 of the paper)."""

    loss: Literal["mse", "kl"] = Field("mse", description="mse: mean over classes of the squared difference")
    weight: float = Field(10.0, ge=0, description="at full ramp; C to C squared for mse, 1 to 10 for kl (C classes)")
    ramp_up_steps: int | None = Field(None, ge=0, description="sigmoid ramp-up; none: the first fifth of the steps")


class Ema(Settings):
    """The teacher: the exponential moving average of the student's weights."""

    decay: float = Field(0.999, ge=0, lt=1, description="alpha; warmed up as min(1 - 1/(t+1), alpha)")


class Sgd(Settings):
    """SGD with Nesterov momentum; the learning rate falls to 0 over the run as half a cosine."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(0.05, gt=0, description="at the first step")
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(2e-4, ge=0, description="on all parameters")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true needs a momentum above 0; set nesterov: false or raise momentum")
        return self


class TrainerConfig(Settings):
    """One training run, whole."""

    method: Literal["mean_teacher", "supervised"] = "mean_teacher"
    dataset: DatasetConfig = Field(discriminator="name")
    model: ModelConfig = Field(default=SmallCnn(), discriminator="name")
    steps: int = Field(ge=1, description="optimiser steps")
    batch_size: int = Field(100, ge=2, description="images a step")
    labeled_batch_fraction: float = Field(0.25, gt=0, le=1, description="share of the batch that has labels")
    class_loss_normalizer: Literal["labeled", "whole_batch"] = Field(
        "labeled",
        description="labeled: mean over the labeled images; whole_batch: their sum / batch size (authors' PyTorch)",
    )
    augmentation: Augmentation = Augmentation()
    consistency: Consistency = Consistency()
    ema: Ema = Ema()
    optimizer: Sgd = Sgd()
    evaluate_every: int | None = Field(
        None, ge=1, description="steps between evaluations; none: up to 20 evaluations a run"
    )
    seed: int = Field(0, ge=0, description="of weights, batches, augmentation and dropout")
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainerConfig":
        ramp_up = self.consistency.ramp_up_steps
        if ramp_up is not None and ramp_up > self.steps:
            raise ValueError(
                f"consistency.ramp_up_steps ({ramp_up}) is longer than steps ({self.steps}): the consistency weight "
                "would never be reached; lower it, or leave it out for a fifth of the steps"
            )
        if round(self.labeled_batch_fraction * self.batch_size) < 1:
            raise ValueError(
                f"labeled_batch_fraction {self.labeled_batch_fraction} of batch_size {self.batch_size} leaves no "
                f"labeled image in a batch; use at least {1 / self.batch_size:g}"
            )
        known = KNOWN_DATASETS.get(self.dataset.name)
        if known is not None:
            of = self.dataset
            check_unlabeled(self, 0 if of.labels == "all" else known.train - of.labels - of.validation - of.verdict)
        size = known.image_size if known else getattr(self.dataset, "image_size", None)
        if size is not None:
            check_image_size(self, size)
        return self

    @property
    def labeled_per_batch(self) -> int:
        """Labeled images in a batch; a supervised run has no others."""
        if self.method == "supervised":
            return self.batch_size
        return round(self.labeled_batch_fraction * self.batch_size)

    @property
    def ramp_up_steps(self) -> int:
        """Steps until the consistency weight is reached in full."""
        given = self.consistency.ramp_up_steps
        return self.steps // 5 if given is None else given

    @property
    def evaluation_interval(self) -> int:
        """Steps between evaluations; each evaluation is also a checkpoint."""
        return self.evaluate_every or max(1, -(-self.steps // 20))


def check_split_sizes(
    labels: int | Literal["all"], validation: int, verdict: int, train: int, classes: int, dataset: str
) -> None:
    """Refuse a split that the training images of a data set cannot give.

    Raises:
        ValueError: fewer labels than classes, or more images asked for than there are.
    """
    wanted = classes if labels == "all" else labels
    if wanted < classes:
        raise ValueError(
            f"labels: {labels} is fewer than the {classes} classes of {dataset}; use at least {classes}, one a class"
        )
    if wanted + validation + verdict > train:
        raise ValueError(
            f"labels + validation + verdict = {labels} + {validation} + {verdict} is more than the {train:,} training "
            f"images of {dataset}; lower one of them"
        )


def check_unlabeled(config: TrainerConfig, unlabeled: int) -> None:
    """Refuse a batch that takes more unlabeled images than there are.

    Raises:
        ValueError: `unlabeled` images are too few for one batch.
    """
    wanted = config.batch_size - config.labeled_per_batch
    if unlabeled < wanted:
        raise ValueError(
            f"a batch takes {wanted} unlabeled images and {unlabeled} are left: every image serves one purpose; lower "
            "batch_size or the dataset's labels, validation or verdict, or set labeled_batch_fraction: 1.0"
        )


def check_image_size(config: TrainerConfig, size: int) -> None:
    """Refuse images that the network or the translation cannot take.

    Raises:
        ValueError: the images (`size` pixels a side) are too small.
    """
    smallest = {"small_cnn": 4, "conv_large": 12}[config.model.name]
    if size < smallest:
        raise ValueError(
            f"model {config.model.name} needs images of at least {smallest}x{smallest} pixels, these have {size}x{size}"
        )
    if config.augmentation.translate >= size:
        raise ValueError(
            f"augmentation.translate ({config.augmentation.translate}) must be below the image size ({size} pixels)"
        )
