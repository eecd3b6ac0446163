"""Which configurations are trained again, on fresh seeds and label draws: the best of the search and the baselines.

The best of many trials owes a part of its error to luck. What a configuration is worth shows when it is trained again,
and is scored on images that chose nothing.
"""

from statistics import mean, stdev
from typing import Any

from mt_sweeps.spec import SweepSpec, dotted
from mt_sweeps.study import Ledger
from mt_sweeps.trial import Trial, best_of

FIRST_SEED = 10_000  # far from those that a search uses


def contenders(ledger: Ledger) -> list[Trial]:
    """The best completed configurations of the search, whatever their seed, then the best of each baseline."""
    spec = ledger.spec
    searched = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    distinct: dict[str, Trial] = {}
    for trial in sorted(searched, key=lambda trial: trial.objective(spec.metric)):
        distinct.setdefault(str({**trial.values, "seed": None}), trial)
    best = list(distinct.values())[: spec.finalists.top]
    baselines = [best_of(ledger.trials(arm), spec.metric) for arm in spec.arms() if arm in spec.finalists.baselines]
    return best and best + [trial for trial in baselines if trial is not None]


def planned(ledger: Ledger) -> list[dict[str, Any]]:
    """The trials of the finalists' arm: `values`, and the arm and number that they are `of`.

    Seeds are the outer axis, so that a budget that ends it leaves every contender as many.
    """
    spec, of = ledger.spec, contenders(ledger)
    return [
        {"of": [trial.arm, trial.number], "values": _values(spec, trial, FIRST_SEED + i)}
        for i in range(spec.finalists.seeds)
        for trial in of
    ]


def lines(ledger: Ledger) -> list[str]:
    """What came of them, for people: the mean error of each and its standard error over the seeds."""
    of: dict[tuple[str, int], list[float]] = {}
    for trial in ledger.trials("finalists") if "finalists" in ledger.spec.arms() else []:
        if trial.of is not None and trial.state == "complete":
            of.setdefault(trial.of, []).append(_error(ledger.spec, trial))
    if not of:
        return []
    images = "verdict" if ledger.spec.sample_config().dataset.verdict else "validation"
    found = [f"finalists  trained again on fresh seeds and label draws, mean error on the {images} images:"]
    for (arm, number), errors in of.items():
        name = f"trial {number}" if arm == "search" else arm
        spread = stdev(errors) / len(errors) ** 0.5 if len(errors) > 1 else None
        told = f"{100 * mean(errors):.1f} %" + (f" ± {100 * spread:.1f}" if spread is not None else "")
        found.append(f"           {name:12} {told} ({len(errors)} seeds)")
    return found


def _error(spec: SweepSpec, trial: Trial) -> float:
    assert trial.last is not None  # it is complete
    metrics = trial.last.metrics
    network = "student" if "student" in spec.metric or "validation.teacher_error" not in metrics else "teacher"
    return metrics.get(f"verdict.{network}_error", metrics[f"validation.{network}_error"])


def _values(spec: SweepSpec, trial: Trial, seed: int) -> dict[str, Any]:
    config = spec.config(trial.values, trial.arm)
    values = dotted(config.model_dump(exclude={"dataset"}, exclude_none=True))
    values |= {"seed": seed, "verdict": config.dataset.verdict > 0}
    return values if config.dataset.labels == "all" else values | {"dataset.label_seed": seed}
