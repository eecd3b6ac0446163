"""What samplers, pruning and priors save on recorded trainings: whole searches of tasks that are fitted to them.

    uv run python benchmarks/fitted_search.py
    uv run python benchmarks/fitted_search.py --fit          # how well the tasks foretell trainings they have not seen

benchmarks/recorded.py has trained 48 configurations on each set. A Gaussian process is fitted to each of their errors:
of student and teacher, at the rung and at the end. It says what any other configuration would have come to, so that a
sampler is free to choose. A training here has the error that the process foretells, and luck: `LUCK` is an assumption,
since each configuration was recorded once. Which validation images it classifies correctly is drawn: an image is as
hard as it was for the recorded trainings. Errors above that of the `BAD` worst count as that.

Trials come from the sweeps' own ledger, sampler, pruner and prior, as in benchmarks/search.py: four workers on a
simulated clock, and all searches have the same steps. The quality of a task is the median of what random search without
pruning ends with. The prior of a task has the four best configurations of the other sets (benchmarks/defaults.py); the
wrong one has the three that are worst there.
"""

import argparse
import hashlib
import itertools
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial, reduce
from typing import Any, cast
from unittest.mock import patch

import numpy as np
from defaults import best, by_set, good_settings, name_of, worst
from recorded import VALIDATION, VERDICT, Table, search, tables
from scipy.special import expit, logit
from scipy.stats import spearmanr
from search import MORE, SEEDS, Point, compared, in_processes, new_ledger, print_ratios, searched
from search import table as print_table
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from mt_sweeps.results.outlook import coordinates
from mt_sweeps.search_space.space import Space
from mt_sweeps.spec.prior_points import MEASURED, prior_points
from mt_sweeps.spec.sections import Pruner, Sampler
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Prior, Trial
from trainers.config import TrainerConfig
from trainers.confusion import correct_bits
from trainers.report import Report, rate_standard_error

BASE = "random + none"
# sampler, pruner, what comes first
ARMS = {
    BASE: ("random", "none", "nothing"),
    "random + none, prior": ("random", "none", "prior"),
    "tpe + none": ("tpe", "none", "nothing"),
    "tpe + none, prior": ("tpe", "none", "prior"),
    "tpe + asha": ("tpe", "asha", "nothing"),
    "tpe + asha, prior": ("tpe", "asha", "prior"),
    "tpe + asha, wrong prior": ("tpe", "asha", "wrong"),
    "gp + asha": ("gp", "asha", "nothing"),
}
BAD = 0.15  # share of the trainings
LUCK = 0.1  # s.d. between trainings of a configuration, in log odds: 0.9 points at an error of 10 %
NETWORKS, LOOKS = ("student", "teacher"), ("rung", "end")


@dataclass(frozen=True)
class Task:
    """What trainings of a set come to.

    Attributes:
        of: the recorded trainings.
        errors: by look and network: gives the log odds of the error from the coordinates of a configuration.
        hardness: by look and network: float [images], the log odds that a recorded training classifies one wrongly.
        truth: as one of `errors`: the log odds of the error on the verdict images, at the end.
    """

    of: Table
    errors: Mapping[tuple[str, str], GaussianProcessRegressor]
    hardness: Mapping[tuple[str, str], np.ndarray]
    truth: GaussianProcessRegressor

    def error(self, values: Values) -> float:
        """Return the error at the end that fresh trainings of a configuration have in the mean."""
        return float(expit(self.truth.predict([coordinates(space_of(self.of.task), values)])[0]))

    def run(self, config: TrainerConfig, values: Values) -> Iterator[Report]:
        """Yield the reports of a training: at the rung and at the end."""
        place = [coordinates(space_of(self.of.task), values)]
        settings = config.model_dump_json(exclude_defaults=True)
        rng = np.random.default_rng([*hashlib.sha256(settings.encode()).digest()])
        for look, step in zip(LOOKS, (self.of.rung, self.of.steps), strict=True):
            metrics, correct = {}, {}
            for network in NETWORKS:
                model = self.errors[look, network]
                odds = model.predict(place)[0] + rng.normal(0, LUCK)
                wrong = rng.random(VALIDATION) < shifted(self.hardness[look, network], float(expit(odds)))
                name, error = f"validation.{network}", float(wrong.mean())
                metrics[f"{name}_error"] = error
                metrics[f"{name}_standard_error"] = rate_standard_error(error, VALIDATION)
                correct[name] = correct_bits(~wrong)
            yield Report(step, time.time(), metrics, {}, correct)


def shifted(hardness: np.ndarray, error: float) -> np.ndarray:
    """Return float [images]: the chance that each is classified wrongly, so that their mean is `error`."""
    low, high = -20.0, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(hardness + middle).mean() < error else (low, middle)
    chances: np.ndarray = expit(hardness + low)
    return chances


def process(of: Table, odds: np.ndarray, images: int) -> GaussianProcessRegressor:
    """Return a process that is not fitted yet, with a length scale per dimension.

    Its noise is at least that of errors which were measured on so many images.
    """
    dimensions = len(places(of)[0])
    noise = counting(odds, images) / odds.var()
    kernel = ConstantKernel() * Matern(np.ones(dimensions), (0.1, 100.0), nu=2.5) + WhiteKernel(2 * noise, (noise, 3.0))
    return GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=1, random_state=0)


def counting(odds: np.ndarray, images: int) -> float:
    """Return the variance that log odds have because errors were measured on so many images."""
    return float((1 / (images * expit(odds) * expit(-odds))).mean())


def log_odds(errors: np.ndarray, images: int) -> np.ndarray:
    """Return those of errors, of which none is above that which the `BAD` worst have at least."""
    capped = np.minimum(errors, np.quantile(errors, 1 - BAD))
    odds: np.ndarray = logit(np.maximum(capped, 0.5 / images))
    return odds


@cache
def space_of(task: str) -> Space:
    """Return what was searched."""
    return table_of(task).spec.space()


def table_of(task: str) -> Table:
    """Return the recorded trainings of a set."""
    return next(one for one in recorded() if one.task == task)


@cache
def recorded() -> list[Table]:
    """Return the recorded trainings of Mean Teacher from nothing."""
    return tables("search", "nothing")


def places(of: Table) -> np.ndarray:
    """Return float [trainings, dimensions], where their configurations lie."""
    return np.array([coordinates(space_of(of.task), values) for values in of.values])


@cache
def task_of(name: str) -> Task:
    """Return the task that is fitted to the trainings of a set."""
    of = table_of(name)
    tried, errors, hardness = places(of), {}, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a key without effect has no length scale
        for look in LOOKS:
            for network in NETWORKS:
                wrong = 1 - of.correct[look][network]
                odds = log_odds(wrong.mean(1), VALIDATION)
                errors[look, network] = process(of, odds, VALIDATION).fit(tried, odds)
                hardness[look, network] = logit((wrong.sum(0) + 0.5) / (len(wrong) + 1))
        odds = log_odds(of.truth, VERDICT)
        truth = process(of, odds, VERDICT).fit(tried, odds)
    return Task(of, errors, hardness, truth)


def first_points(spec: SweepSpec, of: Table, first: str) -> list[Values]:
    """Return the configurations that a search begins with: the best of the other sets, or their worst."""
    if first == "nothing":
        return []
    loss = by_set([other for other in recorded() if name_of(other) != name_of(of)])
    numbers = best(loss, 4) if first == "prior" else worst(loss)
    with patch.dict(MEASURED, search=tuple(good_settings(recorded()[0], number) for number in numbers)):
        return prior_points(spec, "search", of.classes, 0)


def spec_of(recorded_search: SweepSpec, arm: str, seed: int, trials: int) -> SweepSpec:
    """Return a search as an arm has it, with the steps of so many trainings."""
    sampler, pruner, first = ARMS[arm]
    prior = "none" if first == "nothing" else "measured"
    return recorded_search.model_copy(
        update={
            "trials": trials if pruner == "none" else MORE * trials,
            "sampler": Sampler.model_validate({"name": sampler, "seed": seed, "prior": prior}),
            "pruner": Pruner.model_validate({"name": pruner}),
            "trainer": recorded_search.trainer | {"seed": seed},
        }
    )


def ledger_of(spec: SweepSpec, of: Table, arm: str) -> Ledger:
    """Return the ledger of a search, which has no trials yet and knows what the arm does beforehand."""
    points = first_points(spec, of, ARMS[arm][2])
    return new_ledger(spec, {"search": Prior(points=points)} if points else None)


def run(name: str, arm: str, seed: int, trials: int) -> list[Point]:
    """Search a task; return how the search stood after each trial."""
    task = task_of(name)
    spec = spec_of(search(name, task.of.classes), arm, seed, trials)

    def truth(trial: Trial) -> float:
        return task.error(trial.values)

    def curves(config: TrainerConfig) -> Iterator[Report]:
        return task.run(config, values_of(spec, config))

    return searched(spec, trials * spec.steps, 4, curves, truth, ledger=ledger_of(spec, task.of, arm))


def values_of(spec: SweepSpec, config: TrainerConfig) -> Values:
    """Return the searched values of a configuration, by dotted key."""
    return {key: reduce(getattr, key.split("."), cast(Any, config)) for key in spec.space().entries}


def fit(name: str) -> str:
    """Return the row of a task: how well its processes foretell each training from the other ones."""
    of = table_of(name)
    tried, cells = places(of), [name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for errors, images in ((of.truth, VERDICT), (1 - of.correct["rung"]["teacher"].mean(1), VALIDATION)):
            odds = log_odds(errors, images)
            foretold = cross_val_predict(process(of, odds, images), tried, odds, cv=LeaveOneOut())
            cells.append(f"{spearmanr(foretold, odds).statistic:.2f}")
    task = task_of(name)
    lowest = min(task.error(values) for values in of.values)
    return " | ".join([*cells, f"{of.truth.min():.1%}", f"{lowest:.1%}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="only show how good the tasks are")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=32, help="whole trainings that a search may spend")
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--tasks", nargs="+", default=[of.task for of in recorded()], help="only these")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), help="only these, beside the base")
    options = parser.parse_args()
    if options.fit:
        head = "rank correlation with what is foretold: end | rung | lowest error recorded | foretold"
        print_table(f"set, labels per class | {head}", *map(fit, options.tasks))
        return
    begun, seeds = time.monotonic(), SEEDS[: options.repetitions]
    arms = list(dict.fromkeys([BASE, *options.arms]))
    jobs = itertools.product(options.tasks, arms, seeds)
    results = in_processes(partial(run, trials=options.trials), jobs, options.workers)
    together: dict[str, list[np.ndarray]] = {arm: [] for arm in arms}
    for name in options.tasks:
        by_arm = {arm: [results[name, arm, seed] for seed in seeds] for arm in arms}
        for arm, pairs in compared(name, by_arm, options.trials, table_of(name).steps).items():
            together[arm].append(pairs)
    print_ratios(together)
    print(f"\nn = {len(seeds)}, {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
