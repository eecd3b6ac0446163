"""Settings, runs and images that several tests start from."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import sklearn.datasets  # noqa: F401 (else the first test that reads the digits would wait for it)
import torch
import torch._dynamo  # else the first test that makes an optimiser would wait for it
from PIL import Image
from safetensors.torch import load_file

from trainers import Trainer, TrainerConfig
from trainers.config import DatasetConfig
from trainers.confusion import Confusion
from trainers.data.sources import decode
from trainers.evaluation import Evaluation

REPOSITORY = Path(__file__).parents[2]

METHODS = ("supervised", "pi_model", "temporal_ensembling", "mean_teacher")

REVISITED = {"name": "digits", "labels": 20, "validation": 60, "verdict": 1318}
"""40 unlabeled images are left. At 15 per batch each is soon drawn again, which temporal ensembling needs."""

EVERY_NOISE = {
    "dataset": REVISITED,
    "model": {"name": "small_cnn", "width": 4, "dropout": 0.3},
    "augmentation": {"translate": 2, "flip": True, "noise": 0.1},
}


def decode_whole(dataset: DatasetConfig, cache: Path) -> SimpleNamespace:
    """Return all that `decode` yields of a data set: its facts and its pixels."""
    cache.mkdir(exist_ok=True)
    blocks: list[np.ndarray] = []
    contents = decode(dataset, cache, blocks.append)
    pixels, n = np.concatenate(blocks), len(contents.train_labels)
    return SimpleNamespace(**vars(contents), train=pixels[:n], test=pixels[n:])


def config(**changes: Any) -> TrainerConfig:
    """Return the configuration of a run of a fraction of a second on the digits."""
    settings = {
        "dataset": {"name": "digits", "labels": 20, "validation": 60},
        "model": {"name": "small_cnn", "width": 4},
        "steps": 6,
        "batch_size": 20,
        "evaluate_every": 2,
        "device": "cpu",
    }
    return TrainerConfig.model_validate(settings | changes)


def finished(settings: TrainerConfig, directory: Path | None = None) -> Trainer:
    trainer = Trainer(settings, directory)
    for _ in trainer.run():
        pass
    return trainer


def weights(trainer: Trainer, path: Path) -> dict[str, torch.Tensor]:
    trainer.save_model(path)
    return load_file(path)


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def results(trainer: Trainer) -> list[dict[str, Any]]:
    """Return the reported values that must be the same if the run is repeated."""
    return [
        {"step": report.step, **{f"correct.{name}": bits for name, bits in report.correct.items()}}
        | {name: value for name, value in report.metrics.items() if not name.startswith(("time.", "memory."))}
        for report in trainer.history
    ]


def saved_state(checkpoint: Path) -> dict[str, Any]:
    """Return what a checkpoint holds after its checksum."""
    return torch.load(io.BytesIO(checkpoint.read_bytes()[32:]), weights_only=True)


def evaluation(rate: float, images: int) -> Evaluation:
    """Return the evaluation of a network that errs at this rate, on two classes of as many images."""
    wrong = round(rate * images / 2)
    right = images // 2 - wrong
    return Evaluation(rate, images, Confusion(np.array([[right, wrong], [wrong, right]])))


def write_image(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_two_classes(folder: Path) -> Path:
    """Write 40 random images of each of two classes below the folder, which is returned."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for i in range(40):
            write_image(folder / "train" / name / f"{i}.png", rng.integers(0, 255, (8, 8, 3), np.uint8))
    return folder


def in_fresh_process(script: str, *arguments: object) -> str:
    """Run a script in a new Python process and return what it prints."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=120).stdout
