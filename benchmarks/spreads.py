"""How finalists on the digits spread and correlate: real trainings, image by image. `benchmarks/verdict.py --estimate`.

Two sets of seeds, three contenders each, with the settings of search_spaces/digits.yaml:

- *kept back*: 600 images (validation and verdict) stay; a seed draws labels and weights. What finalists are by default.
- *redrawn*: no verdict images; a seed draws the whole split. What finalists are where none are kept back.

Every training leaves which of its images it got wrong. From those: the s.d. of the paired differences over seeds, how
much of the difference of two contenders is in the images that they are scored on (S, the s.d. over images of how much
more often one of them errs there), and from that the correlation of two redrawn splits.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from mt_sweeps import spec as specs
from trainers import Trainer, TrainerConfig
from trainers.checkpoint import load_model
from trainers.data import prepared
from trainers.data.splits import split_for

SPACE = Path(__file__).parents[1] / "search_spaces" / "digits.yaml"
SEEDS = {"kept back": range(6000, 6040), "redrawn": range(7000, 7060)}
NEAR = {"ema.decay": 0.97, "consistency.weight": 50.0}
"""What another good trial of the same search differs in from the file's first point."""


def contenders(seed: int, kind: str) -> dict[str, TrainerConfig]:
    """The configurations that are compared under one seed."""
    redrawn = kind == "redrawn"
    spec = specs.load(SPACE, ("trainer.evaluate_every=300", *(["trainer.dataset.verdict=0"] if redrawn else [])))
    best = dict(spec.points[0])
    draws = {"seed": seed, "dataset.split_seed" if redrawn else "dataset.label_seed": seed}
    return {
        "Mean Teacher": spec.config({**best, **draws}),
        "another": spec.config({**best, **NEAR, **draws}),
        "supervised": spec.config(draws, "supervised"),
    }


def wrong(config: TrainerConfig) -> tuple[np.ndarray, np.ndarray]:
    """The images that selected nothing in this training, and which of them the trained network gets wrong."""
    import torch

    trainer = Trainer(config)
    for _ in trainer.run():
        pass
    data = prepared.load(config.dataset)
    split = split_for(config, data.train_labels.numpy(), len(data.classes), data.train.shape[1])
    images = np.concatenate([split.validation, split.verdict])
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        trainer.save_model(Path(folder) / "model.safetensors")
        said = load_model(Path(folder) / "model.safetensors").logits(data.train[images]).argmax(1)
    return images, (said != data.train_labels[images]).numpy()


def outcomes(kind: str, file: Path | None = None) -> tuple[list[str], np.ndarray]:
    """Train all contenders of a kind under all its seeds.

    Args:
        kind: `kept back` or `redrawn`.
        file: keeps what was trained, so that a command that was interrupted goes on.

    Returns:
        Names, and float [contenders, seeds, images]: 1 where an image was got wrong, NaN where it was not looked at.
    """
    import torch

    torch.set_num_threads(1)
    names, start = list(contenders(0, kind)), time.monotonic()
    images = len(prepared.load(contenders(0, kind)["supervised"].dataset).train)
    found = np.full((len(names), len(SEEDS[kind]), images), np.nan, np.float32)
    if file is not None and file.exists():
        found = np.load(file)
    for s, seed in enumerate(SEEDS[kind]):
        for c, config in enumerate(contenders(seed, kind).values()):
            if np.isnan(found[c, s]).all():
                looked_at, errs = wrong(config)
                found[c, s, looked_at] = errs
        if file is not None:
            np.save(file, found)
        told = ", ".join(f"{name} {np.nanmean(found[c, s]):.2%}" for c, name in enumerate(names))
        print(f"{time.monotonic() - start:6.0f} s  {kind}, seed {seed}: {told}", flush=True)
    return names, found
