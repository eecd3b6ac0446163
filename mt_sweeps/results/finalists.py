"""Which configurations are trained again, on fresh seeds and label draws: the best of the search and the baselines.

The best of many trials owes a part of its error to luck. What a configuration is worth shows when it is trained again,
and is scored on images that chose nothing; where none are kept back for that, on splits drawn anew.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mt_sweeps.results.statistics import Comparison, Gain, Interval, compare, gain, interval
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec, dotted
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial, best_of

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


def plan(ledger: Ledger) -> list[dict[str, Any]]:
    """The trials of the finalists' arm: `values`, and the arm and number that they are `of`.

    Seeds are the outer axis, so that a budget that ends it leaves every contender as many.
    """
    spec, of = ledger.spec, contenders(ledger)
    return [
        {"of": [trial.arm, trial.number], "values": _values(spec, trial, FIRST_SEED + i)}
        for i in range(spec.finalists.seeds)
        for trial in of
    ]


def errors_by_seed(ledger: Ledger) -> dict[str, dict[int, float]]:
    """The errors of the completed finalists, by contender and by seed: the best of the search, and so on.

    That order is the one in which they were chosen, so that it owes nothing to how they do. Those that were among the
    best before there were more trials come last.
    """
    found: dict[str, dict[int, float]] = {_name(trial.id): {} for trial in contenders(ledger)}
    for trial in _again(ledger):
        if trial.replicates is not None and trial.state == "complete":
            found.setdefault(_name(trial.replicates), {})[int(trial.values["seed"])] = _error(ledger.spec, trial)
    return {name: by_seed for name, by_seed in found.items() if by_seed}


@dataclass(frozen=True)
class Verdict:
    """What the finalists prove.

    Attributes:
        means: by contender, the best of the search first: mean error with its interval, and the seeds behind it.
        comparisons: of the best of the search with every other.
        images: how many were scored on.
        kept_back: whether these chose nothing. Else they were redrawn for every seed from those that chose the best.
        gain: of the best of the search over the supervised baseline; none: one of them has not two seeds.
        failed: by contender, how many of its trainings failed: means and comparisons leave them out.
    """

    means: dict[str, tuple[Interval, int]]
    comparisons: list[Comparison]
    images: int
    kept_back: bool
    gain: Gain | None = None
    failed: dict[str, int] = field(default_factory=dict)


def compare_finalists(ledger: Ledger, images: dict[str, int]) -> Verdict | None:
    """Mean errors with their intervals, and what beats what; none: no contender has two seeds yet.

    Args:
        ledger: of the sweep.
        images: how many serve which purpose.
    """
    of = {name: by_seed for name, by_seed in errors_by_seed(ledger).items() if len(by_seed) > 1}
    if not of:
        return None
    kept_back = images.get("verdict", 0)
    # Where none are kept back, every seed redraws the images that are scored on from those that are trained on.
    overlap = 0.0 if kept_back else images["validation"] / (images["labeled"] + images["unlabeled"])
    scored_on = kept_back or images["validation"]
    first = next(iter(of))
    return Verdict(
        {name: (interval(list(by_seed.values()), overlap), len(by_seed)) for name, by_seed in of.items()},
        compare(of, first, overlap, scored_on),
        scored_on,
        bool(kept_back),
        gain(of[first], of.get("supervised", {}), overlap, scored_on) if first != "supervised" else None,
        dict(
            Counter(_name(trial.replicates) for trial in _again(ledger) if trial.replicates and trial.state == "failed")
        ),
    )


def text(ledger: Ledger, images: dict[str, int]) -> list[str]:
    """The verdict, for people."""
    found = compare_finalists(ledger, images)
    if found is None:
        return []
    where, test = f"{found.images} images that chose nothing", "paired t-test"
    if not found.kept_back:
        where = f"{found.images} images, redrawn for every seed: selection and verdict share images"
        test = "corrected resampled t-test (Nadeau & Bengio 2003)"
    told = [f"verdict    trained again on fresh seeds and label draws, mean error [95 %] on {where}:"]
    for name, (mean, seeds) in found.means.items():
        failed = f"; {found.failed[name]} that failed not counted" if name in found.failed else ""
        told.append(f"           {name:12} {mean} ({seeds} seeds{failed})")
    unknown = [name for name in found.failed if name not in found.means]
    told += [f"           {name:12} {found.failed[name]} failed: too few are left for a mean" for name in unknown]
    told += [f"           {comparison}" for comparison in found.comparisons]
    if found.comparisons:
        many = f", corrected by Holm for {len(found.comparisons)} comparisons" if len(found.comparisons) > 1 else ""
        told.append(f"           (p: {test} over the seeds{many}; each interval for itself)")
    if found.gain is not None:
        told.append(f"gain       over the supervised baseline {found.gain}")
    return told


def _again(ledger: Ledger) -> list[Trial]:
    """The finalists so far."""
    return ledger.trials("finalists") if "finalists" in ledger.spec.arms() else []


def _name(trial: TrialId) -> str:
    return trial.label if trial.arm == "search" else trial.arm


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
