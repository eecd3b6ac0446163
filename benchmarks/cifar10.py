"""Mean Teacher at the size of the paper: ConvLarge on CIFAR-10 with 4,000 labels, 150,000 steps of 100 images.

    uv run python benchmarks/cifar10.py --images IMAGES --directory RUN --device cuda --precision bf16

IMAGES holds train/<class>/* and test/<class>/*. Checkpoints go to RUN; the same command goes on from the last one.
Prints a line an evaluation, and at the end a row of a Markdown table. The settings are the recipe
conv_large_cifar10_4000, its ramps stretched with `--steps`; docs/search-spaces.md says what differs from the authors'.
"""

import argparse
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the trainer needs no installation

from trainers import Report, Trainer, TrainerConfig, recipes
from trainers.evaluation import Error

PAPER_STEPS = 150_000


def config_of(options: argparse.Namespace) -> TrainerConfig:
    """The recipe of ConvLarge on CIFAR-10, at the chosen number of labels and steps."""
    images = sum(1 for _ in options.images.glob("train/*/*"))
    recipe = recipes.settings("conv_large_cifar10_4000")
    stretch = options.steps / recipe["steps"]
    ramps = {name: max(1, round(recipe["schedule"][name] * stretch)) for name in ("warm_up_steps", "ramp_down_steps")}
    dataset = {"name": "image_folder", "root": str(options.images)}
    overrides: dict[str, Any] = {
        "dataset": dataset | {"labels": options.labels, "validation": options.validation},
        "steps": options.steps,
        "batch_size": options.batch_size,
        # As many labeled images as a batch drawn from all images has on average, and the recipe's weight of them.
        "labeled_batch_fraction": max(options.labels / images, 0.01),
        "consistency": {
            "weight": 100.0 * options.labels / images,
            "ramp_up_steps": round(recipe["consistency"]["ramp_up_steps"] * stretch),
        },
        "schedule": ramps,
        "precision": options.precision,
        "compile": options.compile,
        "evaluate_every": options.evaluate_every or max(1, options.steps // 60),
        "seed": options.seed,
        "device": options.device,
    }
    return TrainerConfig.model_validate(recipes.settings("conv_large_cifar10_4000", overrides))


def told(report: Report, config: TrainerConfig, before: int, seconds: float) -> str:
    """One line of progress.

    Args:
        report: of an evaluation.
        config: of the run.
        before: the step at which this process began.
        seconds: since then.
    """
    metrics = report.metrics
    left = timedelta(seconds=round(seconds / (report.step - before) * (config.steps - report.step)))
    return (
        f"step {report.step:>7,} of {config.steps:,}  student {metrics['validation.student_error']:.2%}  "
        f"teacher {metrics['validation.teacher_error']:.2%}  loss {metrics['train.loss']:.4f}  "
        f"{metrics['time.images_per_second']:,.0f} images/s  {left} left"
    )


def percent(error: Error) -> str:
    return f"{100 * error.rate:.2f} ± {100 * error.standard_error:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder that holds train/ and test/")
    parser.add_argument("--directory", type=Path, required=True, help="for the checkpoints; the run goes on from there")
    parser.add_argument("--steps", type=int, default=PAPER_STEPS)
    parser.add_argument("--batch-size", type=int, default=100, help="images per step")
    parser.add_argument("--labels", type=int, default=4000)
    parser.add_argument("--validation", type=int, default=1000, help="training images kept back for the progress lines")
    parser.add_argument("--evaluate-every", type=int, help="steps between lines and checkpoints (default: 60 in all)")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--seed", type=int, default=2000)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device is visible; --device cpu --precision fp32 --steps 10 tries the command")
    config = config_of(options)

    start = time.perf_counter()
    trainer = Trainer(config, options.directory)
    before = trainer.history[-1] if trainer.history else Report(0, 0.0, {})
    if before.step:
        print(f"going on from step {before.step:,}")
    began = time.perf_counter()
    for report in trainer.run():
        print(told(report, config, before.step, time.perf_counter() - began), flush=True)
    errors = trainer.test()
    # What earlier processes spent on data, steps and evaluations counts too.
    wall = timedelta(seconds=round(before.seconds + time.perf_counter() - start))

    metrics = [report.metrics for report in trainer.history]
    training = sum(metrics[-1].get(f"time.{name}_seconds", 0.0) for name in ("data", "step"))
    peak = max(each["memory.peak_mib"] for each in metrics)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(
        "\n| device | precision | labels | steps | seed | wall time | student, % | teacher, % | images/s | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {device}, torch {torch.__version__} | {options.precision} | {options.labels:,} | {config.steps:,} "
        f"| {config.seed} | {wall} | {percent(errors['student'])} | {percent(errors['teacher'])} "
        f"| {config.steps * config.batch_size / training:,.0f} | {peak:,.0f} |"
    )
    print(f"\nErrors on {errors['teacher'].n:,} test images, ± their standard error.")


if __name__ == "__main__":
    main()
