"""How many operations a training step asks of the device, and whether the program waits for it; counted on a CPU.

    uv run --group dev python benchmarks/launches.py

An operation is a launch on a GPU, except for views and allocations, which are not counted. One on a list of tensors is
counted once; a GPU needs a few launches where the list is long. Steps of a CUDA graph also measure what is reported
once per interval. The two of these that are compared are the fifth and the sixth of a run: they are the same if they
are the same operations with the same numbers at the same addresses, so that a graph can replay them.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the helper of the tests

from throughput import random_images

from tests.helpers.recorded_step import RecordedStep
from trainers import Trainer, TrainerConfig, recipes
from trainers.data import image_operations

ADAM = {
    "optimizer": {"name": "adam", "warm_up_beta2": 0.99, "ramp_down_beta1": 0.5},
    "schedule": {"name": "ramp_down", "ramp_down_steps": 5, "warm_up_steps": 5},
}
STEPS: dict[str, dict[str, Any]] = {
    "small CNN": {},
    "small CNN, supervised": {"method": "supervised"},
    "small CNN, Pi-model": {"method": "pi_model"},
    "small CNN, temporal ensembling": {"method": "temporal_ensembling"},
    "small CNN, noise": {"augmentation": {"noise": 0.1}},
    "small CNN, colours": {"augmentation": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    "small CNN, crops and rotation": {"augmentation": {"translate": 0, "crop": 28, "rotate": 10.0}},
    "small CNN, TrivialAugment": {"augmentation": {"strong": "trivial_augment"}},
    "small CNN, RandAugment": {"augmentation": {"strong": "rand_augment"}},
    "WRN-28-2": {"model": {"name": "wide_resnet"}},
    "ConvLarge, batch norm": {"model": {"name": "conv_large"}},
    "ConvLarge as published: weight norm, Adam, ZCA": {
        "model": {"name": "conv_large", "norm": "weight"},
        "normalization": "zca",
        **ADAM,
    },
    "shake-shake-26": {"model": {"name": "shake_shake", "width": 8}},
}


def row(name: str, more: dict[str, Any], images: Path) -> str:
    """Return what is counted in one step, as a row of the table."""
    settings = {
        "dataset": {"name": "image_folder", "root": str(images), "labels": 40, "validation": 20},
        "steps": 400,
        "batch_size": 4,
        "augmentation": {"translate": 2, "flip": True},
        "device": "cpu",
    }
    trainer = Trainer(TrainerConfig.model_validate(recipes.merged(settings, more)))
    trainer._timetable.plan(0, 6)
    trainer._data.plan(6)
    records = []
    for number in range(6):
        with RecordedStep() as record:
            trainer._take_step(measure=number != 3)
        records.append(record)
    plain, *measured = records[3:]
    same = "yes" if measured[0].operations == measured[1].operations else "no"
    waits = len(measured[1].waits)
    return f"| {name} | {plain.launches} | {measured[1].launches} | {waits} | {same} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(STEPS), default=list(STEPS), help="these steps alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    image_operations._would_wait = lambda _: True  # as on a GPU
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MT_SWEEP_CACHE"] = str(Path(folder) / "cache")
        random_images(Path(folder), 20)
        print("| step | operations | and measured | waits for the device | the next step is the same |")
        print(f"|{'---|' * 5}")
        for name in options.only:
            print(row(name, STEPS[name], Path(folder)), flush=True)


if __name__ == "__main__":
    main()
