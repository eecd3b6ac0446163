"""What Mean Teacher gains on the digits with 50 labels, and whether bf16 costs accuracy.

    uv run python benchmarks/accuracy.py choose                    # settings, on validation images and seeds of its own
    uv run python benchmarks/accuracy.py gain                      # the methods against supervised, on the test images
    uv run python benchmarks/accuracy.py precision --images DIR    # bf16 against fp32; DIR holds train/ and test/

A seed draws the split, the weights, the batches and the noise; arms are compared seed by seed. Prints a line a run, and
at the end tables with n, spread and 95 % intervals. One process a run, one thread each.
"""

import argparse
import copy
import itertools
import multiprocessing
import os
import platform
import statistics
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import scipy
import torch

from trainers import Trainer, TrainerConfig
from trainers.data.cache import prepare

Settings = Mapping[str, Any]
Result = dict[str, float]

SEEDS = range(2000, 2012)  # measured once, with settings that were chosen before
CHOOSING_SEEDS = range(1000, 1004)

DIGITS: Settings = {
    "method": "supervised",
    "dataset": {"name": "digits", "labels": 50, "validation": 300},
    "model": {"name": "small_cnn", "width": 16},
    "steps": 300,
    "batch_size": 100,
    "optimizer": {"name": "sgd", "learning_rate": 0.2},
    "augmentation": {"translate": 1, "noise": 0.1},
}
CONSISTENT = {"labeled_batch_fraction": 0.5, "consistency.loss": "mse", "consistency.weight": 30.0}
MEAN_TEACHER = {"method": "mean_teacher", **CONSISTENT, "ema.decay": 0.95}
# What `choose` found best for the baseline; for Mean Teacher it found the above, among as many settings.
CHOSEN_SUPERVISED: Settings = {"augmentation.noise": 0.6}

IMAGES: Settings = {
    "method": "mean_teacher",
    "dataset": {"name": "image_folder", "labels": 1000, "validation": 1000},
    "model": {"name": "small_cnn", "width": 16},
    "batch_size": 100,
    "labeled_batch_fraction": 0.5,
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "augmentation": {"translate": 2, "flip": True, "noise": 0.1},
    "consistency": {"loss": "mse", "weight": 30.0},
    "ema": {"decay": 0.95},
}


def changed(settings: Settings, changes: Settings) -> dict[str, Any]:
    """Settings with some of them, named by dotted keys, replaced."""
    result = copy.deepcopy(dict(settings))
    for key, value in changes.items():
        *groups, name = key.split(".")
        group = result
        for each in groups:
            group = group.setdefault(each, {})
        group[name] = value
    return result


def one_thread() -> None:
    torch.set_num_threads(1)
    # Slow is expected: what is asked is how accurate it is.
    warnings.filterwarnings("ignore", message="precision: bf16 is slower")


def trained(settings: Settings, on: str) -> Result:
    """Errors of the trained networks in [0, 1], by name, and the speed of the run.

    Args:
        settings: of the run.
        on: `test`, or `validation` for choosing.
    """
    trainer = Trainer(TrainerConfig(**settings, evaluate_every=settings["steps"]))
    (report,) = trainer.run()
    names = [name for name in ("student", "teacher") if f"validation.{name}_error" in report.metrics]
    if on == "test":
        errors = {name: error.rate for name, error in trainer.test().items()}
    else:
        errors = {name: report.metrics[f"validation.{name}_error"] for name in names}
    return errors | {"images/s": report.metrics["time.images_per_second"], "network": errors[names[-1]]}


def measured(
    arms: Mapping[str, Settings], seeds: Sequence[int], on: str, pool: ProcessPoolExecutor
) -> dict[str, list[Result]]:
    """The results of each arm, one a seed and in the order of the seeds."""
    start, results, runs = time.monotonic(), {}, {}
    for seed, (arm, settings) in itertools.product(seeds, arms.items()):
        seeded = changed(settings, {"seed": seed, "dataset.split_seed": seed})
        runs[pool.submit(trained, seeded, on)] = arm, seed
    for done in as_completed(runs):
        arm, seed = runs[done]
        result = results[arm, seed] = done.result()
        print(
            f"{time.monotonic() - start:6.0f} s  {len(results):3} of {len(runs)}  seed {seed}  {arm}: "
            f"{on} error {result['network']:.2%}, {result['images/s']:.0f} images/s",
            flush=True,
        )
    return {arm: [results[arm, seed] for seed in seeds] for arm in arms}


def points(results: Sequence[Result], network: str = "network") -> list[float]:
    """Errors in percent."""
    return [100 * result[network] for result in results]


def mean_and_spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}"


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean, by Student's t."""
    n, mean = len(differences), statistics.mean(differences)
    half = float(scipy.stats.t.ppf(0.975, n - 1)) * statistics.stdev(differences) / n**0.5
    return mean - half, mean + half


def paired(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Cells of a table: how much lower our errors are, its spread and interval, and how often they are lower."""
    differences = [their - our for our, their in zip(ours, theirs, strict=True)]
    low, high = interval(differences)
    won = sum(difference > 0 for difference in differences)
    ties = sum(difference == 0 for difference in differences)
    told = f"{won} of {len(differences)}" + (f", {ties} equal" if ties else "")
    mean, spread = statistics.mean(differences), statistics.stdev(differences)
    return f"{mean:+.2f} ± {spread:.2f} | {low:+.2f} to {high:+.2f} | {told}"


def table(*rows: str) -> None:
    head, *body = rows
    print(f"\n| {head} |\n|{'---|' * (head.count(' | ') + 1)}")
    for row in body:
        print(f"| {row} |")


def digits(options: argparse.Namespace, changes: Settings) -> dict[str, Any]:
    return changed(DIGITS, {**changes, "steps": options.steps})


def choose(options: argparse.Namespace) -> None:
    """As many settings for the baseline as for Mean Teacher; no test image is looked at."""
    grids: dict[str, tuple[Settings, dict[str, list[Any]]]] = {
        "supervised": (
            {},
            {
                "optimizer.learning_rate": [0.1, 0.2, 0.4],
                "augmentation.noise": [0.1, 0.3, 0.6, 1.0],
                "model.dropout": [0.0, 0.5],
            },
        ),
        "Mean Teacher": (
            MEAN_TEACHER,
            {
                "consistency.weight": [10.0, 30.0, 100.0],
                "ema.decay": [0.95, 0.98],
                "augmentation.noise": [0.1, 0.3, 0.6, 1.0],
            },
        ),
    }
    for method, (fixed, grid) in grids.items():
        tried = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        tried = tried[: options.settings]
        arms = {str(each): digits(options, {**fixed, **each}) for each in tried}
        results = measured(arms, CHOOSING_SEEDS[: options.seeds], "validation", options.pool)
        best_first = sorted(results, key=lambda arm: statistics.mean(points(results[arm])))
        rows = [f"{arm} | {mean_and_spread(points(results[arm]))}" for arm in best_first]
        table(f"{method}: {len(tried)} settings | validation error, %", *rows)


def gain(options: argparse.Namespace) -> None:
    average_alone = {
        "method": "mean_teacher",
        "labeled_batch_fraction": 1.0,
        "consistency.weight": 0.0,
        "ema.decay": 0.95,
    }
    arms = {
        "supervised, the same settings": digits(options, {}),
        "supervised, chosen": digits(options, CHOSEN_SUPERVISED),
        "supervised, chosen, averaged": digits(options, {**average_alone, **CHOSEN_SUPERVISED}),
        "Pi-model": digits(options, {"method": "pi_model", **CONSISTENT}),
        "temporal ensembling": digits(options, {"method": "temporal_ensembling", **CONSISTENT}),
        "Mean Teacher": digits(options, MEAN_TEACHER),
    }
    seeds = SEEDS[: options.seeds]
    results = measured(arms, seeds, "test", options.pool)
    errors = {arm: points(results[arm]) for arm in arms}
    errors["Mean Teacher, its student"] = points(results["Mean Teacher"], "student")
    for baseline in ("supervised, chosen", "supervised, the same settings", "Pi-model"):
        table(
            f"digits, 50 labels, n = {len(seeds)} | test error, % | points below *{baseline}* | 95 % interval | better",
            *(
                f"{arm} | {mean_and_spread(each)} | " + ("| |" if arm == baseline else paired(each, errors[baseline]))
                for arm, each in errors.items()
            ),
        )
    by_seed = [" | ".join([arm, *(f"{error:.1f}" for error in each)]) for arm, each in errors.items()]
    table(" | ".join(["test error, %, of seed", *map(str, seeds)]), *by_seed)


def precision(options: argparse.Namespace) -> None:
    tasks = {"digits": (digits(options, MEAN_TEACHER), SEEDS[: options.seeds])}
    if options.images is not None:
        settings = changed(IMAGES, {"dataset.root": options.images, "steps": options.image_steps})
        prepare(TrainerConfig(**settings).dataset)  # a folder that does not do is refused before the digits are trained
        tasks["images"] = settings, SEEDS[: options.seeds][: options.image_seeds]
    summary, by_seed = (
        ["test error, % | n | fp32 | bf16 | bf16 lower by, points | 95 % interval | bf16 better | speed"],
        [],
    )
    for task, (settings, seeds) in tasks.items():
        arms = {f"{task}, {each}": changed(settings, {"precision": each}) for each in ("fp32", "bf16")}
        results = measured(arms, seeds, "test", options.pool)
        wide, narrow = results.values()
        speeds = [statistics.median(result["images/s"] for result in each) for each in (wide, narrow)]
        for network in ("teacher", "student"):
            theirs, ours = points(wide, network), points(narrow, network)
            summary.append(
                f"{task}, {settings['steps']} steps, {network} | {len(seeds)} | {mean_and_spread(theirs)} | "
                f"{mean_and_spread(ours)} | {paired(ours, theirs)} | {speeds[1] / speeds[0]:.2f}"
            )
        rows = [
            " | ".join([arm, *(f"{error:.2f}" for error in points(each, "teacher"))]) for arm, each in results.items()
        ]
        by_seed.append([" | ".join(["teacher's test error, %, of seed", *map(str, seeds)]), *rows])
    table(*summary)
    for rows in by_seed:
        table(*rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for command in (choose, gain, precision):
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(command=command)
        sub.add_argument("--workers", type=int, default=2, help="processes at a time")
        sub.add_argument("--seeds", type=int, help="only so many, at least 2: a rehearsal, no result")
        sub.add_argument("--steps", type=int, default=DIGITS["steps"], help="of a run on the digits")
        if command is choose:
            sub.add_argument("--settings", type=int, help="only so many of each method: a rehearsal, no result")
        if command is precision:
            sub.add_argument("--images", metavar="DIR", help="also an image folder of ten classes")
            sub.add_argument("--image-steps", type=int, default=160, help="of a run on it")
            sub.add_argument("--image-seeds", type=int, default=8, help="how many runs of each precision on it")
    options = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    print(
        f"{platform.platform()}, {len(os.sched_getaffinity(0))} cores, {device}, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn"), one_thread) as options.pool:
        options.command(options)


if __name__ == "__main__":
    main()
