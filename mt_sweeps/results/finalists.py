"""The finalists: the best of the search and the baselines, trained again on fresh seeds and label draws, and compared.

The best of many trials owes a part of its error to luck. A fair estimate needs a new training, scored on images that
chose nothing. If no images are kept back for that, every seed draws the whole split anew.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mt_sweeps.results.statistics import Comparison, Gain, Interval, compare, gain, interval
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec, dotted
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import Trial, best_of
from trainers.report import metric_of

FIRST_SEED = 10_000  # far from those that a search uses


def contenders(ledger: LedgerView) -> list[Trial]:
    """Return the trials that are trained again: the best of the search, then the best of each baseline.

    Trials that differ only in their seed count as one configuration.
    """
    spec = ledger.spec
    searched = [trial for trial in ledger.trials("search") if trial.state == "complete"]
    distinct: dict[str, Trial] = {}
    for trial in sorted(searched, key=lambda trial: trial.objective(spec.metric)):
        distinct.setdefault(str({**trial.values, "seed": None}), trial)
    best = list(distinct.values())[: spec.finalists.top]
    baselines = [best_of(ledger.trials(arm), spec.metric) for arm in spec.arms() if arm in spec.finalists.baselines]
    return best and best + [trial for trial in baselines if trial is not None]


def plan(ledger: LedgerView) -> list[dict[str, Any]]:
    """Return the trials of the finalists' arm, as `Ledger.add_finalists` takes them.

    The first seed of every contender comes before the second of any, so that all have about as many seeds if the
    budget ends the arm early.

    Returns:
        Of each trial, its `values`, and `of`: the arm and number of the trial that it trains again.
    """
    spec, trials = ledger.spec, contenders(ledger)
    return [
        {"of": [trial.arm, trial.number], "values": _values(spec, trial, FIRST_SEED + i)}
        for i in range(spec.finalists.seeds)
        for trial in trials
    ]


def errors_by_seed(ledger: LedgerView) -> dict[str, dict[int, float]]:
    """Return the errors of the completed finalists, by contender and by seed.

    Contenders stand in the order in which they were chosen, the best of the search first, so that the order does not
    depend on the finalists' own errors. Those that later trials pushed out of the best come last.
    """
    errors: dict[str, dict[int, float]] = {contender_name(trial.id): {} for trial in contenders(ledger)}
    for trial in _finalists(ledger):
        if trial.replicates is not None and trial.state == "complete":
            by_seed = errors.setdefault(contender_name(trial.replicates), {})
            by_seed[int(trial.values["seed"])] = _error(ledger.spec, trial)
    return {name: by_seed for name, by_seed in errors.items() if by_seed}


@dataclass(frozen=True)
class MeanError(Interval):
    """The mean error of a contender over its seeds, with its 95 % confidence interval, as fractions."""

    seeds: int


@dataclass(frozen=True)
class Verdict:
    """What the finalists prove.

    Attributes:
        means: by contender, the best of the search first.
        comparisons: of the best of the search with every other contender.
        gain: of the best of the search over the supervised baseline, or None if one of them has fewer than two seeds.
        failed: number of failed trainings by contender; means and comparisons leave them out.
        images: number of images that errors were measured on.
        kept_back: whether these images chose nothing; else every seed redrew them from those that chose the best.
        probe: that the linear probe is not beaten, in words; None if it is, or there is none.
    """

    means: dict[str, MeanError]
    comparisons: list[Comparison]
    gain: Gain | None
    failed: dict[str, int]
    images: int
    kept_back: bool
    probe: str | None = None


def compare_finalists(
    ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None = None
) -> Verdict | None:
    """Return mean errors with their intervals and the comparisons, or None while no contender has two seeds.

    Args:
        ledger: of the sweep.
        images: number of images by purpose.
        groups: number of groups of images by purpose, as in `Environment`; None or empty: each image is on its own.
    """
    errors = {name: by_seed for name, by_seed in errors_by_seed(ledger).items() if len(by_seed) > 1}
    if not errors:
        return None
    overlap, scored, kept_back = scored_on(ledger.spec, images, groups)
    first = next(iter(errors))
    failed = [trial.replicates for trial in _finalists(ledger) if trial.replicates and trial.state == "failed"]
    comparisons = compare(errors, first, overlap, scored)
    return Verdict(
        means={name: _mean_error(by_seed, overlap, scored) for name, by_seed in errors.items()},
        comparisons=comparisons,
        gain=None if first == "supervised" else gain(errors[first], errors.get("supervised", {}), overlap, scored),
        failed=dict(Counter(map(contender_name, failed))),
        images=scored,
        kept_back=kept_back,
        probe=probe_text(comparisons, kept_back),
    )


def scored_on(spec: SweepSpec, images: dict[str, int], groups: dict[str, int] | None = None) -> tuple[float, int, bool]:
    """Return what `statistics.compare` has to know of the images that finalists are scored on.

    Args:
        spec: of the sweep.
        images: as of `compare_finalists`.
        groups: as of `compare_finalists`.

    Returns:
        How far trainings overlap, the number of images, and whether these chose nothing.
    """
    if kept_back := images.get("verdict", 0):
        return 0.0, kept_back, True
    # With none kept back, every seed redraws the images of the verdict from the same pool as those of the training.
    # What is drawn are whole groups, so groups are counted, and not images.
    counts = groups or {"validation": images["validation"], "training": images["labeled"] + images["unlabeled"]}
    return _overlap(spec, counts), images["validation"], False


def _overlap(spec: SweepSpec, counts: dict[str, int]) -> float:
    """Return groups scored on, divided by groups trained on, times the trainings that an error is the mean of.

    The spread of a mean over k folds is that of one fold over the root of k, so the variance that the overlap of the
    trainings adds counts k times as much: the corrected repeated k-fold test of Bouckaert & Frank (2004,
    "Evaluating the replicability of significance tests for comparing learning algorithms"), written for the means.
    """
    folds = spec.sample_config().dataset.folds
    trained_on, scored = counts["training"], counts["validation"]
    return scored / trained_on if folds is None else scored / (trained_on - scored / folds)


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


def text(ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None = None) -> str:
    """Return the verdict for the summary, or an empty string if there is none yet; arguments as of the comparison."""
    verdict = compare_finalists(ledger, images, groups)
    if verdict is None:
        return ""
    where, test = f"{verdict.images} images that chose nothing", "paired t-test"
    if not verdict.kept_back:
        where = f"{verdict.images} images, redrawn for every seed: selection and verdict share images"
        test = "corrected resampled t-test (Nadeau & Bengio 2003)"
    name = ledger.spec.error_name
    lines = [f"verdict    trained again on fresh seeds and label draws, mean {name} [95 %] on {where}:"]
    for name, mean in verdict.means.items():
        failed = f"; {verdict.failed[name]} that failed not counted" if name in verdict.failed else ""
        lines.append(f"           {name:12} {mean} ({mean.seeds} seeds{failed})")
    for name, failures in verdict.failed.items():
        if name not in verdict.means:
            lines.append(f"           {name:12} {failures} failed: too few are left for a mean")
    lines += [f"           {comparison}" for comparison in verdict.comparisons]
    if verdict.comparisons:
        count = len(verdict.comparisons)
        corrected = f", corrected by Holm for {count} comparisons" if count > 1 else ""
        lines.append(f"           (p: {test} over the seeds{corrected}; intervals are not corrected)")
    if verdict.gain is not None:
        lines.append(f"gain       over the supervised baseline {verdict.gain}")
    return "\n".join(lines)


def _finalists(ledger: LedgerView) -> list[Trial]:
    return ledger.trials("finalists") if "finalists" in ledger.spec.arms() else []


def contender_name(trial: TrialId) -> str:
    """Return what a trial of the search, or a baseline, is called among the contenders."""
    return trial.label if trial.arm == "search" else trial.arm


def _mean_error(by_seed: Mapping[int, float], overlap: float, images: int) -> MeanError:
    return MeanError(**asdict(interval(list(by_seed.values()), overlap, images)), seeds=len(by_seed))


def _error(spec: SweepSpec, trial: Trial) -> float:
    assert trial.last is not None  # it is complete
    metrics = trial.last.metrics
    metric = spec.metric if spec.metric in metrics else metric_of(spec.metric, "student")
    network = "student" if "student" in metric else "teacher"
    return metrics.get(metric_of(metric, network, "verdict"), metrics[metric])


def _values(spec: SweepSpec, trial: Trial, seed: int) -> dict[str, Any]:
    config = spec.config(trial.values, trial.arm)
    values = dotted(config.model_dump(exclude={"dataset"}, exclude_none=True))
    values |= {"seed": seed, "verdict": config.dataset.verdict > 0}
    if not config.dataset.verdict:
        return values | {"dataset.split_seed": seed}
    return values if config.dataset.labels == "all" else values | {"dataset.label_seed": seed}
