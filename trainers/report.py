"""What a run reports at each evaluation. This module does not import torch, so a driver can read reports quickly."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """One evaluation.

    Attributes:
        step: optimiser steps taken.
        time: when, in seconds since 1970.
        metrics: `validation.*` errors as fractions, `train.*` losses as means since the previous report,
            `time.*_seconds` since the start of the run.
    """

    step: int
    time: float
    metrics: dict[str, float]

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
    return math.sqrt(n * rate * (1.0 - rate) + 0.25) / (n + 1)
