"""The finalists: the best of the search and the baselines, trained again on fresh seeds and label draws, and compared.

The best of many trials owes a part of its error to luck. A fair estimate needs a new training, scored on images that
chose nothing. If no images are kept back for that, every seed draws the whole split anew.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mt_sweeps.formatting import counted
from mt_sweeps.results.group_sequential import Results, compare_sequentially
from mt_sweeps.results.probe import probe_text
from mt_sweeps.results.spending import FIRST_LOOK
from mt_sweeps.results.statistics import Comparison, Gain, Interval, gain, interval
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.spec.dotted import dotted
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import Trial, best_of
from trainers.config import DatasetConfig
from trainers.report import metric_of

FIRST_SEED = 10_000  # far from those that a search uses
SMALLEST_GAIN = 1.0  # points
_WIDTH = 110  # characters per line, as in the rest of the summary


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


def plan(ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None = None) -> list[dict[str, Any]]:
    """Return the trials that the finalists' arm has at most, as `Ledger.plan_finalists` takes them.

    Those of a contender end when its comparison is settled, those of the best of the search with the last comparison.
    The first seed of every contender comes before the second of any, so that all have about as many seeds if the
    budget ends the arm early.

    Args:
        ledger: of the sweep.
        images: number of images by purpose.
        groups: number of groups of images by purpose, as in `Environment`; None or empty: each image is on its own.

    Returns:
        Of each trial, its `values`, and `of`: the arm and number of the trial that it trains again.
    """
    spec, trials = ledger.spec, contenders(ledger)
    after = {name: one.after for name, one in comparisons_of(ledger, images, groups).items() if one.outcome != "open"}
    if after and len(after) == len(trials) - 1:
        after[contender_name(trials[0].id)] = max(after.values())
    configs = [spec.config(trial.values, trial.arm) for trial in trials]
    settings = [dotted(config.model_dump(exclude={"dataset"}, exclude_none=True)) for config in configs]
    return [
        {"of": [trial.arm, trial.number], "values": fixed | _drawn_by(seed, config.dataset)}
        for i, seed in enumerate(seeds_of(spec))
        for trial, config, fixed in zip(trials, configs, settings, strict=True)
        if i < after.get(contender_name(trial.id), spec.finalists.seeds)
    ]


def errors_by_seed(ledger: LedgerView) -> dict[str, dict[int, float]]:
    """Return the errors of the completed finalists, by contender and by seed.

    Contenders stand in the order in which they were chosen, the best of the search first, so that the order does not
    depend on the finalists' own errors. Those that later trials pushed out of the best come last.
    """
    errors = {
        name: {seed: error for seed, error in by_seed.items() if error is not None}
        for name, by_seed in results_of(ledger).items()
    }
    return {name: by_seed for name, by_seed in errors.items() if by_seed}


@dataclass(frozen=True)
class MeanError(Interval):
    """The mean error of a contender over its seeds, with its 95 % confidence interval, as fractions."""

    seeds: int


@dataclass(frozen=True)
class Verdict:
    """What the finalists prove.

    Attributes:
        means: by contender, the best of the search first; over the seeds up to the look that settled its comparison.
        comparisons: of the best of the search with every other contender.
        gain: of the best of the search over the supervised baseline, or None if there was no look at it yet.
        failed: number of failed trainings by contender; means and comparisons leave them out.
        images: number of images that errors were measured on.
        kept_back: whether these images chose nothing; else every seed redrew them from those that chose the best.
        probe: that the linear probe is not beaten, in words; None if it is, or there is none.
        ended: after how many seeds it came to an end and why, or that it has not, in words; empty: nothing to compare.
        not_compared: which contenders the best was not compared with, why, and what to do, in words; empty: with none,
            or their seeds are still to come.
    """

    means: dict[str, MeanError]
    comparisons: list[Comparison]
    gain: Gain | None
    failed: dict[str, int]
    images: int
    kept_back: bool
    probe: str | None = None
    ended: str = ""
    not_compared: str = ""


def compare_finalists(
    ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None = None
) -> Verdict | None:
    """Return mean errors with their intervals and the comparisons, or None while no contender has two seeds.

    Args:
        ledger: of the sweep.
        images: as of `plan`.
        groups: as of `plan`.
    """
    overlap, scored, kept_back = scored_on(ledger.spec, images, groups)
    compared = comparisons_of(ledger, images, groups)
    errors = errors_by_seed(ledger)
    first = next(iter(errors), "")
    if compared:  # what ran ahead of the last look counts no more than it did in the comparisons
        after = {name: one.after for name, one in compared.items()}
        after[first] = max(after.values())
        seeds = seeds_of(ledger.spec)
        errors = {
            name: {seed: by_seed[seed] for seed in seeds[: after.get(name, len(seeds))] if seed in by_seed}
            for name, by_seed in errors.items()
        }
    means = {name: _mean_error(by_seed, overlap, scored) for name, by_seed in errors.items() if len(by_seed) > 1}
    if not means:
        return None
    failed = [trial.replicates for trial in _finalists(ledger) if trial.replicates and trial.state == "failed"]
    comparisons = list(compared.values())
    supervised = compared.get("supervised")
    return Verdict(
        means=means,
        comparisons=comparisons,
        gain=None
        if supervised is None
        else gain(errors[first], errors["supervised"], overlap, scored, supervised.level),
        failed=dict(Counter(map(contender_name, failed))),
        images=scored,
        kept_back=kept_back,
        probe=probe_text(comparisons, kept_back),
        ended=_ended_text(comparisons),
        not_compared=not_compared_text(ledger, compared),
    )


def settled(ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None = None) -> list[str]:
    """Return the comparisons that are settled, as sentences; arguments as of `plan`."""
    return [str(one) for one in comparisons_of(ledger, images, groups).values() if one.outcome != "open"]


def comparisons_of(
    ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None, results: Results | None = None
) -> dict[str, Comparison]:
    """Return the comparisons of the best of the search, by the other contender, as far as there was a look at them.

    Arguments as of `plan`; `results` takes the place of what the ledger has of the contenders.
    """
    names, results = [contender_name(trial.id) for trial in contenders(ledger)], results or results_of(ledger)
    if len(names) < 2:
        return {}
    overlap, scored, _ = scored_on(ledger.spec, images, groups)
    smallest = smallest_gain(ledger.spec, scored)
    of_contenders = {name: results[name] for name in names}
    return compare_sequentially(of_contenders, seeds_of(ledger.spec), smallest, overlap, scored, bool(ledger.ended))


def smallest_gain(spec: SweepSpec, scored: int) -> float:
    """Return the difference of mean errors that matters, as a fraction: the file's, or one image where that is more.

    Args:
        spec: of the sweep.
        scored: number of images that an error is measured on.
    """
    points = spec.finalists.smallest_gain
    return max((SMALLEST_GAIN if points is None else points) / 100, 1 / scored)


def _ended_text(comparisons: Sequence[Comparison]) -> str:
    """Return after how many seeds the comparisons came to their end, and why."""
    if not comparisons:
        return ""
    open_ended = [one for one in comparisons if one.outcome != "decided"]
    after, most = max(one.after for one in open_ended or comparisons), comparisons[0].most
    if any(one.outcome == "open" for one in comparisons):
        return f"not decided after {after} of at most {most} seeds"
    seeds = f"after {after} of at most {most} seeds" if after < most else f"after all {counted(most, 'seed')}"
    if not open_ended:
        return f"decided {seeds}"
    which = "" if len(open_ended) == len(comparisons) else f" for {len(open_ended)} of {len(comparisons)} comparisons"
    return f"ended without a decision{which} {seeds}"


def not_compared_text(ledger: LedgerView, compared: Mapping[str, Comparison]) -> str:
    """Return which contenders the best was not compared with since a budget ended their trainings; or nothing.

    Args:
        ledger: of the sweep.
        compared: the comparisons that there are, by the other contender.
    """
    first, *others = [contender_name(trial.id) for trial in contenders(ledger)] or [""]
    results = results_of(ledger)
    seeds = {name: len(results[name]) for name in others if name not in compared}
    if not seeds or not ledger.ended or "finalists" not in ledger.spec.arms():
        return ""
    names = ", ".join(f"{name} ({counted(count, 'seed')})" for name, count in seeds.items())
    has_hours = ledger.spec.budget.hours is not None
    way = "resume the sweep with more hours: --hours +1" if has_hours else "raise its budget, and resume the sweep"
    return (
        f"{first} ({counted(len(results[first]), 'seed')}) is not compared with {names}: it takes {FIRST_LOOK} seeds "
        f"of both, and {ledger.ended}; to go on, {way}"
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


def text(ledger: LedgerView, images: dict[str, int], groups: dict[str, int] | None = None) -> str:
    """Return the verdict for the summary, or an empty string if there is none yet; arguments as of the comparison."""
    verdict = compare_finalists(ledger, images, groups)
    if verdict is None:
        why = not_compared_text(ledger, {})
        return _wrapped(f"none: {why}").replace(" " * 11, "verdict    ", 1) if why else ""
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
    lines += [_wrapped(str(comparison)) for comparison in verdict.comparisons]
    lines += [_wrapped(verdict.not_compared)] if verdict.not_compared else []
    if verdict.comparisons:
        count = len(verdict.comparisons)
        holm = f" and for {count} comparisons (Holm)" if count > 1 else ""
        note = f"({test} over the seeds; p and the intervals of differences are corrected for the looks at the seeds"
        lines += [_wrapped(f"{note}{holm})"), _wrapped(verdict.ended + _what_to_do(verdict))]
    if verdict.gain is not None:
        lines.append(f"gain       over the supervised baseline {verdict.gain}")
    return "\n".join(lines)


def _what_to_do(verdict: Verdict) -> str:
    """Return what the user can do where something cannot be told apart, and no seed is to come."""
    undecided = [one for one in verdict.comparisons if one.outcome != "decided"]
    if not undecided or any(one.outcome == "open" for one in undecided):
        return ""
    widest = max(max(abs(one.difference.low), abs(one.difference.high)) for one in undecided)
    more = "a higher finalists.seeds" if verdict.kept_back else "images kept back (trainer.dataset.verdict)"
    return (
        f": take whichever is cheaper to train, if up to {100 * widest:.1f} points do not matter; else start a new "
        f"sweep with {more}, or with more labels"
    )


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=" " * 11, subsequent_indent=" " * 13)


def _finalists(ledger: LedgerView) -> list[Trial]:
    return ledger.trials("finalists") if "finalists" in ledger.spec.arms() else []


def results_of(ledger: LedgerView) -> dict[str, dict[int, float | None]]:
    """Return the error of each finalist that ended, by contender and by seed; None: it failed."""
    results: dict[str, dict[int, float | None]] = {contender_name(trial.id): {} for trial in contenders(ledger)}
    for trial in _finalists(ledger):
        if trial.replicates is not None and trial.finished:
            error = scored_error(ledger.spec, trial) if trial.state == "complete" else None
            results.setdefault(contender_name(trial.replicates), {})[int(trial.values["seed"])] = error
    return results


def seeds_of(spec: SweepSpec) -> range:
    """Return the seeds of the finalists, in the order in which they are trained."""
    return range(FIRST_SEED, FIRST_SEED + spec.finalists.seeds)


def contender_name(trial: TrialId) -> str:
    """Return what a trial of the search, or a baseline, is called among the contenders."""
    return trial.label if trial.arm == "search" else trial.arm


def _mean_error(by_seed: Mapping[int, float], overlap: float, images: int) -> MeanError:
    return MeanError(**asdict(interval(list(by_seed.values()), overlap, images)), seeds=len(by_seed))


def scored_error(spec: SweepSpec, trial: Trial) -> float:
    """Return the error of a completed finalist on the images that the verdict is of, as a fraction."""
    assert trial.last is not None  # it is complete
    metrics = trial.last.metrics
    metric = spec.metric if spec.metric in metrics else metric_of(spec.metric, "student")
    network = "student" if "student" in metric else "teacher"
    return metrics.get(metric_of(metric, network, "verdict"), metrics[metric])


def _drawn_by(seed: int, dataset: DatasetConfig) -> dict[str, Any]:
    """Return the settings that a fresh seed changes: weights and batches, and the labels or the whole split."""
    values = {"seed": seed, "verdict": dataset.verdict > 0}
    if not dataset.verdict:
        return values | {"dataset.split_seed": seed}
    return values if dataset.labels == "all" else values | {"dataset.label_seed": seed}
