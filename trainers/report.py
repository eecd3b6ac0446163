"""What a run reports at each evaluation. This module does not import torch, so a driver can read reports quickly."""

import math
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

NORMAL_95 = NormalDist().inv_cdf(0.975)
"""1.96: standard errors from the mean to either end of a normal 95 % interval."""


@dataclass(frozen=True)
class Report:
    """One evaluation.

    Attributes:
        step: optimiser steps taken.
        time: when, in seconds since 1970.
        metrics: `validation.*` errors as fractions, `train.*` losses as means since the previous report,
            `time.*_seconds` since the start of the run.
        confusion: of each network on the validation images, and on those of the verdict, as `Confusion.as_json` has it,
            by names such as `validation.teacher`. It is kept in the records alone: a thousand classes are too many
            numbers for metrics.
        correct: which validation images each network classified correctly, as `correct_bits` packs them, by names such
            as `validation.teacher`. It is kept in the records alone, too.
    """

    step: int
    time: float
    metrics: dict[str, float]
    confusion: dict[str, dict[str, Any]] = field(default_factory=dict)
    correct: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds spent on the run so far: on its data, its steps and its evaluations."""
        return sum(
            value for name, value in self.metrics.items() if name.startswith("time.") and name.endswith("_seconds")
        )


def rate_standard_error(rate: float, n: int) -> float:
    """Return the standard error of a rate that was measured on n images.

    It is half the width of Wilson's 68.27 % interval (Wilson 1927, "Probable inference, the law of succession, and
    statistical inference", with z = 1): above 0 also for a rate of 0 or 1, and else nearly the binomial standard error.

    Args:
        rate: in [0, 1].
        n: at least 1.
    """
    return _wilson(rate, n, 1.0)[1]


def rate_interval(rate: float, n: int) -> tuple[float, float]:
    """Return the ends of Wilson's 95 % interval of a rate that was measured on n images, in [0, 1].

    Args:
        rate: in [0, 1], a whole number of images over n.
        n: at least 1.
    """
    middle, half = _wilson(rate, n, NORMAL_95)
    return max(middle - half, 0.0) if rate > 0 else 0.0, min(middle + half, 1.0) if rate < 1 else 1.0


def _wilson(rate: float, n: int, z: float) -> tuple[float, float]:
    """Return the middle of Wilson's interval, and half of its width; `z` is its half width in standard errors."""
    middle = (n * rate + z**2 / 2) / (n + z**2)
    return middle, z * math.sqrt(n * rate * (1.0 - rate) + z**2 / 4) / (n + z**2)


def metric_of(metric: str, network: str, purpose: str = "validation") -> str:
    """Return the name of the same metric of another network or other images.

    Args:
        metric: such as `validation.teacher_balanced_error`.
        network: `student` or `teacher`.
        purpose: of the images: `validation` or `verdict`.
    """
    return f"{purpose}.{network}_{metric.partition('_')[2]}"


def error_name(metric: str) -> str:
    """Return what an error is called where people read it: `error` or `balanced error`."""
    return metric.partition("_")[2].replace("_", " ")


def kept_error(metrics: dict[str, float]) -> float | None:
    """Return the error by which a run keeps its best weights: the teacher's, or if it has none the student's.

    Args:
        metrics: of an evaluation.
    """
    return metrics.get("validation.teacher_error", metrics.get("validation.student_error"))


def standard_error_of(metric: str) -> str:
    """Return the name under which the standard error of an error is reported."""
    return metric.removesuffix("_error") + "_standard_error"
