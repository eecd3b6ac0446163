"""What several of these tests start from."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainers import TrainerConfig

REPOSITORY = Path(__file__).parents[2]


def config(**changes: Any) -> TrainerConfig:
    """A run of a fraction of a second on the digits."""
    settings = {
        "dataset": {"name": "digits", "labels": 20, "validation": 60},
        "model": {"name": "small_cnn", "width": 4},
        "steps": 6,
        "batch_size": 20,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainerConfig.model_validate(settings | changes)


def results(trainer: Any) -> list[dict[str, float]]:
    """All that was reported and must be the same when the run is repeated."""
    return [
        {"step": report.step} | {name: value for name, value in report.metrics.items() if not name.startswith("time.")}
        for report in trainer.history
    ]


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def in_fresh_process(script: str, *arguments: object) -> str:
    """What a script prints that runs in a Python of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=120).stdout
