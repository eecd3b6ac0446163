"""How often pruning ends the best trial, by the margin at which it ends one, and what it saves.

    uv run python benchmarks/pruning.py                    # scripted curves, and the recorded trainings
    uv run python benchmarks/pruning.py --tasks 0 --repetitions 100 --margins 0 0.5 1 2    # recorded trainings alone
    uv run python benchmarks/pruning.py --tasks 0 --repetitions 100 --margins 1 0 --shown 0.5 0.3 0 -0.3

Sweeps with asha, one seed each, with other margins of the pruner: 0 is by rank alone, without regard to noise. Of the
first trials of a sweep it is counted whether the one was pruned whose true error at the end is the lowest. Then there
is the true error of what the sweep calls best: after these trials, and after the steps of training all of them in full.

On scripted curves (benchmarks/search.py), trials come from the ledger, with tpe and four workers. The true error is
that without the noise of the validation images; each trial draws its own noise, as if no image were harder.

Recorded trainings are those of benchmarks/recorded.py. A sweep draws trainings from the table of a set at random, one
after the other, and some of the validation images. The true error is that on the verdict images.

With --shown, the margin ends where the rung is shown to foretell the end: rank alone prunes while the rank correlation
of the rung with the end, over at least eight trials that reached both, is above such a value. What counts is the lower
end of its interval, one-sided at 95 % (Fisher 1921, with the factor of Fieller, Hartley & Pearson 1957).
"""

import argparse
import functools
import math
import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from recorded import TABLES, VALIDATION, Table, read, replayed
from search import DIGITS, SEEDS, TASKS, interval, new_ledger, searched, specification
from search import table as print_table

from mt_sweeps.execution.simulated_trainer import Curve, Script, SimulatedTrainer
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.pruner import RungRanking
from mt_sweeps.study.ranking_error import RankingError
from mt_sweeps.study.trial import Trial
from trainers.confusion import correct_bits
from trainers.report import rate_standard_error

SCRIPTED = (
    ("digits: 300 validation images", 300),
    ("digits: 300 validation images", 40),
    ("CIFAR-10: 2,000", 2000),
    ("what is best at the end is worst early", 2000),
)
RECORDED = (300, 100, 40)  # validation images
SHOWN_BY = 8  # trials at the least


@dataclass(frozen=True)
class Sweep:
    """What came of one sweep.

    Attributes:
        has_pruned_best: of the first trials, the best was pruned, and so were its equals.
        pruned: share of these that were pruned.
        trainings: steps that they took, in whole trainings.
        error: true error of the chosen configuration after these trials.
        same_steps: the same after the steps of training them all.
    """

    has_pruned_best: bool
    pruned: float
    trainings: float
    error: float
    same_steps: float


@dataclass(frozen=True)
class Rule:
    """How a trial is pruned.

    Attributes:
        margin: of the pruner.
        shown: lower bound of the rank correlation above which rank alone prunes; None: the margin always holds.
    """

    margin: float
    shown: float | None = None

    def __str__(self) -> str:
        return f"{self.margin:g}" + ("" if self.shown is None else f"; 0 above {self.shown:g}")


def scripted(task: str, images: int, rule: Rule, seed: int, trials: int) -> Sweep:
    """Run a sweep of scripted curves."""
    setting = TASKS[task]
    own = (f"trainer.seed={seed}", f"trainer.dataset.validation={images}")
    spec = specification(setting.file, "tpe", "asha", seed, trials, *own)

    def truth(trial: Trial) -> float:
        return Curve(setting.task, spec.config(trial.values)).teacher(spec.steps)

    ledger = new_ledger(spec)
    ledger._ranking = RungRanking(spec, margin=rule.margin)
    points = searched(
        spec,
        trials * spec.steps,
        4,
        lambda config: SimulatedTrainer(config, None, Script(task=setting.task)).run(),
        truth,
        ledger=ledger,
    )
    first = ledger.trials("search")[:trials]
    return Sweep(
        has_pruned_best=min(first, key=truth).state == "pruned",
        pruned=sum(trial.state == "pruned" for trial in first) / len(first),
        trainings=sum(trial.step for trial in first) / spec.steps,
        error=points[trials - 1].error,
        same_steps=points[-1].error,
    )


def recorded(name: str, images: int, rule: Rule, seed: int, trials: int) -> Sweep:
    """Run a sweep of recorded trainings."""
    table, spec = _table(name), _with_asha(trials)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(VALIDATION)[:images]
    order = rng.permutation(len(table.truth))
    ranking, by_rank = (RungRanking(spec, at=[table.rung], margin=margin) for margin in (rule.margin, 0))
    spent, first, best, points, ends = 0, [], (1.0, 1.0), [], dict[int, float]()
    for number in map(int, order):
        if spent >= trials * table.steps and len(first) >= trials:
            break
        rung, end, truth = table.correct["rung"], table.correct["end"], float(table.truth[number])
        for each in (ranking, by_rank):
            each.report(number, table.rung, _better([rung[network][number][chosen] for network in rung]))
        is_shown = rule.shown is not None and lower_bound(ranking, ends) > rule.shown
        is_pruned = (by_rank if is_shown else ranking).should_prune(number, table.rung)
        spent += table.rung if is_pruned else table.steps
        if not is_pruned:  # the earliest of equals, as in a sweep
            ends[number] = _error(end["teacher"][number][chosen]).rate
            best = min(best, (ends[number], truth), key=_rate)
        first.append((truth, is_pruned))
        points.append((spent, best[1]))
    return Sweep(
        has_pruned_best=min(first[:trials])[1],
        pruned=sum(is_pruned for _, is_pruned in first[:trials]) / trials,
        trainings=points[trials - 1][0] / table.steps,
        error=points[trials - 1][1],
        same_steps=[error for spent, error in points if spent <= trials * table.steps][-1],
    )


def lower_bound(ranking: RungRanking, ends: dict[int, float]) -> float:
    """Return the lower end of the interval of the rung's rank correlation with the end; -1 while it is not known."""
    found = ranking.correlations(ends) if len(ends) >= SHOWN_BY else []
    if not found:
        return -1.0
    z = math.atanh(min(0.999, max(-0.999, found[0].spearman)))
    return math.tanh(z - 1.645 * math.sqrt(1.06 / (found[0].trials - 3)))


def correlations(name: str, images: int, seed: int, trials: int) -> tuple[float, float]:
    """Return the rank correlation of the rung with the end over the trials of a sweep, and over those not pruned."""
    table, rng = _table(name), np.random.default_rng(seed)
    chosen = rng.permutation(VALIDATION)[:images]
    ranking, rung, end = RungRanking(_with_asha(trials), at=[table.rung]), table.correct["rung"], table.correct["end"]
    ends, remaining = dict[int, float](), dict[int, float]()
    for number in map(int, rng.permutation(len(table.truth))[:trials]):
        ranking.report(number, table.rung, _better([rung[network][number][chosen] for network in rung]))
        ends[number] = _error(end["teacher"][number][chosen]).rate
        if not ranking.should_prune(number, table.rung):
            remaining[number] = ends[number]
    every, unpruned = (ranking.correlations(of) for of in (ends, remaining))
    return every[0].spearman if every else 0.0, unpruned[0].spearman if unpruned else 0.0


@functools.cache
def _table(name: str) -> Table:
    return read(TABLES / f"{name}.json")


@functools.cache
def _with_asha(trials: int) -> SweepSpec:
    return specification(DIGITS, "random", "asha", 0, trials)


def _rate(pair: tuple[float, float]) -> float:
    return pair[0]


def _better(correct: Sequence[np.ndarray]) -> RankingError:
    """Return the lower error of student and teacher."""
    return min(map(_error, correct), key=lambda error: error.rate)


def _error(bits: np.ndarray) -> RankingError:
    rate = 1 - int(bits.sum()) / len(bits)
    return RankingError(rate, rate_standard_error(rate, len(bits)), correct_bits(bits))


def row(label: str, rule: Rule, sweeps: Sequence[Sweep], before: Sequence[Sweep]) -> str:
    """Return the row of one rule; differences are to the first rule, seed by seed."""

    def mean(value: Callable[[Sweep], float]) -> float:
        return float(np.mean([value(sweep) for sweep in sweeps]))

    def compared(value: Callable[[Sweep], float]) -> str:
        if sweeps is before:
            return f"{100 * mean(value):.2f}"
        worse = [100 * (value(ours) - value(theirs)) for ours, theirs in zip(sweeps, before, strict=True)]
        low, high = interval(worse, np.mean)
        return f"{100 * mean(value):.2f}, {np.mean(worse):+.2f} ({low:+.2f} to {high:+.2f})"

    lost = sum(sweep.has_pruned_best for sweep in sweeps)
    cells = [f"{lost} of {len(sweeps)}", f"{mean(lambda s: s.pruned):.0%}", f"{mean(lambda s: s.trainings):.1f}"]
    cells += [compared(lambda s: s.error), compared(lambda s: s.same_steps)]
    return f"| {label} | {rule} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--margins", type=float, nargs="+", default=[0.0, 1.0, 2.0], help="the first is compared to")
    parser.add_argument("--shown", type=float, nargs="+", default=[], help="correlations above which rank alone prunes")
    parser.add_argument("--sets", nargs="+", help="of the recorded trainings, only these: digits")
    parser.add_argument("--workers", type=int, default=1, help="processes at a time")
    parser.add_argument("--tasks", type=int, default=len(SCRIPTED), help="scripted tasks, of the list; 0: none")
    options = parser.parse_args()
    seeds, begun = SEEDS[: options.repetitions], time.process_time()
    jobs = [(scripted, task, images) for task, images in SCRIPTED[: options.tasks]]
    names = [table.task.replace(":", "-") for table in replayed()]
    names = [name for name in names if not options.sets or name.partition("-")[0] in options.sets]
    jobs += [(recorded, name, images) for name in names for images in RECORDED]
    rules = [Rule(margin) for margin in options.margins] + [Rule(options.margins[0], each) for each in options.shown]
    print(
        f"{options.trials} trials per sweep, n = {len(seeds)} seeds; steps in whole trainings\n\n"
        "| task, validation images | margin | the best was pruned | pruned | steps | error after as many trials, % "
        f"| error after as many steps, % |\n|{'---|' * 7}"
    )
    together: dict[tuple[int, Rule], list[Sweep]] = {}
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        for run, name, images in jobs:
            of_rules = rules if run is recorded else rules[: len(options.margins)]
            by_rule = {
                rule: [pool.submit(run, name, images, rule, seed, options.trials) for seed in seeds]
                for rule in of_rules
            }
            sweeps = {rule: [job.result() for job in runs] for rule, runs in by_rule.items()}
            label = f"{'' if run is scripted else 'trained: '}{name.partition(':')[0]}, {images:,}"
            for rule, of_rule in sweeps.items():
                print(row(label, rule, of_rule, sweeps[rules[0]]), flush=True)
                if run is recorded:
                    together.setdefault((images, rule), []).extend(of_rule)
    for (images, rule), of_all in together.items():
        print(row(f"trained: together, {images}", rule, of_all, together[images, rules[0]]))
    if options.shown:
        rows = ["rank correlation of the rung with the end, validation images | all trials | those not pruned"]
        for name in names:
            for images in RECORDED:
                of_all, left = np.mean([correlations(name, images, seed, options.trials) for seed in seeds], axis=0)
                rows.append(f"{name}, {images} | {of_all:.2f} | {left:.2f}")
        print_table(*rows)
    print(f"\n{time.process_time() - begun:.0f} s of processor time, without that of the workers")


if __name__ == "__main__":
    main()
