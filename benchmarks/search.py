"""What the search saves: optimiser steps until a stated quality is reached, against random search without pruning.

    uv run python benchmarks/search.py                  # scripted curves, all samplers and pruners

Trials come from the sweeps' own ledger, sampler and pruner; the clock is simulated: four workers, each taking as long
as its steps. After every trial the configuration that the ledger calls best is looked at: its error without the noise
of the validation images. benchmarks/fitted_search.py and benchmarks/trained_search.py search other tasks in this way.

Every search has the steps that training all trials to their end takes; one that prunes has more trials for them. The
stated quality of a task is the median of what random search without pruning ends with. A search that never gets there
counts as if it had with its last step. Arms are compared repetition by repetition; intervals are 95 %, by bootstrap
over repetitions.
"""

import argparse
import heapq
import importlib.metadata
import itertools
import multiprocessing
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import optuna
from optuna.storages import InMemoryStorage
from scipy.stats import spearmanr

from mt_sweeps.execution.simulated_trainer import Curve, Script, SimulatedTrainer, Task
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.pruner import RungRanking, rungs
from mt_sweeps.study.trial import Prior, Trial
from trainers.config import TrainerConfig
from trainers.errors import TrainingError
from trainers.report import Report

Job = TypeVar("Job", bound=tuple[Any, ...])
Result = TypeVar("Result")

DIGITS = Path(__file__).parent / "spaces" / "digits.yaml"
CIFAR10 = Path(__file__).parents[1] / "search_spaces" / "cifar10.yaml"
SEEDS = range(3000, 3100)  # of sampler and noise
BASE = "random + none"
NAIVE = "tpe + asha, rungs from the first evaluation"
MORE = 5  # times the trials that a search may have, if they are so short
ARMS = {
    BASE: ("random", "none"),
    "random + asha": ("random", "asha"),
    "tpe + none": ("tpe", "none"),
    "tpe + median": ("tpe", "median"),
    "tpe + asha": ("tpe", "asha"),
    NAIVE: ("tpe", "asha"),
}


@dataclass(frozen=True)
class Setting:
    """A task and the space that is searched for it."""

    file: Path
    task: Task


TASKS = {
    "digits: 300 validation images": Setting(DIGITS, Task()),
    "CIFAR-10: 2,000": Setting(CIFAR10, Task(floor=0.12, supervised=0.25, weight=50, decay=0.997, width=0.03)),
    "narrow optimum": Setting(CIFAR10, Task(floor=0.06, weight=100, decay=0.99, width=0.1, kl=0.02)),
    "flat": Setting(CIFAR10, Task(floor=0.12, weight=20, decay=0.999, width=0.01)),
    "what is best at the end is worst early": Setting(
        CIFAR10, Task(floor=0.1, weight=200, decay=0.9995, width=0.04, burden=0.1)
    ),
}


@dataclass(frozen=True)
class Point:
    """How a search stood when a trial had ended."""

    steps: int
    error: float  # of the configuration that is then the best, without noise


def specification(file: Path, sampler: str, pruner: str, seed: int, trials: int, *more: str) -> SweepSpec:
    settings = (
        f"sampler.name={sampler}",
        f"sampler.seed={seed}",
        f"pruner.name={pruner}",
        f"trials={trials if pruner == 'none' else MORE * trials}",
    )
    return load_spec(file, ("points=[]", "finalists.baselines=[]", "finalists.top=0", *settings, *more))


def new_ledger(spec: SweepSpec, prior: Mapping[Arm, Prior] | None = None, published: Values | None = None) -> Ledger:
    """A ledger with its rows in memory instead of SQLite: it decides the same and takes a fifth of the time."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return Ledger.create("in memory", spec, published or {}, InMemoryStorage(), prior)


def searched(
    spec: SweepSpec,
    budget: int,
    workers: int,
    curves: Any,
    truth: Any,
    naive: bool = False,
    ledger: Ledger | None = None,
) -> list[Point]:
    """A whole search, on a simulated clock: how it stood after each trial.

    Args:
        spec: of the sweep.
        budget: steps, after which no trial is started.
        workers: trials at once.
        curves: the reports of a configuration's training.
        truth: the error of a completed trial that counts.
        naive: whether rungs begin at the first evaluation, against the design.
        ledger: without trials; None: a new one.
    """
    points, spent = [], 0
    ledger = ledger or new_ledger(spec)
    if naive:
        ledger._ranking = RungRanking(spec, at=early_rungs(spec))
    running: list[tuple[int, tuple[int, str], Trial, Iterator[Report], Report]] = []

    def start(now: int) -> None:
        while (trial := ledger.ask_search() if spent < budget else None) is not None:
            reports = iter(curves(spec.config(trial.values, trial.arm)))
            with failing(ledger, trial, None):
                first = next(reports)
                heapq.heappush(running, (now + first.step, (trial.number, trial.arm), trial, reports, first))
                return

    for _ in range(workers):
        start(0)
    before: dict[tuple[int, str], int] = {}
    while running:
        now, key, trial, reports, report = heapq.heappop(running)
        spent += report.step - before.get(key, 0)
        before[key] = report.step
        pruned = ledger.report(trial, report)
        with failing(ledger, trial, report):
            following = None if pruned else next(reports, None)
            if following is not None:
                heapq.heappush(running, (now + following.step - report.step, key, trial, reports, following))
                continue
            if pruned:
                ledger.prune(trial, report)
            else:
                ledger.complete(trial, report)
        best = ledger.best()
        points.append(Point(spent, truth(best) if best is not None else 1.0))
        start(now)
    return points


@contextmanager
def failing(ledger: Ledger, trial: Trial, last: Report | None) -> Iterator[None]:
    """A training that goes wrong fails its trial, and the search goes on."""
    try:
        yield
    except TrainingError as error:
        ledger.fail(trial, type(error).__name__, str(error), last)


def early_rungs(spec: SweepSpec) -> list[int]:
    """What ASHA's own rule would give: from the first evaluation, each `reduction_factor` times later."""
    found = [spec.sample_config().evaluation_interval]
    while found[-1] * spec.pruner.reduction_factor < spec.steps:
        found.append(found[-1] * spec.pruner.reduction_factor)
    return found


def scripted(task: str, arm: str, seed: int, trials: int) -> list[Point]:
    setting, (sampler, pruner) = TASKS[task], ARMS[arm]
    spec = specification(setting.file, sampler, pruner, seed, trials, f"trainer.seed={seed}")
    script = Script(task=setting.task)

    def truth(trial: Trial) -> float:
        return Curve(setting.task, spec.config(trial.values)).teacher(spec.steps)

    def curves(config: TrainerConfig) -> Iterator[Report]:
        return SimulatedTrainer(config, None, script).run()

    return searched(spec, trials * spec.steps, 4, curves, truth, arm == NAIVE)


def reached(points: Sequence[Point], quality: float, budget: int) -> tuple[int, bool]:
    """Steps until the best was as good for the first time; all there were, where it never was."""
    steps = next((point.steps for point in points if point.error <= quality and point.steps <= budget), None)
    return (budget, False) if steps is None else (steps, True)


def interval(values: Any, statistic: Any) -> tuple[float, float]:
    """By bootstrap over the first axis."""
    rng = np.random.default_rng(0)
    array = np.asarray(values)
    drawn = [statistic(array[rng.integers(0, len(array), len(array))]) for _ in range(4000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def ratio(pairs: Any) -> float:
    """Of the mean steps of two arms."""
    return float(pairs[:, 0].mean() / pairs[:, 1].mean())


def correlations(task: str) -> str:
    """How the order of 300 random configurations at a step foretells their order at the end, without noise."""
    setting = TASKS[task]
    spec = specification(setting.file, "random", "asha", 0, 300)
    ledger = new_ledger(spec)
    curves = [Curve(setting.task, spec.config(trial.values)) for trial in iter(ledger.ask_search, None) if trial]
    ends = [curve.teacher(spec.steps) for curve in curves]
    told = []
    for step in (spec.sample_config().evaluation_interval, rungs(spec)[0]):
        early = [min(curve.teacher(step), curve.student(step)) for curve in curves]
        told.append(f"{spearmanr(early, ends).statistic:.2f}")
    return " | ".join([task, *told])


def table(*rows: str) -> None:
    head, *body = rows
    print(f"\n| {head} |\n|{'---|' * (head.count(' | ') + 1)}")
    for row in body:
        print(f"| {row} |")


def compared(task: str, results: Mapping[str, Sequence[list[Point]]], trials: int, steps: int) -> dict[str, Any]:
    """The table of one task; of each arm, its steps beside the base's, a pair a repetition."""
    budget = trials * steps
    same_trials = {arm: 100 * np.array([points[trials - 1].error for points in runs]) for arm, runs in results.items()}
    same_steps = {
        arm: 100 * np.array([last_within(points, budget) for points in runs]) for arm, runs in results.items()
    }
    quality = float(np.median(same_trials[BASE])) / 100
    took = {arm: [reached(points, quality, budget) for points in runs] for arm, runs in results.items()}
    base = np.array([each for each, _ in took[BASE]]) / steps
    pairs, rows = {}, []
    for arm, runs in results.items():
        ours = np.array([each for each, _ in took[arm]]) / steps
        pairs[arm] = np.stack([ours, base], axis=1)
        got = sum(did for _, did in took[arm])
        spent = statistics.mean(points[trials - 1].steps for points in runs) / steps
        low, high = interval(pairs[arm], ratio)
        compared_to = [
            f"{errors[arm].mean():.2f}, {told_difference(errors[arm] - same_trials[BASE])}"
            for errors in (same_trials, same_steps)
        ]
        if arm == BASE:
            cells = ["", *[f"{same_trials[BASE].mean():.2f}"] * 2]
        else:
            cells = [f"{ratio(pairs[arm]):.2f} ({low:.2f} to {high:.2f})", *compared_to]
        rows.append(
            " | ".join([arm, f"{got} of {len(runs)}", f"{ours.mean():.1f}", cells[0], f"{spent:.1f}", *cells[1:]])
        )
    table(
        f"{task}; quality {100 * quality:.2f} % | reached | steps to it | ratio | steps of {trials} trials "
        f"| error after {trials} trials, % | error after the same steps, %",
        *rows,
    )
    return pairs


def print_ratios(together: Mapping[str, Sequence[Any]]) -> None:
    """Print, of each arm beside the base, the ratio of steps over all tasks.

    Args:
        together: by arm, the base first: per task, float [repetitions, 2], its steps and the base's.
    """

    def mean_ratio(each: Any) -> float:
        return float(np.exp(np.mean(np.log([ratio(each[:, i]) for i in range(each.shape[1])]))))

    rows = []
    for arm, of_tasks in list(together.items())[1:]:
        all_tasks = np.stack(of_tasks, axis=1)  # repetitions, tasks, two
        low, high = interval(all_tasks, mean_ratio)
        rows.append(f"{arm} | {mean_ratio(all_tasks):.2f} | {low:.2f} to {high:.2f}")
    table(f"all tasks, against {BASE} | ratio of steps, geometric mean | 95 % interval", *rows)


def last_within(points: Sequence[Point], budget: int) -> float:
    return [point.error for point in points if point.steps <= budget][-1]


def told_difference(worse: Any) -> str:
    low, high = interval(worse, np.mean)
    return f"{worse.mean():+.2f} ({low:+.2f} to {high:+.2f})"


def print_head() -> None:
    """Print what the benchmark runs on."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("optuna", "torch"))
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.platform()}, {cores} cores, Python {platform.python_version()}, {versions}")


def in_processes(run: Callable[..., Result], jobs: Iterable[Job], workers: int) -> dict[Job, Result]:
    """Call `run` with the arguments of each job, in so many processes at a time; return the results by job."""
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        submitted = {job: pool.submit(run, *job) for job in jobs}
        return {job: future.result() for job, future in submitted.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=64, help="of a search")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="only these, beside the base")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), help="only these")
    options = parser.parse_args()
    arms, seeds = list(dict.fromkeys([BASE, *options.arms])), SEEDS[: options.repetitions]
    print_head()
    print(f"{options.trials} trials a search, n = {len(seeds)}; steps are counted in whole trainings", flush=True)
    begun = time.monotonic()
    jobs = itertools.product(options.tasks, arms, seeds)
    results = in_processes(partial(scripted, trials=options.trials), jobs, options.workers)
    together: dict[str, list[Any]] = {arm: [] for arm in arms}
    for task in options.tasks:
        steps = specification(TASKS[task].file, "random", "none", 0, options.trials).steps
        by_arm = {arm: [results[task, arm, seed] for seed in seeds] for arm in arms}
        for arm, pairs in compared(task, by_arm, options.trials, steps).items():
            together[arm].append(pairs)
    print_ratios(together)
    head = "rank correlation with the end, no noise | of the first evaluation | of our first rung"
    table(head, *map(correlations, options.tasks))
    print(f"\n{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
