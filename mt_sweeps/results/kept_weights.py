"""Which weights of a trial are kept: those of the evaluation with the lowest error, which need not be its last."""

import math
from dataclasses import dataclass

from mt_sweeps.formatting import metric_text, percent
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.trial import Trial
from trainers.report import kept_error


@dataclass(frozen=True)
class KeptWeights:
    """The weights of a trial that are kept: step and validation error of the evaluation that they are of."""

    step: int
    error: float

    def __str__(self) -> str:
        return f"the weights that are kept, those of step {self.step}, with an error of {percent(self.error)}"

    def beside(self, trial: Trial, spec: SweepSpec) -> str | None:
        """Return why the error of their trial is another one, in a sentence; None if they are of its last evaluation.

        Args:
            trial: whose weights they are.
            spec: of the sweep.
        """
        if trial.last is None or trial.last.step == self.step:
            return None
        error = metric_text(spec.error_name, trial.error(spec.metric))
        return (
            f"{trial.id.label} is ranked by its last evaluation, of step {trial.last.step} ({error}); the weights that "
            f"are kept are those of its lowest error, of step {self.step}"
        )


def kept_weights(sweep: SweepStore, trial: Trial) -> KeptWeights | None:
    """Return which weights of a trial are kept, or None if its records are gone.

    Args:
        sweep: has the records of the trial.
        trial: of it, whose weights are kept.
    """
    errors = [(report.step, kept_error(report.metrics)) for report in sweep.trials.records(trial.id)]
    known = [KeptWeights(step, error) for step, error in errors if error is not None and math.isfinite(error)]
    return min(known, key=lambda one: one.error, default=None)
