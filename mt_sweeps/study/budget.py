"""When a sweep has spent enough: its search, or all of it."""

from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import trials_since_improvement

SPENT = "the budget is spent"


def is_spent(ledger: LedgerView, seconds: float, gpu_seconds: float) -> bool:
    """Return True if no more trials of any arm are to start.

    Args:
        ledger: of the sweep.
        seconds: that drivers have worked on it.
        gpu_seconds: that its trials took, times the GPUs of each.
    """
    return ledger.spec.budget.is_spent(seconds, gpu_seconds)


def stop_reason(ledger: LedgerView, seconds: float, gpu_seconds: float, gpus: float, concurrent: int) -> str | None:
    """Return why the search is to start no more trials, or None if it goes on.

    It stops in time to leave what the finalists are forecast to need, at the speed of the trials so far.

    Args:
        ledger: of the sweep.
        seconds: that drivers have worked on it.
        gpu_seconds: that its trials took, times the GPUs of each.
        gpus: per trial.
        concurrent: trials at once.
    """
    spec, reserved = ledger.spec, _seconds_of_finalists(ledger)
    if spec.budget.is_spent(seconds, gpu_seconds):
        return SPENT
    if spec.budget.is_spent(seconds + reserved / concurrent, gpu_seconds + reserved * gpus):
        return "what is left of the budget is for the finalists"
    patience = spec.budget.patience
    if patience is not None and trials_since_improvement(ledger.trials("search"), spec.metric) >= patience:
        return f"the best has not improved beyond its noise for {patience} completed trials"
    return None


def _seconds_of_finalists(ledger: LedgerView) -> float:
    """Return the seconds that the finalists still need, one after the other; 0 while no trial has ended."""
    if "finalists" not in ledger.spec.arms():
        return 0.0
    spec, seconds_per_step = ledger.spec, ledger.seconds_done / max(1, ledger.steps_done)
    contenders = min(spec.finalists.top, spec.trials) + len(spec.finalists.baselines)
    trained = contenders - ("probe" in spec.finalists.baselines)  # a probe takes seconds
    return seconds_per_step * spec.total_steps * ledger.remaining("finalists") * trained / contenders
