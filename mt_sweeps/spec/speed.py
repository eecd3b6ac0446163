"""How fast a training is, as measured on a machine."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Speed:
    """Seconds of one training.

    Attributes:
        step: per optimiser step.
        evaluation: per evaluation.
    """

    step: float
    evaluation: float

    def seconds(self, steps: int, evaluations: int) -> float:
        """Return the seconds that so many steps and evaluations take, one after the other."""
        return steps * self.step + evaluations * self.evaluation


def enough_hours(seconds: float) -> float:
    """Return seconds as hours, rounded up to two digits: a budget of so many hours holds them."""
    hours = seconds / 3600
    digits = 1 - math.floor(math.log10(hours)) if hours > 0 else 0
    unit = 10.0**-digits
    return float(round(math.ceil(round(hours / unit, 6)) * unit, max(0, digits)))
