"""Record trainings to a table that searches can be replayed from: at the rung and at the end, image by image.

    uv run python benchmarks/pruning_tables.py digits
    uv run python benchmarks/pruning_tables.py natural --images IMAGES

IMAGES is a folder of images with train/<class>/*. The configurations are the first that a random search of a space
draws: of spaces/digits.yaml or search_spaces/image_folder.yaml. All have the labels, images and seed of one sweep.
benchmarks/pruning.py replays the tables.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from search import DIGITS, new_ledger, specification

from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.study.pruner import rungs
from trainers import Trainer
from trainers.files import write_atomically

IMAGE_FOLDER = Path(__file__).parents[1] / "search_spaces" / "image_folder.yaml"
TABLES = Path(__file__).parent / "results" / "pruning"
SMALL = (  # pictures that a processor trains on in seconds
    "trainer.dataset.image_size=16",
    "trainer.dataset.labels=80",
    "trainer.dataset.validation=300",
    "trainer.dataset.verdict=2000",
    "trainer.model.width=16",
    "trainer.steps=200",
    "trainer.evaluate_every=20",
    "trainer.batch_size=60",
    "search_space.ema.decay.high=0.995",
)


def space(name: str, images: Path | None, trials: int) -> SweepSpec:
    """Return the search that is recorded; its verdict images stand for the truth."""
    if name == "digits":
        file, more = DIGITS, ("trainer.dataset.verdict=600",)
    else:
        file, more = IMAGE_FOLDER, (*SMALL, f"trainer.dataset.root={images}")
    return specification(file, "random", "asha", 0, trials, "trainer.verdict=true", *more)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="digits, or what the folder of images is called")
    parser.add_argument("--images", type=Path, help="the folder")
    parser.add_argument("--trainings", type=int, default=60)
    parser.add_argument("--output", type=Path, default=TABLES, help="folder of tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spec = space(options.name, options.images, options.trainings)
    ledger, (rung, *_), begun = new_ledger(spec), rungs(spec), time.process_time()
    trainings: list[dict[str, Any]] = []
    options.output.mkdir(parents=True, exist_ok=True)
    images = spec.sample_config().dataset.validation
    print("| training | error on the verdict images, % | seconds of processor time so far |\n|---|---|---|")
    for number in range(options.trainings):
        trial = ledger.ask_search()
        assert trial is not None
        reports = [report for report in Trainer(spec.config(trial.values)).run() if report.step >= rung]
        last = reports[-1]
        correct = {"rung": reports[0].correct, "end": last.correct}
        trainings.append({"values": trial.values, **correct, "truth": last.metrics["verdict.teacher_error"]})
        seconds, error = time.process_time() - begun, 100 * last.metrics["verdict.teacher_error"]
        print(f"| {number} | {error:.1f} | {seconds:.0f} |", flush=True)
        table = {"images": images, "rung": rung, "steps": spec.steps, "trainings": trainings}
        write_atomically(options.output / f"{options.name}.json", json.dumps(table, indent=0) + "\n")


if __name__ == "__main__":
    main()
