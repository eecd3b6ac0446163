"""Learning curves of student and teacher, supervised training beside them, on CIFAR-10 images: WRN, 4,000 labels.

    uv run python benchmarks/curves.py --images IMAGES --output docs/images/wrn-curves.png

IMAGES holds train/<class>/*. Prints a row of a Markdown table a method and draws the curves. Settings: the recipe
wrn_cifar10_4000_long with fewer steps and, by default, a narrower net: a CPU takes minutes.
"""

import argparse
from pathlib import Path
from typing import Any

from trainers import Report, Trainer, TrainerConfig, recipes

METHODS = ("mean_teacher", "supervised")


def config_of(method: str, options: argparse.Namespace) -> TrainerConfig:
    """The recipe at the chosen size."""
    overrides: dict[str, Any] = {
        "method": method,
        "dataset": {"name": "image_folder", "root": str(options.images)}
        | {"labels": options.labels, "validation": options.validation},
        "model": {"depth": options.depth, "width": options.width},
        "steps": options.steps,
        "batch_size": options.batch_size,
        "schedule": {"length": round(8 / 7 * options.steps)},
        "consistency": {"ramp_up_steps": round(0.4 * options.steps)},
        "optimizer": {"learning_rate": options.learning_rate},
        "ema": {"decay": options.ema_decay},
        "evaluate_every": max(1, options.steps // 25),
        "seed": options.seed,
    }
    return TrainerConfig.model_validate(recipes.settings("wrn_cifar10_4000_long", overrides))


def trained(config: TrainerConfig, method: str) -> list[Report]:
    """The reports of a run, each told as it comes."""
    trainer = Trainer(config)
    for report in trainer.run():
        errors = {n: f"{v:.1%}" for n, v in report.metrics.items() if n.endswith(("student_error", "teacher_error"))}
        print(f"{method}, step {report.step:,} of {config.steps:,}: {errors}", flush=True)
    return trainer.history


def draw(histories: dict[str, list[Report]], labels: int, output: Path) -> None:
    """The validation errors over the steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=130, layout="constrained")
    axes = figure.subplots()
    lines = (
        ("mean_teacher", "teacher", "Mean Teacher: teacher", "#1f6feb", "-"),
        ("mean_teacher", "student", "Mean Teacher: student", "#1f6feb", ":"),
        ("supervised", "student", f"the {labels:,} labeled images alone", "#d1242f", "-"),
    )
    for method, network, label, color, style in lines:
        steps = [report.step for report in histories[method]]
        errors = [100 * report.metrics[f"validation.{network}_error"] for report in histories[method]]
        axes.plot(steps, errors, style, color=color, label=f"{label} ({errors[-1]:.1f} %)")
    axes.set(xlabel="optimiser step", ylabel="validation error, %", ylim=(0, None), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder that holds train/")
    parser.add_argument("--output", type=Path, default=Path("curves.png"))
    parser.add_argument("--labels", type=int, default=4000)
    parser.add_argument("--validation", type=int, default=2000, help="training images that the curves are read on")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--width", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--ema-decay", type=float, default=0.98, help="the recipe's 0.999 is for a million steps")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    histories = {method: trained(config_of(method, options), method) for method in METHODS}
    draw(histories, options.labels, options.output)
    print("\n| method | steps | student, % | teacher, % | images/s | minutes |\n|---|---|---|---|---|---|")
    for method, history in histories.items():
        last = history[-1].metrics
        errors = [
            f"{100 * last[f'validation.{name}_error']:.1f} ± {100 * last[f'validation.{name}_standard_error']:.1f}"
            if f"validation.{name}_error" in last
            else ""
            for name in ("student", "teacher")
        ]
        print(
            f"| {method} | {history[-1].step:,} | {' | '.join(errors)} | {last['time.images_per_second']:,.0f} "
            f"| {history[-1].seconds / 60:.1f} |"
        )


if __name__ == "__main__":
    main()
