"""When a sweep has spent enough: its search, or all of it."""

from mt_sweeps.spec.speed import enough_hours
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import trials_since_improvement

SPENT = "the budget is spent"
FOR_FINALISTS = "what is left of the budget is for the finalists"


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

    It stops in time to leave what the finalists are forecast to need, at the speed of the trials so far. A trial of
    each baseline comes before that: without one, the finalists could not be compared with it.

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
        return FOR_FINALISTS
    patience = spec.budget.patience
    if patience is not None and trials_since_improvement(ledger.trials("search"), spec.metric) >= patience:
        return f"the best has not improved beyond its noise for {patience} completed trials"
    return None


def hours_to_search_on(ledger: LedgerView, seconds: float, concurrent: int) -> float | None:
    """Return the hours that the budget lacks for the rest of the search, its baselines and the finalists.

    Args:
        ledger: of the sweep.
        seconds: that drivers have worked on it.
        concurrent: trials at once.

    Returns:
        Hours, without pruning; None: `budget.hours` holds all of them, or is not set.
    """
    spec = ledger.spec
    if spec.budget.hours is None:
        return None
    left = sum(ledger.remaining(arm) for arm in spec.arms() if arm not in ("finalists", "probe"))
    needed = left * _seconds_per_training(ledger) + _seconds_of_finalists(ledger)
    lacking = seconds + needed / concurrent - 3600 * spec.budget.hours
    return enough_hours(lacking) if lacking > 0 else None


def _seconds_of_finalists(ledger: LedgerView) -> float:
    """Return the seconds that the finalists still need, one after the other.

    0 while an arm has no trial that has ended: then there is nothing to train again, or to compare it with.
    """
    spec = ledger.spec
    if "finalists" not in spec.arms():
        return 0.0
    if not all(any(trial.finished for trial in ledger.trials(arm)) for arm in spec.arms() if arm != "finalists"):
        return 0.0
    contenders = min(spec.finalists.top, spec.trials) + len(spec.finalists.baselines)
    trained = contenders - ("probe" in spec.finalists.baselines)  # a probe takes seconds
    return _seconds_per_training(ledger) * ledger.remaining("finalists") * trained / contenders


def _seconds_per_training(ledger: LedgerView) -> float:
    return ledger.seconds_done / max(1, ledger.steps_done) * ledger.spec.total_steps
