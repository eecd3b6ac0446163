"""What a run reports at each evaluation. This module does not import torch, so a driver can read reports quickly."""

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
