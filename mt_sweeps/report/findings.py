"""What a sweep found, as data: all that its report shows, and `report --json` prints.

Errors are fractions, hours are those that workers spent, curves are thinned: a sweep of a thousand trials is as quickly
read as one of sixteen.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mt_sweeps.report.axes import Axis, axes
from mt_sweeps.results import finalists
from mt_sweeps.results.cautions import cautions
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study import pruner
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial, best_of
from trainers.report import Report

FORMAT = "mt-sweeps-report/1"
STATES = ("complete", "pruned", "failed", "running", "waiting")
MOST_LINES = 300  # trials that are drawn as lines, spread evenly over their ranks
_MOST_POINTS = 60  # of one learning curve
_FIFTH = 5  # the good region is where the best fifth lies
_FEWEST = 6  # completed trials, below which a best fifth says nothing


def gather(directory: SweepStore, ledger: Ledger, state: str) -> dict[str, Any]:
    """Everything there is to tell of a sweep.

    Args:
        directory: of the sweep.
        ledger: of it; only read.
        state: running, interrupted or finished.

    Returns:
        JSON of the shape `FORMAT`: `sweep`, `verdict`, `cautions`, `best`, `baselines`, `trials` (of the search),
        `progress` (in the order in which they ended), `curves`, `parameters`, `importance`, `rungs`, `failures`,
        `finalists`, `cost`, `reproduction`. What there is nothing of is null or empty.
    """
    spec, environment = ledger.spec, directory.load_environment()
    searched, best, good = ledger.trials("search"), ledger.best(), best_fifth(ledger)
    found = finalists.compare_finalists(ledger, environment.images)
    gpus = environment.gpus_per_trial
    return {
        "format": FORMAT,
        "sweep": {
            "name": directory.name,
            "state": state,
            "metric": spec.metric,
            "network": "student" if "student" in spec.metric else "teacher",
            "steps": spec.steps,
            "started": environment.started,
            "seconds": ledger.active_seconds,
            "images": environment.images,
            "states": {name: sum(trial.state == name for trial in searched) for name in STATES},
        },
        "verdict": None if found is None else _verdict(found),
        "cautions": cautions(ledger, environment.images),
        "best": None if best is None else _trial(best, spec) | {"standard_error": _standard_error(best, spec)},
        "baselines": {
            arm: {"error": trial.objective(spec.metric), "standard_error": _standard_error(trial, spec)}
            for arm in spec.finalists.baselines
            if (trial := best_of(ledger.trials(arm), spec.metric))
        },
        "trials": [_trial(trial, spec) for trial in searched],
        "progress": _progress(searched, spec, gpus),
        "curves": _curves(directory, ledger),
        "parameters": [_parameter(axis, good) for axis in axes(spec)],
        "good": [trial.number for trial in good],
        "importance": _importance(ledger, good),
        "rungs": [asdict(one) | {"is_guessing": one.is_guessing} for one in ledger.correlations()],
        "failures": _failures(ledger),
        "finalists": finalists.errors_by_seed(ledger),
        "cost": _cost(ledger, gpus),
        "reproduction": {
            "command": "mt-sweep run spec.yaml",
            "spec": directory.spec_text(),
            "versions": environment.versions,
            "seeds": environment.seeds,
            "data_fingerprint": environment.data_fingerprint,
            "platform": environment.platform,
            "id": environment.id,
            "gpus_per_trial": environment.gpus_per_trial,
            "concurrent": environment.concurrent,
        },
    }


def best_fifth(ledger: Ledger) -> list[Trial]:
    """The best fifth of the completed trials of the search, at least three; none: too few have completed."""
    complete = _by_error(ledger)
    return complete[: max(3, math.ceil(len(complete) / _FIFTH))] if len(complete) >= _FEWEST else []


def spread(trials: Sequence[Any], most: int = MOST_LINES) -> list[Any]:
    """So many of them, evenly over their order, the first and the last included."""
    if len(trials) <= most:
        return list(trials)
    return [trials[round(i * (len(trials) - 1) / (most - 1))] for i in range(most)]


def _by_error(ledger: Ledger) -> list[Trial]:
    complete = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    return sorted(complete, key=lambda trial: trial.objective(ledger.spec.metric))


def _trial(trial: Trial, spec: SweepSpec) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": trial.state,
        "step": trial.step,
        "error": trial.objective(spec.metric) if trial.state == "complete" else None,
        "values": trial.values,
    }


def _standard_error(trial: Trial, spec: SweepSpec) -> float | None:
    error = trial.error(spec.metric)
    return error and error[1]


def _verdict(found: finalists.Verdict) -> dict[str, Any]:
    return {
        "means": {name: asdict(mean) for name, mean in found.means.items()},
        "comparisons": [asdict(one) | {"winner": one.winner, "told": str(one)} for one in found.comparisons],
        "gain": found.gain and asdict(found.gain) | {"told": str(found.gain)},
        "failed": found.failed,
        "images": found.images,
        "kept_back": found.kept_back,
    }


def _progress(searched: list[Trial], spec: SweepSpec, gpus: float) -> list[dict[str, Any]]:
    """The trials that ended, in that order, with what all of them had cost by then and the best so far."""
    rows: list[dict[str, Any]] = []
    seconds, best = 0.0, None
    ended = [trial for trial in searched if trial.finished]
    for trial in sorted(ended, key=lambda t: (t.last.time if t.last else t.attempt_started, t.number)):
        seconds += trial.seconds
        error = trial.objective(spec.metric) if trial.state == "complete" else None
        best = error if best is None or (error is not None and error < best) else best
        hours = {"hours": seconds / 3600, "gpu_hours": gpus * seconds / 3600}
        rows.append({"trial": trial.number, "state": trial.state, **hours, "error": error, "best": best})
    return rows


def _curves(directory: SweepStore, ledger: Ledger) -> dict[str, Any]:
    """Learning curves of the search, the best first, and of the best supervised baseline."""
    spec, metric = ledger.spec, ledger.spec.metric
    begun = [trial for trial in ledger.trials("search") if trial.step]
    # Those that ended early are ranked by their last report, behind those that reached the end.
    begun.sort(key=lambda t: (t.state != "complete", (t.error(metric) or (1.0, 0.0))[0]))
    baseline = best_of(ledger.trials("supervised"), metric) if "supervised" in spec.arms() else None
    lines = [_curve(directory, trial) for trial in [*spread(begun), *([baseline] if baseline else [])]]
    best = ledger.best()
    config = spec.config(best.values) if best else None
    return {
        "of": len(begun),
        "rungs": pruner.rungs(spec),
        "ramp_up": config.ramp_up_steps if config is not None and config.method != "supervised" else None,
        "best": best and best.number,
        "lines": [line for line in lines if line["step"]],
    }


def _curve(directory: SweepStore, trial: Trial) -> dict[str, Any]:
    reports = spread(directory.trials.records(trial.id), _MOST_POINTS)
    curve = {"arm": trial.arm, "trial": trial.number, "step": [report.step for report in reports]}
    return curve | {network: [_error(report, network) for report in reports] for network in ("student", "teacher")}


def _error(report: Report, network: str) -> float | None:
    error = report.metrics.get(f"validation.{network}_error")
    return round(error, 5) if error is not None and math.isfinite(error) else None


def _parameter(axis: Axis, good: list[Trial]) -> dict[str, Any]:
    """What is searched on an axis, and where the best fifth lies: in a range, or at choices; null: none of it.

    The range leaves out a tenth of them at either end. A choice is marked where it has its even share of them or more.
    """
    values = [axis.value(trial.values) for trial in good if axis.holds(trial.values)]
    region: Any = None
    if values and axis.choices:
        counts = {choice: values.count(choice) for choice in axis.choices}
        even = len(values) / len(counts)
        region = [{"choice": choice, "trials": n, "marked": n >= even} for choice, n in counts.items()]
    elif values:
        ranked, tenth = sorted(values, key=axis.fraction_of), len(values) // 10
        region = {"low": ranked[tenth], "high": ranked[-1 - tenth]}
    return {
        "key": axis.key,
        "name": axis.name,
        "where": axis.where,
        "scale": axis.scale,
        "range": axis.choices or list(axis.ends),
        "good": region,
        "good_trials": len(values),
    }


def _importance(ledger: Ledger, good: list[Trial]) -> dict[str, Any] | None:
    """How much each key decides whether a trial is among the best fifth, in shares of 1; none: it cannot be told.

    Optuna's PED-ANOVA (Watanabe et al. 2023), which knows conditional branches; those of one key are added up.
    """
    found, complete = axes(ledger.spec), _by_error(ledger)
    keys = list(dict.fromkeys(axis.key for axis in found))
    if not good or len(keys) < 2:
        return None
    import optuna  # takes its time to load
    from optuna.distributions import CategoricalDistribution, FloatDistribution
    from optuna.importance import PedAnovaImportanceEvaluator

    study = optuna.create_study()
    for trial in complete:
        held = [axis for axis in found if axis.holds(trial.values)]
        study.add_trial(
            optuna.create_trial(
                value=trial.objective(ledger.spec.metric),
                params={axis.name: axis.fraction_of(axis.value(trial.values)) for axis in held},
                distributions={
                    axis.name: CategoricalDistribution([axis.fraction_of(choice) for choice in axis.choices])
                    if axis.choices
                    else FloatDistribution(0.0, 1.0)
                    for axis in held
                },
            )
        )
    with warnings.catch_warnings(action="ignore"):  # that there are few trials is said in the caption
        by_name = PedAnovaImportanceEvaluator(target_quantile=len(good) / len(complete)).evaluate(study)
    shares = {key: sum(by_name.get(axis.name, 0.0) for axis in found if axis.key == key) for key in keys}
    total = sum(shares.values())
    if not total:
        return None
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return {
        "method": "PED-ANOVA",
        "complete": len(complete),
        "good": len(good),
        "shares": {k: v / total for k, v in ranked},
    }


def _failures(ledger: Ledger) -> list[dict[str, Any]]:
    failed = [trial for trial in ledger.all_trials() if trial.state == "failed"]
    by_reason: dict[str, list[Trial]] = {}
    for trial in failed:
        by_reason.setdefault(trial.reason, []).append(trial)
    ranked = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return [
        {
            "reason": reason,
            "trials": [{"arm": trial.arm, "trial": trial.number} for trial in trials],
            "message": trials[0].message,
        }
        for reason, trials in ranked
    ]


def _cost(ledger: Ledger, gpus: float) -> list[dict[str, Any]]:
    rows = []
    for arm in ledger.spec.arms():
        for state in STATES:
            trials = [trial for trial in ledger.trials(arm) if trial.state == state]
            hours = sum(trial.seconds for trial in trials) / 3600
            if trials:
                steps = sum(trial.step for trial in trials)
                counts = {"trials": len(trials), "steps": steps, "hours": hours, "gpu_hours": gpus * hours}
                rows.append({"arm": arm, "state": state, **counts})
    return rows
