"""The science: train one student and its teacher. It knows nothing of sweeps, ledgers or dashboards.

    from trainers import Trainer, TrainerConfig

    config = TrainerConfig(dataset={"name": "digits", "labels": 50, "validation": 300}, steps=300)
    for report in Trainer(config).run():
        print(report.step, report.metrics["validation.teacher_error"])

Importing `TrainerConfig` does not import torch; the first use of `Trainer` does.

`register_model` and `register_dataset` add networks and data sets of your own.
"""

from typing import TYPE_CHECKING, Any

from trainers.config import DatasetSettings, ModelSettings, TrainerConfig
from trainers.config.plugins import register_dataset, register_model
from trainers.report import Report

if TYPE_CHECKING:
    from trainers.cross_validation import CrossValidation
    from trainers.data.arrays import ImageArrays
    from trainers.trainer import Trainer

__all__ = [
    "CrossValidation",
    "Report",
    "Trainer",
    "TrainerConfig",
    "DatasetSettings",
    "ImageArrays",
    "ModelSettings",
    "register_dataset",
    "register_model",
]


def __getattr__(name: str) -> Any:
    if name == "CrossValidation":
        from trainers.cross_validation import CrossValidation

        return CrossValidation
    if name == "ImageArrays":
        from trainers.data.arrays import ImageArrays

        return ImageArrays
    if name == "Trainer":
        from trainers.trainer import Trainer

        return Trainer
    raise AttributeError(f"module 'trainers' has no attribute {name!r}")
