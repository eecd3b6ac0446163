"""How finalists on the digits spread and correlate: real trainings, image by image. `benchmarks/verdict.py --estimate`.

Two sets of seeds, three contenders each, with the settings of benchmarks/spaces/digits.yaml:

- *kept back*: 600 images (validation and verdict) stay; a seed draws labels and weights. What finalists are by default.
- *redrawn*: no verdict images; a seed draws the whole split. What finalists are where none are kept back.

Every training leaves which of its images it got wrong. From those: the s.d. of the paired differences over seeds, how
much of the difference of two contenders is in the images that they are scored on (S, the s.d. over images of how much
more often one of them errs there), and from that the correlation of two redrawn splits.
"""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mt_sweeps.spec.load import load_spec
from trainers import Trainer, TrainerConfig
from trainers.checkpoint import load_model
from trainers.data import dataset
from trainers.data.splits import split_for

SPACE = Path(__file__).parent / "spaces" / "digits.yaml"
SEEDS = {"kept back": range(6000, 6010), "redrawn": range(7000, 7036)}
LABELED, SCORED, POOL = 50, 300, 1438  # images of that file; the pool is what splits are drawn from
NEAR = {"ema.decay": 0.97, "consistency.weight": 50.0}
"""What another good trial of the same search differs in from the file's first point."""


def contenders(seed: int, kind: str, steps: int = 300) -> dict[str, TrainerConfig]:
    """The configurations that are compared under one seed."""
    redrawn = kind == "redrawn"
    length = (f"trainer.steps={steps}", f"trainer.evaluate_every={steps}")
    spec = load_spec(SPACE, (*length, *(["trainer.dataset.verdict=0"] if redrawn else [])))
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
    data = dataset.load(config.dataset)
    split = split_for(config, data.train_labels.numpy(), data.classes, data.train.shape[1], data.groups)
    images = np.concatenate([split.validation, split.verdict])
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        trainer.save_model(Path(folder) / "model.safetensors")
        said = load_model(Path(folder) / "model.safetensors").logits(data.train[images]).argmax(1)
    return images, (said != data.train_labels[images]).numpy()


def outcomes(kind: str, seeds: range, steps: int, file: Path | None = None) -> tuple[list[str], np.ndarray]:
    """Train all contenders of a kind under all seeds.

    Args:
        kind: `kept back` or `redrawn`.
        seeds: of that kind.
        steps: of a training.
        file: keeps what was trained, so that a command that was interrupted goes on.

    Returns:
        Names, and float [contenders, seeds, images]: 1 where an image was got wrong, NaN where it was not looked at.
    """
    import torch

    torch.set_num_threads(1)
    names, start = list(contenders(0, kind)), time.monotonic()
    images = len(dataset.load(contenders(0, kind)["supervised"].dataset).train)
    found = np.full((len(names), len(seeds), images), np.nan, np.float32)
    if file is not None and file.exists():
        found = np.load(file)
    for s, seed in enumerate(seeds):
        for c, config in enumerate(contenders(seed, kind, steps).values()):
            if np.isnan(found[c, s]).all():
                looked_at, errs = wrong(config)
                found[c, s, looked_at] = errs
        if file is not None:
            np.save(file, found)
        told = ", ".join(f"{name} {np.nanmean(found[c, s]):.2%}" for c, name in enumerate(names))
        print(f"{time.monotonic() - start:6.0f} s  {kind}, seed {seed}: {told}", flush=True)
    return names, found


def in_images(differences: np.ndarray) -> float:
    """S squared: the variance over images of how much more often one contender errs on them than the other.

    What two seeds have in common on an image, once what each has on all is taken off: the mean product of two seeds on
    one image, over all pairs of them that looked at it.
    """
    rest = differences - np.nanmean(differences, 1, keepdims=True)
    looks = (~np.isnan(rest)).sum(0)
    pairs = np.nansum(rest, 0) ** 2 - np.nansum(rest**2, 0)
    return float(pairs.sum() / (looks * (looks - 1)).sum())


def with_interval(of: Callable[[np.ndarray], float], differences: np.ndarray) -> tuple[float, float, float]:
    """A statistic and its 95 % interval, by leaving out a seed at a time (jackknife)."""
    n, value = len(differences), of(differences)
    without = np.array([of(np.delete(differences, i, 0)) for i in range(n)])
    error = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
    return value, value - 1.96 * error, value + 1.96 * error


def spread_of_scored(differences: np.ndarray) -> float:
    """S.d. over seeds of the mean difference on 300 images; where 600 are looked at, on those in turn."""
    looked_at = np.flatnonzero((~np.isnan(differences)).all(0))
    parts = [differences[:, part] for part in np.array_split(looked_at, 2)] if len(looked_at) else [differences]
    return float(np.sqrt(np.mean([np.nanmean(part, 1).var(ddof=1) for part in parts])))


def share_of_images(differences: np.ndarray) -> float:
    """The variance that differences on 300 images owe to which those are, over their variance over seeds."""
    return in_images(differences) / SCORED / spread_of_scored(differences) ** 2


def estimate(folder: Path | None, most_seeds: int | None = None, steps: int = 300) -> None:
    """Train what has to be trained and print the estimates.

    The correlation of two redrawn splits is what their differences owe to the images that all splits are drawn from. Of
    that, the scored images have S squared over the images that there are. What the labeled images have is not told from
    the luck of weights and batches, but it cannot be more than all that is not the scored images', times the share of
    images that are labeled. What the unlabeled ones have is not estimated.
    """
    all_seeds = {kind: seeds[:most_seeds] for kind, seeds in SEEDS.items()}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, list[str]] = {kind: [] for kind in SEEDS}
    for kind, seeds in all_seeds.items():
        names, errs = outcomes(kind, seeds, steps, folder and folder / f"{kind.replace(' ', '-')}.npy")
        for name, each in zip(names, errs, strict=True):
            means = 100 * np.nanmean(each, 1)
            print(f"{kind}, n = {len(seeds)}: {name} errs {means.mean():.2f} ± {means.std(ddof=1):.2f} %")
        for a, b in itertools.combinations(range(len(names)), 2):
            apart = errs[b] - errs[a]
            mean, (sd, *of_sd) = np.nanmean(apart), with_interval(spread_of_scored, apart)
            share = with_interval(share_of_images, apart)
            cells = [f"{names[b]} less {names[a]}", f"{100 * mean:+.2f}", f"{100 * sd:.2f}"]
            cells += ["{:.2f} to {:.2f}".format(*(100 * end for end in of_sd)), _three(share)]
            if kind == "redrawn":
                scoring = tuple(each * SCORED / POOL for each in share)
                cells += [_three(scoring), f"{scoring[2] + LABELED / POOL:.3f}"]
            rows[kind].append(" | ".join(cells))
    for kind, more in {"kept back": "", "redrawn": " | correlation by scored images | with labels, at most"}.items():
        head = f"{kind}, n = {len(all_seeds[kind])} | points | s.d. | 95 % | share of the images in the variance{more}"
        print(f"\n| {head} |\n|{'---|' * (head.count(' | ') + 1)}", *(f"| {row} |" for row in rows[kind]), sep="\n")


def _three(of: tuple[float, ...]) -> str:
    return "{:.3f} ({:.3f} to {:.3f})".format(*of)
