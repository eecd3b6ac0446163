"""Which configurations are trained again, on fresh seeds and label draws: the best of the search and the baselines.

The best of many trials owes a part of its error to luck. What a configuration is worth shows when it is trained again,
and is scored on images that chose nothing; where none are kept back for that, on splits drawn anew.
"""

from typing import Any

from mt_sweeps.spec import SweepSpec, dotted
from mt_sweeps.study import Ledger
from mt_sweeps.trial import Trial, best_of
from mt_sweeps.verdict import compare, interval

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


def errors(ledger: Ledger) -> dict[str, dict[int, float]]:
    """The errors of the completed finalists, by contender, the best of the search first, and by seed."""
    found: dict[str, dict[int, float]] = {}
    for trial in ledger.trials("finalists") if "finalists" in ledger.spec.arms() else []:
        if trial.of is not None and trial.state == "complete":
            arm, number = trial.of
            name = f"trial {number}" if arm == "search" else arm
            found.setdefault(name, {})[int(trial.values["seed"])] = _error(ledger.spec, trial)
    return found


def lines(ledger: Ledger, images: dict[str, int]) -> list[str]:
    """What the finalists prove, for people: mean errors with their intervals, and what beats what.

    Args:
        ledger: of the sweep.
        images: how many serve which purpose.
    """
    of = {name: by_seed for name, by_seed in errors(ledger).items() if len(by_seed) > 1}
    if not of:
        return []
    kept_back = images.get("verdict", 0)
    # Where none are kept back, every seed redraws the images that are scored on from those that are trained on.
    overlap = 0.0 if kept_back else images["validation"] / (images["labeled"] + images["unlabeled"])
    where = (
        f"{kept_back} images that chose nothing"
        if kept_back
        else f"{images['validation']} images, redrawn for every seed: selection and verdict share images"
    )
    found = [f"verdict    trained again on fresh seeds and label draws, mean error [95 %] on {where}:"]
    for name, by_seed in of.items():
        found.append(f"           {name:12} {interval(list(by_seed.values()), overlap)} ({len(by_seed)} seeds)")
    comparisons = compare(of, next(iter(of)), overlap, kept_back or images["validation"])
    return [*found, *(f"           {comparison}" for comparison in comparisons)]


def _error(spec: SweepSpec, trial: Trial) -> float:
    assert trial.last is not None  # it is complete
    metrics = trial.last.metrics
    network = "student" if "student" in spec.metric or "validation.teacher_error" not in metrics else "teacher"
    return metrics.get(f"verdict.{network}_error", metrics[f"validation.{network}_error"])


def _values(spec: SweepSpec, trial: Trial, seed: int) -> dict[str, Any]:
    config = spec.config(trial.values, trial.arm)
    values = dotted(config.model_dump(exclude={"dataset"}, exclude_none=True))
    values |= {"seed": seed, "verdict": config.dataset.verdict > 0}
    if not config.dataset.verdict:
        return values | {"dataset.split_seed": seed}
    return values if config.dataset.labels == "all" else values | {"dataset.label_seed": seed}
