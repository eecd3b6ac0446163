"""The best configuration of a sweep on one screen, for `best`."""

from mt_sweeps.formatting import labeled, metric_text, percent, value_text
from mt_sweeps.results.best_file import best_trial, from_trial
from mt_sweeps.results.search_gain import search_gain
from mt_sweeps.results.training_result import final_models
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study.ledger_view import ledger_of
from trainers.report import error_name


def best_text(sweep: SweepStore) -> str:
    """Return the values of the best configuration, its errors and how sure one can be of them, and who chose it.

    Raises:
        InputError: no trial has completed.
    """
    ledger = ledger_of(sweep)
    environment = sweep.load_environment()
    best = from_trial(ledger, best_trial(sweep, ledger), environment)
    found, again = best.validation, best.finalists
    lines = [
        f"{best.sweep}: trial {best.trial}",
        *labeled("values", [f"{key} {value_text(value)}" for key, value in best.searched.items()]),
        f"  validation {metric_text(error_name(found.metric), (found.error, found.standard_error))} on "
        f"{found.images} images, which chose it; 95 % interval {_range(found.low, found.high)}",
    ]
    if again is None:
        lines.append("  verdict    not trained again on fresh seeds: how much of this error is luck is not known")
    else:
        others = ", ".join(f"{name} {percent(error)}" for name, error in again.others.items())
        lines.append(
            f"  verdict    {percent(again.error)} on fresh seeds and label draws, mean of {again.seeds} seeds; 95 % "
            f"interval {_range(again.low, again.high)}" + (f"; for comparison {others}" if others else "")
        )
    models = final_models(sweep.home.trained, environment.id)
    lines += labeled("test error", [one.line for one in models if (one.arm, one.trial) == ("search", best.trial)])
    gain = search_gain(ledger, found.images)
    if gain is not None and gain.where_from():
        lines.append(f"  search     {gain.where_from()}")
    lines.append(f"  next       {sweep.command('export', sweep.name, '-o', 'best.yaml')}")
    return "\n".join(lines)


def _range(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {percent(high)}"
