"""What a sweep left unstarted when its driver ended, why, and what goes on with it."""

from mt_sweeps.formatting import counted
from mt_sweeps.spec.arms import BASELINES
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study import budget
from mt_sweeps.study.ledger_view import LedgerView


def unstarted_text(sweep: SweepStore, ledger: LedgerView) -> str:
    """Return why trials were left unstarted, which, and what to do, in words; empty: none were.

    Args:
        sweep: the sweep.
        ledger: of the sweep; only read.
    """
    if not ledger.ended:
        return ""
    left, arms = ledger.remaining("search"), ledger.spec.arms()
    missing = [arm for arm in arms if arm in BASELINES and not ledger.trials(arm)]
    parts = [
        ledger.ended,
        f"{left} of {counted(ledger.total('search'), 'search trial')} were not started" if left else "",
        f"no {' and no '.join(missing)} baseline was run" if missing else "",
        "no finalists were trained" if "finalists" in arms and not ledger.trials("finalists") else "",
        f"to go on, {way_on(sweep, ledger)}",
    ]
    return "; ".join(part for part in parts if part)


def way_on(sweep: SweepStore, ledger: LedgerView) -> str:
    """Return what to do for a sweep to go on that its budget or its patience has ended; arguments as above."""
    limits, file = ledger.spec.budget, sweep.path / "spec.yaml"
    if ledger.ended not in ("", budget.SPENT, budget.FOR_FINALISTS):
        return f"raise budget.patience in {file}"
    if limits.hours is not None and (limits.gpu_hours is None or ledger.active_seconds >= 3600 * limits.hours):
        return f"give it more hours: `{sweep.resume_command} --hours +1`"
    return f"raise budget.gpu_hours in {file}"
