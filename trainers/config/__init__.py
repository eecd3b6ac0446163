"""Every setting of a training run, validated. Import the classes from here."""

from trainers.config.base import Settings
from trainers.config.dataset import (
    Cifar10,
    Cifar100,
    DatasetConfig,
    DatasetSettings,
    Digits,
    ImageFolder,
    Imagenet,
    Svhn,
)
from trainers.config.method import Augmentation, Consistency, Ema, Ensemble, Teacher
from trainers.config.model import ConvLarge, ModelConfig, ModelSettings, Residual, ShakeShake, SmallCnn, WideResnet
from trainers.config.optimization import (
    Adam,
    AdamW,
    Constant,
    HalfCosine,
    Optimizer,
    QuarterCosine,
    RampDown,
    Schedule,
    Sgd,
    StepDecay,
)
from trainers.config.trainer_config import TrainerConfig

__all__ = [
    "TrainerConfig",
    "Settings",
    "Cifar10",
    "Cifar100",
    "DatasetConfig",
    "DatasetSettings",
    "Digits",
    "ImageFolder",
    "Imagenet",
    "Svhn",
    "Augmentation",
    "Consistency",
    "Ema",
    "Ensemble",
    "Teacher",
    "ConvLarge",
    "ModelConfig",
    "ModelSettings",
    "Residual",
    "ShakeShake",
    "SmallCnn",
    "WideResnet",
    "Adam",
    "AdamW",
    "Constant",
    "HalfCosine",
    "Optimizer",
    "QuarterCosine",
    "RampDown",
    "Schedule",
    "Sgd",
    "StepDecay",
]
