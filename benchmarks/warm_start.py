"""What a warm start (`from` in the file) gains where the earlier sweep was of the same task, and costs elsewhere.

    uv run python benchmarks/warm_start.py --repetitions 20

The tasks, the clock and the measure are those of benchmarks/search.py, with tpe + asha. Before each search, an earlier
one of as many trials runs with other seeds: of the same task, of one that is like it (the best consistency weight three
times higher, errors higher by 0.05), or of one whose best is elsewhere (the weight ten times lower, EMA decay 0.9). A
search that starts warm is compared with the cold one of the same seed.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import search

from mt_sweeps.execution.simulated_trainer import Curve, Script, SimulatedTrainer, Task
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.prior import collect
from mt_sweeps.study.trial import Trial
from trainers.config import TrainerConfig
from trainers.report import Report

EARLIER = ("none", "the same", "like it", "another")


def task_before(task: Task, earlier: str) -> Task:
    changes = {
        "like it": {"weight": 3 * task.weight, "floor": task.floor + 0.05, "supervised": task.supervised + 0.05},
        "another": {"weight": task.weight / 10, "decay": 0.9},
    }
    return task.model_copy(update=changes.get(earlier, {}))


def run(name: str, earlier: str, seed: int, trials: int) -> list[search.Point]:
    setting = search.TASKS[name]

    def spec_of(seed: int) -> SweepSpec:
        return search.specification(setting.file, "tpe", "asha", seed, trials, f"trainer.seed={seed}")

    def searched(task: Task, seed: int, ledger: Ledger) -> list[search.Point]:
        spec, script = spec_of(seed), Script(task=task)

        def truth(trial: Trial) -> float:
            return Curve(task, spec.config(trial.values)).teacher(spec.steps)

        def curves(config: TrainerConfig) -> Iterator[Report]:
            return SimulatedTrainer(config, None, script).run()

        return search.searched(spec, trials * spec.steps, 4, curves, truth, ledger=ledger)

    prior = {}
    if earlier != "none":
        before = search.new_ledger(spec_of(seed + 10_000))
        searched(task_before(setting.task, earlier), seed + 10_000, before)
        prior = collect(spec_of(seed), [before])
    return searched(setting.task, seed, search.new_ledger(spec_of(seed), prior))


def error_within(points: Sequence[search.Point], budget: int) -> float:
    """The error of what is the best after so many steps; 1 while no trial has ended."""
    return search.last_within(points, budget) if points[0].steps <= budget else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=32, help="whole trainings that a search may spend")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--tasks", nargs="+", default=list(search.TASKS), help="only these")
    options = parser.parse_args()
    seeds, begun = search.SEEDS[: options.repetitions], time.monotonic()
    jobs = itertools.product(options.tasks, EARLIER, seeds)
    results = search.in_processes(partial(run, trials=options.trials), jobs, options.workers)
    rows = []
    for name in options.tasks:
        steps = search.specification(search.TASKS[name].file, "tpe", "asha", 0, options.trials).steps
        for part in (2, 1):
            budget = options.trials * steps // part
            errors = {
                earlier: 100 * np.array([error_within(results[name, earlier, seed], budget) for seed in seeds])
                for earlier in EARLIER
            }
            cold = errors.pop("none")
            cells = [search.told_difference(warm - cold) for warm in errors.values()]
            rows.append(" | ".join([name, str(options.trials // part), f"{cold.mean():.2f}", *cells]))
    heads = [f"earlier: {earlier}" for earlier in EARLIER[1:]]
    search.table(" | ".join(["task", "trainings spent", "cold: error of the best, %", *heads]), *rows)
    print(f"\nn = {len(seeds)}, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
