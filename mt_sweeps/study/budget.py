"""When a sweep has spent enough: on its search, whose best may not improve any more, and in all."""

from mt_sweeps.study.ledger import Ledger

SPENT = "the budget is spent"


def is_spent(ledger: Ledger, seconds: float, gpu_seconds: float) -> bool:
    """Whether no more trials of any arm are to start.

    Args:
        ledger: of the sweep.
        seconds: that drivers have worked on it.
        gpu_seconds: that its trials took, times the GPUs of each.
    """
    return ledger.spec.budget.is_spent(seconds, gpu_seconds)


def stop_reason(ledger: Ledger, seconds: float, gpu_seconds: float, gpus: float, concurrent: int) -> str:
    """Why no more trials are to be searched with; empty: they are.

    The search ends in time to leave what the finalists are forecast to need at the speed of the trials so far.

    Args:
        ledger: of the sweep.
        seconds: that drivers have worked on it.
        gpu_seconds: that its trials took, times the GPUs of each.
        gpus: of a trial.
        concurrent: trials at once.
    """
    budget, work = ledger.spec.budget, _of_finalists(ledger)
    if budget.is_spent(seconds, gpu_seconds):
        return SPENT
    if budget.is_spent(seconds + work / concurrent, gpu_seconds + work * gpus):
        return "what is left of the budget is for the finalists"
    if budget.patience is not None and ledger.trials_since_improvement() >= budget.patience:
        return f"the best has not improved beyond its noise for {budget.patience} completed trials"
    return ""


def _of_finalists(ledger: Ledger) -> float:
    """Seconds of work that the finalists still need, one after the other; 0 while no trial has ended."""
    if "finalists" not in ledger.spec.arms():
        return 0.0
    a_step = ledger.seconds_done / max(1, ledger.steps_done)
    return a_step * ledger.spec.steps * ledger.remaining("finalists")
