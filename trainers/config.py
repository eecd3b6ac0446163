"""TrainerConfig: every setting of one training run, validated, with its unit and range.

Unknown keys are errors. Lengths are optimiser steps, sizes are images or pixels, errors are fractions in [0, 1].
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from trainers.combinations import check_combinations, check_image_size, check_split_sizes, check_unlabeled
from trainers.data.catalog import KNOWN_DATASETS


class Settings(BaseModel):
    """A group of settings: immutable, unknown keys refused, no silent conversion, no infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _Dataset(Settings):
    """How many images serve which purpose. Each image serves one; what is left over is unlabeled."""

    name: str
    labels: Annotated[int, Field(ge=1)] | Literal["all"] = Field(
        description="labeled training images, drawn class-balanced; 'all': every image no other purpose takes"
    )
    validation: int = Field(ge=1, description="images that select among trials")
    verdict: int = Field(0, ge=0, description="images kept back to compare the finalists")
    split_seed: int = Field(0, ge=0, description="which images serve which purpose")

    @model_validator(mode="after")
    def _fits_a_known_dataset(self) -> "_Dataset":
        known = KNOWN_DATASETS.get(self.name)
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
    """The loss that ties the student to its target (section 2 of the paper)."""

    loss: Literal["mse", "kl"] = Field("mse", description="mse: mean over classes of the squared difference")
    weight: float = Field(10.0, ge=0, description="at full ramp; C to C squared for mse, 1 to 10 for kl (C classes)")
    ramp_up: Literal["sigmoid", "linear"] = Field("sigmoid", description="sigmoid: exp(-5 (1 - x)^2)")
    ramp_up_steps: int | None = Field(None, ge=0, description="none: the first fifth of the steps")
    images: Literal["all", "unlabeled"] = Field("all", description="the mean of the loss is taken over these")
    heads: Literal[1, 2] = Field(1, description="2: the first classifies, the second agrees with the teacher's first")
    logit_distance_weight: float = Field(0.01, ge=0, description="of the squared distance of two heads; one has none")


class Ema(Settings):
    """The teacher's weights: the exponential moving average of the student's."""

    decay: float = Field(0.999, ge=0, lt=1, description="alpha; warmed up as min(1 - 1/(t+1), alpha)")
    ramp_up_decay: float | None = Field(
        None, ge=0, lt=1, description="alpha until the consistency ramp-up ends; none: the same"
    )


class Teacher(Settings):
    """How the second network looks and begins; for the Pi-model, how the student looks the second time."""

    dropout: float | None = Field(None, ge=0, lt=1, description="none: the student's, model.dropout")
    noise: float | None = Field(None, ge=0, description="none: the student's, augmentation.noise")
    start: Literal["copy", "independent"] = Field("copy", description="of the student's first weights, or its own")
    mode: Literal["train", "eval"] = Field("train", description="of its batch norm and dropout while it teaches")
    batch_norm: Literal["own", "copied", "averaged"] = Field(
        "own", description="its statistics: of its own passes (mode train), or the student's (mode eval)"
    )

    @model_validator(mode="after")
    def _batch_norm_fits_the_mode(self) -> "Teacher":
        if self.mode == "eval" and self.batch_norm == "own":
            raise ValueError(
                "mode: eval and batch_norm: own clash: a teacher that never passes in train mode never updates "
                "statistics of its own; use batch_norm: copied or averaged, or mode: train"
            )
        if self.mode == "train" and self.batch_norm != "own":
            raise ValueError(
                f"mode: train and batch_norm: {self.batch_norm} clash: the teacher's passes and the student's would "
                "both write its statistics; use mode: eval, or batch_norm: own"
            )
        if self.mode == "eval" and self.dropout is not None:
            raise ValueError("dropout and mode: eval clash: in eval mode nothing is dropped; use mode: train")
        return self


class Ensemble(Settings):
    """Temporal ensembling (Laine & Aila 2017): each image's target is the average of its past predictions."""

    decay: float = Field(0.6, ge=0, lt=1, description="of the average, for each further look at an image")


class _Optimizer(Settings):
    name: str
    weight_decay: float = Field(0.0, ge=0)
    weight_decay_on: Literal["all", "weights"] = Field("all", description="weights: not on norms and biases")


class Sgd(_Optimizer):
    """Stochastic gradient descent with Nesterov's momentum."""

    name: Literal["sgd"] = "sgd"
    learning_rate: float = Field(0.05, gt=0, description="before the schedule")
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(2e-4, ge=0)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> "Sgd":
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov: true needs a momentum above 0; set nesterov: false or raise momentum")
        return self


class _Moments(_Optimizer):
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    epsilon: float = Field(1e-8, gt=0)


class Adam(_Moments):
    """Adam, with the switches of the authors' TensorFlow code; its weight decay is added to the gradient."""

    name: Literal["adam"]
    learning_rate: float = Field(0.003, gt=0, description="before the schedule")
    warm_up_beta2: float | None = Field(
        None, ge=0, lt=1, description="beta2 until the schedule's warm-up ends (authors: 0.99); none: the same"
    )
    ramp_down_beta1: float | None = Field(
        None, ge=0, lt=1, description="where beta1 goes with schedule.name: ramp_down (authors: 0.5); none: nowhere"
    )


class AdamW(_Moments):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["adamw"]
    learning_rate: float = Field(0.001, gt=0, description="before the schedule")


class _Schedule(Settings):
    """The factor on the learning rate: that of the warm-up times that of the decay."""

    name: str
    warm_up: Literal["linear", "sigmoid"] = Field("linear", description="sigmoid: exp(-5 (1 - x)^2)")
    warm_up_steps: int = Field(0, ge=0)
    warm_up_from: float = Field(0.0, ge=0, le=1, description="the factor at the first step of a linear warm-up")


class Constant(_Schedule):
    """No decay."""

    name: Literal["constant"]


class HalfCosine(_Schedule):
    """(1 + cos(pi t / length)) / 2."""

    name: Literal["half_cosine"] = "half_cosine"
    length: int | None = Field(None, ge=1, description="where it reaches 0, at or after the last step; none: steps")


class QuarterCosine(_Schedule):
    """cos(pi t / (2 length)); with length = 8/7 steps, FixMatch's cos(7 pi t / (16 steps))."""

    name: Literal["quarter_cosine"]
    length: int | None = Field(None, ge=1, description="where it reaches 0, at or after the last step; none: steps")


class RampDown(_Schedule):
    """exp(-12.5 x^2), x going from 0 to 1 over the last steps (the authors' TensorFlow code)."""

    name: Literal["ramp_down"]
    ramp_down_steps: int = Field(ge=1, description="at the end of the run")


class StepDecay(_Schedule):
    """`factor` to the power of how many of the steps in `at` have been taken."""

    name: Literal["step_decay"]
    at: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    factor: float = Field(0.1, gt=0, lt=1)


def _by_default(name: str) -> BeforeValidator:
    """Settings of a union that do not say their name are those of the default."""
    return BeforeValidator(lambda value: {"name": name} | value if isinstance(value, dict) else value)


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="name"), _by_default("sgd")]
Schedule = Annotated[
    Constant | HalfCosine | QuarterCosine | RampDown | StepDecay,
    Field(discriminator="name"),
    _by_default("half_cosine"),
]


class TrainerConfig(Settings):
    """One training run, whole."""

    method: Literal["mean_teacher", "pi_model", "temporal_ensembling", "supervised"] = "mean_teacher"
    dataset: DatasetConfig = Field(discriminator="name")
    model: Annotated[ModelConfig, Field(discriminator="name"), _by_default("small_cnn")] = SmallCnn()
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
    teacher: Teacher = Teacher()
    ensemble: Ensemble = Ensemble()
    optimizer: Optimizer = Sgd()
    schedule: Schedule = HalfCosine()
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the networks' passes; weights stay in fp32")
    channels_last: bool = Field(True, description="memory layout of images and features")
    compile: bool = Field(False, description="torch.compile: slow to start, faster steps")
    evaluate_every: int | None = Field(
        None, ge=1, description="steps between evaluations; none: up to 20 evaluations a run"
    )
    seed: int = Field(0, ge=0, description="of weights, batches, augmentation and dropout")
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainerConfig":
        check_combinations(self)
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
    def heads(self) -> int:
        """Linear layers at the end of the network; a supervised run needs one."""
        return 1 if self.method == "supervised" else self.consistency.heads

    @property
    def ramp_up_steps(self) -> int:
        """Steps until the consistency weight is reached in full."""
        given = self.consistency.ramp_up_steps
        return self.steps // 5 if given is None else given

    @property
    def evaluation_interval(self) -> int:
        """Steps between evaluations; each evaluation is also a checkpoint."""
        return self.evaluate_every or max(1, -(-self.steps // 20))
