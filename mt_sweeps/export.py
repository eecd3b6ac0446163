"""The best-hyper-parameters file: all that a final training needs, and where it comes from."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from mt_sweeps import explain, yaml_file
from mt_sweeps.errors import InputError
from mt_sweeps.sections import Tracking
from mt_sweeps.space import Values
from mt_sweeps.spec import PLAIN_NAME, SweepSpec
from mt_sweeps.trial import Trial
from trainers.config import Settings, TrainerConfig

FORMAT: Literal["mt-sweeps-best/1"] = "mt-sweeps-best/1"


class Validation(Settings):
    """How good the trial was, on the images that chose it."""

    metric: str
    error: float
    standard_error: float
    images: int
    step: int


class BestFile(Settings):
    """What `mt-sweep export` writes and `mt-sweep train` reads."""

    format: Literal["mt-sweeps-best/1"]
    sweep: str = Field(pattern=PLAIN_NAME)
    sweep_id: str
    trial: int
    validation: Validation
    searched: Values
    data_fingerprint: str
    versions: dict[str, str]
    tracking: Tracking
    trainer: TrainerConfig


def best_file(spec: SweepSpec, best: Trial, environment: dict[str, Any]) -> BestFile:
    """The file for a sweep's best trial.

    Args:
        spec: of the sweep.
        best: a completed trial of its search arm.
        environment: what the sweep wrote down when it started.
    """
    error = best.error(spec.metric)
    assert error is not None and best.last is not None  # a completed trial has its last report
    config = spec.config(best.values)
    return BestFile(
        format=FORMAT,
        sweep=spec.name,
        sweep_id=environment["id"],
        trial=best.number,
        validation=Validation(
            metric=spec.metric,
            error=error[0],
            standard_error=error[1],
            images=config.dataset.validation,
            step=best.last.step,
        ),
        searched=best.values,
        data_fingerprint=environment["data_fingerprint"],
        versions=environment["versions"],
        tracking=spec.tracking,
        trainer=config,
    )


def text(best: BestFile) -> str:
    """As YAML; `read` gives it back."""
    head = f"# Best hyper-parameters of the sweep {best.sweep}. Train the final model: mt-sweep train THIS_FILE\n"
    return head + yaml_file.dump(best.model_dump())


def read(path: Path) -> BestFile:
    """A best-hyper-parameters file.

    Raises:
        InputError: it is not one, or of a newer format, or was edited into something that cannot be trained.
    """
    data = yaml_file.read(path)
    if not isinstance(data, dict) or "format" not in data:
        raise InputError(f"{path}: is not a best-hyper-parameters file; write one with `mt-sweep export SWEEP -o FILE`")
    try:
        return BestFile.model_validate(data)
    except ValidationError as error:
        raise InputError(
            *(f"{path}: {'.'.join(map(str, where))}: {what}" for where, what in explain.problems(error, BestFile, data))
        ) from None
