"""How fast a training is, as measured on a machine."""

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
