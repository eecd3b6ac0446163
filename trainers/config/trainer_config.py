"""TrainerConfig: every setting of a training run, validated, with unit and range.

Unknown keys are errors. Lengths are optimiser steps, sizes are images or pixels, errors are fractions in [0, 1].
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from trainers.config.base import MAX_SEED, MAX_STEPS, Settings, by_default
from trainers.config.compatibility import ONLY_LABELS, check_combinations, check_image_size, check_unlabeled
from trainers.config.dataset import DatasetConfig
from trainers.config.known_datasets import KNOWN_DATASETS
from trainers.config.method import Augmentation, Consistency, Ema, Ensemble, Teacher
from trainers.config.model import ModelConfig, SmallCnn, first_weights_of
from trainers.config.optimization import (
    HalfCosine,
    Optimizer,
    Schedule,
    Sgd,
)
from trainers.config.plugins import DATASETS, MODELS

ClassWeights = Annotated[
    Annotated[Literal["none", "balanced"], Tag("name")]
    | Annotated[dict[str, Annotated[float, Field(ge=1e-6, le=1e6)]], Field(min_length=1), Tag("weights")],
    Discriminator(lambda value: "weights" if isinstance(value, dict) else "name"),
]

_BF16_COSTS_NOTHING = ("small_cnn",)  # networks of which this was measured: docs/accuracy.md


class TrainerConfig(Settings):
    """All settings of one training run."""

    method: Literal["mean_teacher", "pi_model", "temporal_ensembling", "supervised", "probe"] = Field(
        "mean_teacher", description="probe: logistic regression on the frozen features of model.weights; takes no steps"
    )
    dataset: Annotated[DatasetConfig, DATASETS] = Field(discriminator="name")
    model: Annotated[ModelConfig, Field(discriminator="name"), MODELS, by_default("small_cnn")] = SmallCnn()
    steps: int = Field(ge=1, le=MAX_STEPS, description="optimiser steps")
    batch_size: int = Field(100, ge=2, le=100_000, description="images per step")
    labeled_batch_fraction: float = Field(0.25, gt=0, le=1, description="share of the batch that has labels")
    sampling: Literal["uniform", "class_balanced"] = Field(
        "uniform",
        description="of labeled images. uniform: all are equally frequent in batches; class_balanced: all classes are",
    )
    class_weights: ClassWeights = Field(
        "none",
        description="factors on the classification loss, by class name, 1e-6 to 1e6, 1 for the others; balanced: n / "
        "(classes * labeled images of the class)",
    )
    class_loss_normalizer: Literal["labeled", "whole_batch"] = Field(
        "labeled",
        description="labeled: mean over the labeled images; whole_batch: their sum / batch size (authors' PyTorch)",
    )
    normalization: Literal["per_channel", "per_image", "zca", "of_weights"] = Field(
        "per_channel",
        description="per_image: each to mean 0 and deviation 1; zca: contrast, then whitening; of_weights: per "
        "channel, as model.weights were trained, the default with them",
    )
    augmentation: Augmentation = Augmentation()
    consistency: Consistency = Consistency()
    ema: Ema = Ema()
    teacher: Teacher = Teacher()
    ensemble: Ensemble = Ensemble()
    optimizer: Optimizer = Sgd()
    schedule: Schedule = HalfCosine()
    images: Literal["auto", "resident", "streamed"] = Field(
        "auto",
        description="resident: on the device; streamed: from disk, by worker processes; auto: resident if they take at "
        "most a quarter of the device's memory",
    )
    precision: Literal["fp32", "tf32", "bf16", "auto"] = Field(
        "fp32",
        description="of the networks' features; heads, losses and weights stay in fp32; tf32: on CUDA, products "
        "of numbers that are rounded to 10 bits; auto: bf16 where the device has units for it and networks of this "
        "kind were measured to lose nothing by it, else fp32",
    )
    channels_last: bool = Field(True, description="memory layout of images and features")
    deterministic: bool = Field(
        False,
        description="on CUDA, a repeated run has the same results, bit for bit; slower. Not yet measured on a GPU",
    )
    compile: bool = Field(False, description="torch.compile: slow to start, faster steps")
    evaluate_every: int | None = Field(
        None, ge=1, le=MAX_STEPS, description="steps between evaluations; none: up to 20 evaluations per run"
    )
    verdict: bool = Field(False, description="the last report also has the errors on the verdict images; for finalists")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="of weights, batches, augmentation and dropout")
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _normalizes_as_the_weights_were_trained(cls, settings: Any) -> Any:
        if not isinstance(settings, dict) or "normalization" in settings:
            return settings
        weights = first_weights_of(settings.get("model"))
        return settings if weights is None else {**settings, "normalization": "of_weights"}

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainerConfig":
        check_combinations(self)
        if self.verdict and not self.dataset.verdict:
            raise ValueError("verdict: asks for errors on the verdict images and dataset.verdict is 0; raise it")
        if self.verdict and self.dataset.with_validation:
            raise ValueError(
                "verdict and dataset.with_validation clash: the verdict images are trained on; take out one of them"
            )
        known = KNOWN_DATASETS.get(self.dataset.name)
        if known is not None:
            others = known.extra if getattr(self.dataset, "extra", False) else 0
            check_unlabeled(self, self.dataset.unlabeled_count(known.train, others))
        size = getattr(self.dataset, "image_size", None) or (known.image_size if known else None)
        if size is not None:
            check_image_size(self, size)
        return self

    @property
    def is_cross_validated(self) -> bool:
        """Whether its error comes from a training per fold: see `trainers.CrossValidation`."""
        dataset = self.dataset
        return dataset.folds is not None and dataset.fold is None and not dataset.with_validation

    def of_fold(self, fold: int | None) -> "TrainerConfig":
        """Return the configuration of the training that holds out a fold."""
        return self.model_copy(update={"dataset": self.dataset.model_copy(update={"fold": fold})})

    def chosen_precision(self, has_bf16_units: bool) -> str:
        """Return the setting `precision`, or what `auto` stands for.

        Args:
            has_bf16_units: whether the device computes in bfloat16 itself.
        """
        if self.precision != "auto":
            return self.precision
        return "bf16" if has_bf16_units and self.model.name in _BF16_COSTS_NOTHING else "fp32"

    @property
    def total_steps(self) -> int:
        """Optimiser steps of all its trainings: one, or one per fold."""
        return self.steps * (self.dataset.folds or 1) if self.is_cross_validated else self.steps

    @property
    def labeled_per_batch(self) -> int:
        """Labeled images per batch; runs that learn from labels alone have no others."""
        if self.method in ONLY_LABELS:
            return self.batch_size
        return round(self.labeled_batch_fraction * self.batch_size)

    @property
    def heads(self) -> int:
        """Linear layers at the end of the network; learning from labels alone needs one."""
        return 1 if self.method in ONLY_LABELS else self.consistency.heads

    @property
    def second_augmentation(self) -> Augmentation:
        """What changes the second view: the teacher's, or that of the Pi-model's second pass."""
        augmentation = self.augmentation.weak if self.teacher.augmentation == "weak" else self.augmentation
        if self.teacher.noise is None:
            return augmentation
        return augmentation.model_copy(update={"noise": self.teacher.noise})

    @property
    def ramp_up_steps(self) -> int:
        """Steps from `consistency.start` until the consistency weight is reached in full."""
        steps = self.consistency.ramp_up_steps
        return (self.steps - self.consistency.start) // 5 if steps is None else steps

    @property
    def consistency_ramp_end(self) -> int:
        """The step from which the consistency weight is reached in full."""
        return self.consistency.start + self.ramp_up_steps

    @property
    def evaluation_interval(self) -> int:
        """Steps between evaluations; each evaluation is also a checkpoint. A probe has one."""
        if self.method == "probe":
            return self.steps
        return self.evaluate_every or max(1, -(-self.steps // 20))
