"""Every published recipe trains for a few steps, is interrupted, and goes on: on generated images of its shape.

    uv run python benchmarks/recipes.py [RECIPE ...]

Batches are small (20 images; 4 of 224 pixels and 1,000 classes), learning rates and lengths in proportion; all else is
the recipe's. Each runs in a process of its own. Prints a row of a Markdown table each: weights, seconds, peak memory.
Exit status 1 if one fails.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # the trainer needs no installation

from trainers import Trainer, TrainerConfig, recipes
from trainers.recipes.published import scaled

STEPS = 4


def make(root: Path, classes: int, size: int, each: int) -> None:
    """Images of noise, `each` of every class."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        folder = root / "train" / f"{label:04}"
        folder.mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((size, size)).save(folder / f"{i}.jpg")


def config_of(name: str, images: Path) -> TrainerConfig:
    """The recipe with a small batch, on generated images."""
    recipe = recipes.settings(name, {"dataset": {"root": "images"}})
    large = recipe["dataset"]["name"] == "imagenet"
    dataset: dict[str, Any] = {"name": "imagenet" if large else "image_folder", "root": str(images / str(large))}
    dataset |= {"labels": "all" if recipe["dataset"]["labels"] == "all" else 1000 if large else 100}
    whole = recipe.get("labeled_batch_fraction") == 1.0
    batch = 4 if large else 20
    rate = recipe["optimizer"]["learning_rate"] * batch / recipe["batch_size"]
    settings = scaled({"consistency": {"ramp_up_steps": 0}} | recipe, STEPS) | {
        "dataset": dataset | {"validation": 8 if large else 40},
        "batch_size": batch,
        "optimizer": recipe["optimizer"] | {"learning_rate": rate},
        "labeled_batch_fraction": 1.0 if whole else 0.5,
        "evaluate_every": STEPS // 2,
        "device": "cpu",
    }
    return TrainerConfig.model_validate(settings)


def train(name: str, images: Path) -> None:
    """Half of the steps, and the other half in another trainer."""
    config, start = config_of(name, images), time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        first = Trainer(config, Path(directory))
        assert next(first.run()).step == STEPS // 2
        del first
        trainer = Trainer(config, Path(directory))
        assert [report.step for report in trainer.run()] == [STEPS]
    weights = sum(value.numel() for value in trainer._student.parameters())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {name} | {weights / 1e6:.2f} | {time.perf_counter() - start:.0f} | {peak:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", help="default: all")
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.images:
        train(options.recipes[0], options.images)
        return
    with tempfile.TemporaryDirectory() as temporary:
        names = options.recipes or recipes.names()
        make(Path(temporary) / "False", classes=10, size=32, each=20)
        if any("imagenet" in name for name in names):
            make(Path(temporary) / "True", classes=1000, size=256, each=3)
        print("| recipe | weights, millions | seconds | peak memory, GiB |\n|---|---|---|---|", flush=True)
        failed = [
            name for name in names if subprocess.run([sys.executable, __file__, name, "--images", temporary]).returncode
        ]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
