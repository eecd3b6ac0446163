"""The sections of a search-space file, except trainer and search_space."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mt_sweeps.addresses import part_with_credentials
from trainers.config import Settings
from trainers.config.base import MAX_SEED

MAX_TRIALS = 100_000
MAX_CONCURRENT = 100_000
"""Cores of a trial, or trials at once."""


class Sampler(Settings):
    """How the values of the next trial are chosen."""

    name: Literal["tpe", "gp", "random", "grid"] = "tpe"
    seed: int = Field(0, ge=0, le=MAX_SEED)
    prior: Literal["measured", "paper", "none"] = Field(
        "none",
        description="what is tried first, after the points: settings that were good on several sets, the authors' "
        "rules of thumb, or nothing",
    )


class Pruner(Settings):
    """Which trials end early."""

    name: Literal["asha", "median", "none"] = "asha"
    reduction_factor: int = Field(3, ge=2, le=10, description="asha: at each rung, one trial in this many goes on")


class Objective(Settings):
    """The metric that ranks trials, at the last evaluation of each, which is not its luckiest."""

    metric: Literal[
        "validation.teacher_error",
        "validation.student_error",
        "validation.teacher_balanced_error",
        "validation.student_balanced_error",
    ] = Field("validation.teacher_error", description="balanced: the mean of the errors of the classes")
    direction: Literal["minimize"] = "minimize"


class Resources(Settings):
    """The resources of one trial, and how many trials run at once."""

    gpus_per_trial: float | Literal["auto"] = Field(
        "auto", description="auto: one if the machine has GPUs, else none; a fraction: trials share one"
    )
    cpus_per_trial: int | Literal["auto"] = Field(
        "auto", description="auto: one core; on a machine with GPUs, an equal share of the cores"
    )
    max_concurrent: int | Literal["auto"] = Field("auto", description="auto: as many as the machine has resources for")

    @model_validator(mode="after")
    def _check_amounts(self) -> "Resources":
        gpus = self.gpus_per_trial
        if gpus != "auto" and not 0 <= gpus <= 1:
            raise ValueError(
                f"gpus_per_trial ({gpus}) must be auto, or from 0 to 1: a trial trains on one GPU, and more would be "
                "reserved and paid for without being used; use 1, and several GPUs run as many trials at once"
            )
        for name in ("cpus_per_trial", "max_concurrent"):
            if getattr(self, name) != "auto" and not 1 <= getattr(self, name) <= MAX_CONCURRENT:
                raise ValueError(f"{name} ({getattr(self, name)}) must be auto, or from 1 to {MAX_CONCURRENT:,}")
        return self


class Budget(Settings):
    """When to start no more trials, over all arms."""

    hours: float | None = Field(None, gt=0, description="since the sweep began, without pauses")
    gpu_hours: float | None = Field(None, gt=0, description="GPUs per trial times its hours, summed over all trials")
    patience: int | None = Field(
        None,
        ge=1,
        le=MAX_TRIALS,
        description="the search ends when this many completed trials have not improved the best by more than its "
        "standard error",
    )

    def is_spent(self, seconds: float, gpu_seconds: float) -> bool:
        """Return True if no more trials may start after this many seconds and GPU-seconds."""
        limits = ((self.hours, seconds), (self.gpu_hours, gpu_seconds))
        return any(hours is not None and spent >= 3600 * hours for hours, spent in limits)


class Finalists(Settings):
    """Which configurations are trained again and compared after the search, and with which baselines."""

    top: int = Field(
        3,
        ge=0,
        le=100,
        description="number of best configurations that are trained again, beside the baselines; 0: none",
    )
    seeds: int = Field(
        12,
        ge=2,
        le=1000,
        description="number of fresh seeds and label draws for each of them, at most: from the third on, trainings end "
        "when they have decided, or would hardly; docs/verdict.md explains the number",
    )
    smallest_gain: float | None = Field(
        None,
        gt=0,
        le=100,
        description="difference of mean errors that matters to you, in points: trainings also end where those that are "
        "left would hardly show one of this size; none: 1 point, or one image where that is more",
    )
    baselines: list[Literal["probe", "supervised", "published"]] = Field(
        default=["supervised", "published"],
        description="probe: logistic regression on frozen features, there by default with trainer.model.weights",
    )


class Tracking(Settings):
    """Where MLflow keeps the runs, and which models it gets."""

    uri: str | None = Field(None, description="of an MLflow server; none: a store in the home directory")
    experiment: str = Field("mt-sweeps", min_length=1)
    models: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | Literal["all", "none"] = Field(
        "all", description="whose best weights are kept: of all completed trials, or of this many best of the search"
    )

    @field_validator("uri")
    @classmethod
    def _refuse_credentials(cls, uri: str | None) -> str | None:
        if part := part_with_credentials(uri or ""):
            raise ValueError(
                f"holds credentials, or what could be some, in its {part}; take them out and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (for a PostgreSQL database: PGPASSWORD) in the "
                "environment"
            )
        return uri
