"""A warning that `budget.hours` is clearly too short for a sweep, once its trials have shown how fast they are."""

from mt_sweeps.results.time_left import Needed, TimeLeft
from mt_sweeps.spec.speed import enough_hours
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger_view import LedgerView

CLEARLY = 1.25  # times the hours, above which a forecast is worth a warning
_SHARE_OF_A_TRAINING = 0.5  # of its steps, that must have been reported: the pace of the first ones is too slow


class ShortBudget:
    """Compares the hours that a sweep has left with those that it still takes.

    The forecast varies, so after a first comparison it is looked at only until half of the hours are over.

    Args:
        sweep: the sweep.
        ledger: of the sweep; only read.
        time_left: the forecast.
    """

    def __init__(self, sweep: SweepStore, ledger: LedgerView, time_left: TimeLeft) -> None:
        self._sweep, self._ledger, self._time_left = sweep, ledger, time_left
        self._is_compared, self._is_over = False, ledger.spec.budget.hours is None

    def warning(self) -> str | None:
        """Return what the hours leave undone, and the way out; None: nothing, it is too early, or it was returned."""
        if self._is_over or self._time_left.steps < _SHARE_OF_A_TRAINING * self._ledger.spec.total_steps:
            return None
        seconds, active = 3600 * (self._ledger.spec.budget.hours or 0.0), self._time_left.active_seconds
        needed = self._time_left.needed()
        if active >= seconds or (self._is_compared and active > seconds / 2) or not needed.trials:
            self._is_over = True  # what is left undone is announced when it happens
            return None
        self._is_compared = True
        if active + needed.search + needed.finalists <= CLEARLY * seconds:
            return None
        self._is_over = True
        return self._text(needed, seconds - active)

    def _text(self, needed: Needed, left: float) -> str:
        """Return the warning; `left` is how many seconds the budget still has."""
        spec, total = self._ledger.spec, self._ledger.total
        others = sum(total(arm) for arm in spec.arms() if arm not in ("finalists", "probe"))
        share = max(0.0, left - needed.finalists) / needed.search  # the hours of the finalists are kept back
        fitting = others - needed.trials + int(share * needed.trials) if share else 0
        missing = missing_text(fitting, others, total("finalists") if "finalists" in spec.arms() else 0)
        hours = f"+{enough_hours(needed.search + needed.finalists - left):g}"
        command = self._sweep.command("resume", self._sweep.name, "--hours", hours)
        baselines = " and the baselines" if spec.finalists.baselines else ""
        return (
            f"{spec.budget.hours:g} h cut the search{baselines} short: at the speed so far, {missing}; for all of "
            f"them, give it more hours when it has ended: `{command}`"
        )


def missing_text(fitting: int, others: int, finalists: int) -> str:
    """Return how much of a sweep its hours hold, in words.

    Args:
        fitting: trainings of the search and its baselines for which there is time; 0: hardly any.
        others: trainings of the search and its baselines.
        finalists: trainings again, at most.
    """
    if fitting > 0:
        return f"about {fitting} of {others} trainings fit" + " before the finalists" * (finalists > 0)
    return f"few of {others} trainings fit" + f", and not all of the {finalists} finalists" * (finalists > 0)
