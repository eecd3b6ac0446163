"""The answer of a sweep in a sentence: what stands first where people look."""

from mt_sweeps.formatting import metric_text
from mt_sweeps.results import class_errors
from mt_sweeps.results.cautions import nothing_learned
from mt_sweeps.results.finalists import Verdict, compare_finalists
from mt_sweeps.results.probe import unbeaten_in_validation
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger import Ledger


def headline_text(sweep: SweepStore, ledger: Ledger, environment: Environment) -> str:
    """Return the verdict in a sentence without its full stop, or why there is none.

    Args:
        sweep: the sweep.
        ledger: of the sweep; only read.
        environment: recorded when the sweep started.
    """
    best, images = ledger.best(), environment.images
    if best is None:
        return "No trial of the search has completed"
    if learned_nothing := nothing_learned(ledger, images, class_errors.guessing_error(sweep, ledger)):
        return _capitalized(learned_nothing)
    verdict = compare_finalists(ledger, images, environment.groups)
    probe = unbeaten_in_validation(ledger, verdict.comparisons if verdict else [])
    if probe:
        return _capitalized(probe if verdict is None else f"{probe}; {_verdict_text(verdict)}")
    if verdict is None:
        error = metric_text(ledger.spec.error_name, best.error(ledger.spec.metric))
        return (
            f"{_capitalized(best.id.label)} is the best of the search, {error} on the images that chose it; it was not "
            "trained again on fresh seeds, so there is no verdict"
        )
    return _capitalized(_verdict_text(verdict))


def _verdict_text(verdict: Verdict) -> str:
    against = {comparison.b: comparison for comparison in verdict.comparisons}
    if not against:
        name, mean = next(iter(verdict.means.items()))
        why = verdict.not_compared or "there is no baseline to compare it with"
        return f"{name} was trained again on {mean.seeds} fresh seeds: {mean}; {why}"
    first = next((against[arm] for arm in ("supervised", "published") if arm in against), verdict.comparisons[0])
    return f"{first}; {verdict.probe}" if verdict.probe else str(first)


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
