"""Balanced batches and balanced weights against none, on real images whose classes differ in size.

    uv run --group dev python benchmarks/imbalance.py IMAGES --sets xray rubbish

IMAGES holds a folder per set: `<set>/train/<class>/*` and `<set>/test/<class>/*`. Every seed draws other labels and
weights, the same for all ways to balance, so differences are paired by seed. Errors are those of the teacher (of the
student, if supervised) on the test images, at the last step; nothing is chosen by them.

A training that has ended is written to benchmarks/results/imbalance.json, and is not repeated: a command that was
interrupted goes on. Another folder of results (`--results`) begins anew.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from kept import keep, read

from mt_sweeps.results.statistics import compare
from trainers import Trainer, TrainerConfig

RESULTS = Path(__file__).parent / "results" / "imbalance.json"
WAYS: dict[str, dict[str, Any]] = {
    "none": {},
    "class-balanced batches": {"sampling": "class_balanced"},
    "balanced weights": {"class_weights": "balanced"},
}
METRICS = ("error", "balanced_error", "macro_f1")


def config(options: argparse.Namespace, images: str, method: str, way: str, seed: int) -> TrainerConfig:
    """Return the configuration of one training."""
    return TrainerConfig.model_validate(
        {
            "method": method,
            "dataset": {
                "name": "image_folder",
                "root": str((options.images / images).resolve()),
                "image_size": options.image_size,
                "labels": options.labels,
                "draw": "random",
                "validation": 100,
                "split_seed": seed,
                "conflicts": "leave_out",  # some images of rubbish are under two classes
            },
            "model": {"name": "small_cnn", "width": 16},
            "steps": options.steps,
            "batch_size": 64,
            "labeled_batch_fraction": 0.25,
            "augmentation": {"translate": 4, "flip": True},
            "ema": {"decay": 0.99},
            "evaluate_every": options.steps,
            "seed": seed,
            **WAYS[way],
        }
    )


def trained(settings: TrainerConfig) -> dict[str, Any]:
    """Train, and return the errors on the test images and the seconds of one core that it took."""
    start, trainer = time.process_time(), Trainer(settings)
    for _ in trainer.run():
        pass
    errors = trainer.test()
    of_model = errors.get("teacher", errors["student"])
    return {
        "error": of_model.rate,
        "balanced_error": of_model.confusion.balanced_error,
        "macro_f1": of_model.confusion.macro_f1,
        "class_errors": dict(zip(trainer.classes, of_model.confusion.class_errors, strict=True)),
        "images": of_model.n,
        "seconds": round(time.process_time() - start, 1),
    }


def run(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Train what has not been trained yet; return all results, by configuration."""
    found = read(options.results)
    for seed in range(options.seeds):  # a whole round of all configurations before the next seed
        for images, method, way in configurations(options):
            key = name(options, images, method, way, seed)
            if key not in found:
                found[key] = trained(config(options, images, method, way, seed))
                metrics = ", ".join(f"{one} {found[key][one]:.1%}" for one in METRICS)
                keep(options.results, found, f"{key}: {metrics}")
    return found


def configurations(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Return (set, method, way) of everything that is trained under each seed."""
    return [(images, method, way) for images in options.sets for method in options.methods for way in WAYS]


def name(options: argparse.Namespace, images: str, method: str, way: str, seed: int) -> str:
    """Return the name of a training, with all that decides it."""
    return f"{images}, {options.labels} labels, {options.image_size} px, {options.steps} steps, {method}, {way}, {seed}"


def table(options: argparse.Namespace, found: dict[str, dict[str, Any]]) -> str:
    """Return the means over seeds and, with two seeds or more, the paired differences from none, as Markdown."""
    heads = ["set", "method", "balanced by", *(f"{one.replace('_', ' ')} | less none [95 %]" for one in METRICS), "s"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * (len(METRICS) * 2 + 4)}"]
    for images, method, way in configurations(options):
        cells, seeds = [images, method, way], range(options.seeds)
        of_way, of_none = ([found[name(options, images, method, w, seed)] for seed in seeds] for w in (way, "none"))
        for metric in METRICS:
            values, others = [row[metric] for row in of_way], [row[metric] for row in of_none]
            cells += [f"{100 * sum(values) / len(values):.1f} %", ""]
            if way != "none" and len(seeds) > 1:
                paired = [one - other for one, other in zip(values, others, strict=True)]
                cells[-1] = compare(way, "none", paired).difference.text("points")
        cells.append(f"{sum(row['seconds'] for row in of_way) / len(of_way):.0f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", type=Path, help="holds a folder for each set")
    parser.add_argument("--sets", nargs="+", default=["xray", "rubbish"])
    parser.add_argument("--methods", nargs="+", default=["mean_teacher", "supervised"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--image-size", type=int, default=32, help="pixels per side")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    print(table(options, run(options)))


if __name__ == "__main__":
    main()
