"""The science: train one student and its teacher. It knows nothing of sweeps, ledgers or dashboards.

    from trainers import Trainer, TrainerConfig

    config = TrainerConfig(dataset={"name": "digits", "labels": 50, "validation": 300}, steps=300)
    for report in Trainer(config).run():
        print(report.step, report.metrics["validation.teacher_error"])

Importing `TrainerConfig` does not import torch; the first use of `Trainer` does.
"""

from typing import TYPE_CHECKING, Any

from trainers.config import TrainerConfig
from trainers.report import Report

if TYPE_CHECKING:
    from trainers.trainer import Trainer

__all__ = ["Report", "Trainer", "TrainerConfig"]


def __getattr__(name: str) -> Any:
    if name == "Trainer":
        from trainers.trainer import Trainer

        return Trainer
    raise AttributeError(f"module 'trainers' has no attribute {name!r}")
