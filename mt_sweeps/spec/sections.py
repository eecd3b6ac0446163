"""The groups of settings of a search-space file."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from trainers.config import Settings


class Sampler(Settings):
    """How the next values are chosen."""

    name: Literal["tpe", "gp", "random", "grid"] = "tpe"
    seed: int = Field(0, ge=0)


class Pruner(Settings):
    """Which trials are ended early."""

    name: Literal["asha", "median", "none"] = "asha"
    reduction_factor: int = Field(3, ge=2, le=10, description="one in so many goes on at a rung")


class Objective(Settings):
    """What is best: the last evaluation of a trial, not its luckiest."""

    metric: Literal["validation.teacher_error", "validation.student_error"] = "validation.teacher_error"
    direction: Literal["minimize"] = "minimize"


class Resources(Settings):
    """What one trial takes, and how many run at once."""

    gpus_per_trial: float | Literal["auto"] = Field("auto", description="auto: one where there is one, else none")
    cpus_per_trial: int | Literal["auto"] = Field("auto", description="auto: one core; with GPUs, a fair share")
    max_concurrent: int | Literal["auto"] = Field("auto", description="auto: as many as the resources hold")

    @model_validator(mode="after")
    def _are_amounts(self) -> "Resources":
        gpus = self.gpus_per_trial
        if gpus != "auto" and not (0 <= gpus <= 1 or gpus == int(gpus) > 0):
            raise ValueError(f"gpus_per_trial ({gpus}) must be auto, 0, a fraction below 1, or a whole number")
        for name in ("cpus_per_trial", "max_concurrent"):
            if getattr(self, name) != "auto" and getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be auto or at least 1")
        return self


class Budget(Settings):
    """When to start no more trials, over all arms."""

    hours: float | None = Field(None, gt=0, description="since the sweep began, pauses left out")
    gpu_hours: float | None = Field(None, gt=0, description="GPUs a trial times its hours, summed over the trials")
    patience: int | None = Field(
        None, ge=1, description="completed trials of the search in which the best has not improved beyond its noise"
    )

    def is_spent(self, seconds: float, gpu_seconds: float) -> bool:
        """Whether no more trials are to start after so much work."""
        limits = ((self.hours, seconds), (self.gpu_hours, gpu_seconds))
        return any(hours is not None and spent >= 3600 * hours for hours, spent in limits)


class Finalists(Settings):
    """What the best are to be compared with."""

    top: int = Field(3, ge=0, description="so many of the best are trained again, beside the baselines; 0: none")
    seeds: int = Field(
        6,
        ge=2,
        description="and label draws, that each of them is trained again with: docs/verdict.md says why so many",
    )
    baselines: list[Literal["supervised", "published"]] = Field(default=["supervised", "published"])


class Tracking(Settings):
    """Where the window is."""

    uri: str | None = Field(None, description="of an MLflow server; none: embedded, in the home directory")
    experiment: str = Field("mt-sweeps", min_length=1)
    models: Annotated[int, Field(ge=1)] | Literal["all", "none"] = Field(
        "all", description="whose best weights are kept: those of all completed trials, of so many best of the search"
    )

    @field_validator("uri")
    @classmethod
    def _holds_no_secret(cls, uri: str | None) -> str | None:
        parts = urlsplit(uri or "")
        if parts.password is not None or (parts.username is not None and parts.scheme in ("http", "https")):
            raise ValueError(
                "holds credentials; take them out and set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (of a "
                "PostgreSQL database: PGPASSWORD) in the environment"
            )
        return uri
