"""That the linear probe is not beaten: on fresh seeds, or, while no verdict compares it, on the validation images."""

from collections.abc import Sequence

from mt_sweeps.formatting import metric_text
from mt_sweeps.results.statistics import Comparison
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import best_of


def probe_text(comparisons: Sequence[Comparison], kept_back: bool) -> str | None:
    """Return that the linear probe is not beaten by the best of the search; None if it is, or there is none.

    Args:
        comparisons: of the verdict.
        kept_back: as of the verdict.
    """
    against = next((one for one in comparisons if one.b == "probe" and one.a.startswith("trial ")), None)
    if against is None or against.winner not in ("", "probe"):
        return None
    how = "is better than" if against.winner else "does not differ significantly from"
    favour = "" if kept_back else " (the images that score it chose its penalty, which favours it)"
    return f"the linear probe is not beaten: it {how} the best of the search, and is fitted in seconds{favour}"


def unbeaten_in_validation(ledger: LedgerView, comparisons: Sequence[Comparison]) -> str | None:
    """Return that the best of the search has no lower validation error than the linear probe, where no verdict says it.

    Args:
        ledger: of the sweep; only read.
        comparisons: of the verdict; empty: there is none.

    Returns:
        A sentence without its full stop; None if the error is lower, one of the two has not completed, or a verdict
        compares them.
    """
    metric, best = ledger.spec.metric, ledger.best()
    probe = best_of(ledger.trials("probe"), metric) if "probe" in ledger.spec.arms() else None
    if best is None or probe is None or any(one.b == "probe" for one in comparisons):
        return None
    if best.objective(metric) < probe.objective(metric):
        return None
    of_probe, of_best = (metric_text(ledger.spec.error_name, trial.error(metric)) for trial in (probe, best))
    return (
        f"the linear probe is not beaten on the validation images: it has {of_probe}, and the best of the search "
        f"{of_best}; it is fitted in seconds; no verdict compares the two, and these images chose both the best and "
        "the probe's penalty"
    )
