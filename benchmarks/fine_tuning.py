"""Fine-tuning pre-trained weights with and without Mean Teacher, by our trainer and by a plain script.

    uv run --group dev python benchmarks/fine_tuning.py IMAGES rubbish:15 steel:5 signs:10
    uv run --group dev python benchmarks/fine_tuning.py IMAGES rubbish:15 steel:5 signs:10 --table

Two questions: does the trainer do what a plain script does? And what does Mean Teacher gain if unlabeled images are
added to a batch, and do not replace labeled ones, as half of them do in benchmarks/real_images.py?

IMAGES holds a folder per set: `<set>/train/<class>/*` and `<set>/test/<class>/*`; the number is labels per class.
Nothing is tuned: AdamW, learning rate 0.01 for the head and 0.001 for the body, 20 labeled images per step, with Mean
Teacher 40 unlabeled ones beside them. A seed draws the labels, and both scripts train on the same. The plain script
shares with the trainer only how images are read and split; all else it does by itself, with timm and torch.

A training that has ended is written to benchmarks/results/fine-tuning.json, and is not repeated.
"""

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import real_images
import timm
import torch
from kept import add_options, keep, read
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from mt_sweeps.results.statistics import compare, interval
from trainers import Trainer, TrainerConfig
from trainers.data import dataset
from trainers.data.splits import split_for

RESULTS = Path(__file__).parent / "results" / "fine-tuning.json"
LABELED, UNLABELED = 20, 40  # images per step
HEAD_RATE, BODY_FACTOR, WEIGHT_DECAY = 0.01, 0.1, 0.01
TRANSLATE, BRIGHTNESS, CONTRAST = 4, 0.2, 0.2
DECAY = 0.97
WEIGHTS = {"signs": 30.0}  # of the consistency loss; the other sets: 20
ARMS = ("supervised", "mean_teacher")
WAYS = ("trainer", "plain")


def config(options: argparse.Namespace, task: str, arm: str, seed: int) -> TrainerConfig:
    """Return the settings of one training. The plain script reads from them which images it trains on."""
    both = arm == "mean_teacher"
    return TrainerConfig.model_validate(
        {
            "method": arm,
            "dataset": real_images.dataset(options, task, seed, validation=1),  # nothing is chosen by them
            "model": real_images.pre_trained(),
            "steps": options.steps,
            "batch_size": LABELED + UNLABELED * both,
            "labeled_batch_fraction": LABELED / (LABELED + UNLABELED) if both else 1.0,
            "augmentation": {
                "translate": TRANSLATE,
                "flip": real_images.is_mirrored(task),
                "brightness": BRIGHTNESS,
                "contrast": CONTRAST,
            },
            "consistency": {"weight": WEIGHTS.get(task.partition(":")[0], 20.0)},
            "ema": {"decay": DECAY},
            "optimizer": {
                "name": "adamw",
                "learning_rate": HEAD_RATE,
                "body_learning_rate_factor": BODY_FACTOR,
                "weight_decay": WEIGHT_DECAY,
            },
            "evaluate_every": options.steps,
            "seed": seed,
        }
    )


def by_trainer(settings: TrainerConfig) -> dict[str, float]:
    """Return the test errors of the networks that our trainer ends with."""
    trainer = Trainer(settings)
    for _ in trainer.run():
        pass
    return {network: proportion.rate for network, proportion in trainer.test().items()}


def by_plain_script(settings: TrainerConfig) -> dict[str, float]:
    """Train as the trainer should, without its code; return the test errors."""
    images = dataset.load(settings.dataset)
    size = settings.dataset.image_size  # type: ignore[union-attr]
    parts = split_for(settings, images.train_labels.numpy(), images.classes, size, images.groups)
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    student: Any = timm.create_model(real_images.ARCHITECTURE, pretrained=False)
    weights = torch.load(real_images.pre_trained()["weights"], weights_only=True)
    # The file has names of its own; its layers stand in timm's order.
    student.load_state_dict(dict(zip(student.state_dict(), weights.values(), strict=True)))
    student.reset_classifier(len(images.classes))
    published: dict[str, Any] = student.pretrained_cfg
    mean, std = (torch.tensor(published[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    teacher = copy.deepcopy(student).requires_grad_(False)
    head = list(student.get_classifier().parameters())
    body = [one for one in student.parameters() if not any(one is other for other in head)]
    rates = [HEAD_RATE, HEAD_RATE * BODY_FACTOR]
    groups = [{"params": part, "lr": rate} for part, rate in zip((head, body), rates, strict=True)]
    optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
    pools = [_endless(parts.labeled, rng), _endless(parts.unlabeled, rng)]
    both, ramp_up = settings.method == "mean_teacher", max(1, settings.steps // 5)
    flip = settings.augmentation.flip

    def view(pixels: Tensor) -> Tensor:
        return (_changed(pixels, flip, rng) - mean) / std

    for step in range(settings.steps):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
        chosen = [next(pools[0]) for _ in range(LABELED)] + [next(pools[1]) for _ in range(UNLABELED * both)]
        pixels = images.train[chosen].permute(0, 3, 1, 2).float() / 255
        logits = student(view(pixels))
        loss = cross_entropy(logits[:LABELED], images.train_labels[chosen[:LABELED]])
        if both:
            with torch.no_grad():
                target = teacher(view(pixels)).softmax(1)
            weight = settings.consistency.weight * math.exp(-5 * max(0.0, 1 - step / ramp_up) ** 2)
            loss = loss + weight * (logits.softmax(1) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay = min(1 - 1 / (step + 2), DECAY)
        with torch.no_grad():
            for average, value in zip(teacher.parameters(), student.parameters(), strict=True):
                average.lerp_(value, 1 - decay)
    networks = {"student": student, "teacher": teacher} if both else {"student": student}
    return {name: _error(network, images, mean, std) for name, network in networks.items()}


def _endless(indices: np.ndarray, rng: np.random.Generator) -> Any:
    while True:
        yield from map(int, rng.permutation(indices))


def _changed(pixels: Tensor, flip: bool, rng: np.random.Generator) -> Tensor:
    """Shift, mirror, and change brightness and contrast, each image of [b, 3, height, width] by amounts of its own."""
    size, shifted = pixels.shape[-1], []
    for image in pad(pixels, [TRANSLATE] * 4, mode="reflect"):
        top, left = rng.integers(0, 2 * TRANSLATE + 1, 2)
        one = image[:, top : top + size, left : left + size]
        one = (one * rng.uniform(1 - BRIGHTNESS, 1 + BRIGHTNESS)).clamp(0, 1)
        grey = (0.299 * one[0] + 0.587 * one[1] + 0.114 * one[2]).mean()
        one = (grey + (one - grey) * rng.uniform(1 - CONTRAST, 1 + CONTRAST)).clamp(0, 1)
        shifted.append(one.flip(2) if flip and rng.random() < 0.5 else one)
    return torch.stack(shifted)


@torch.no_grad()
def _error(network: nn.Module, images: dataset.ImageData, mean: Tensor, std: Tensor) -> float:
    network.eval()
    wrong = 0
    for pixels, labels in zip(images.test.split(200), images.test_labels.split(200), strict=True):
        logits = network((pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std)
        wrong += int((logits.argmax(1) != labels).sum())
    return wrong / len(images.test_labels)


def run(options: argparse.Namespace, task: str, found: dict[str, Any]) -> None:
    """Train what has not been trained, seed by seed."""
    for seed in range(options.seeds):
        for arm in ARMS:
            for way in options.ways:
                name, start = f"{task}, {way}, {arm}, seed {seed}", time.process_time()
                if name not in found:
                    settings = config(options, task, arm, seed)
                    errors = by_trainer(settings) if way == "trainer" else by_plain_script(settings)
                    found[name] = errors | {"seconds": round(time.process_time() - start, 1)}
                    keep(options.results, found, f"{name}: {found[name]}")


def table(options: argparse.Namespace, task: str, found: dict[str, Any]) -> list[str]:
    """Return the rows of a set. Differences are over the seeds that both have."""
    by_way: dict[tuple[str, str], dict[int, float]] = {}
    for way in WAYS:
        for arm, network in (("supervised", "student"), ("mean_teacher", "teacher"), ("mean_teacher", "student")):
            names = {seed: f"{task}, {way}, {arm}, seed {seed}" for seed in range(options.seeds)}
            errors = {seed: found[name][network] for seed, name in names.items() if name in found}
            by_way[way, f"{arm.replace('_', ' ')}, {network}"] = errors
    rows = []
    for (way, what), errors in by_way.items():
        if len(errors) > 1:
            references = ((way, "supervised, student"), ("plain", what))
            less = [_less(errors, by_way[reference]) if reference != (way, what) else "" for reference in references]
            rows.append(
                f"| {task} | {way} | {what} | {interval([*errors.values()])} | {' | '.join(less)} | {len(errors)} |"
            )
    return rows


def _less(ours: dict[int, float], theirs: dict[int, float]) -> str:
    paired = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    return compare("ours", "theirs", paired).difference.text("points") if len(paired) > 1 else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", type=Path, help="holds a folder for each set")
    parser.add_argument("tasks", nargs="+", help="set:labels per class")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--image-size", type=int, default=64, help="pixels per side")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS], metavar="WAY", help="train by these alone")
    add_options(parser, RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = read(options.results)
    for task in options.tasks if not options.table else []:
        run(options, task, found)
    print("| set | script | network | test error [95 %] | less supervised [95 %] | less the plain script [95 %] | n |")
    print("|---|---|---|---|---|---|---|")
    for task in options.tasks:
        print("\n".join(table(options, task, found)))


if __name__ == "__main__":
    main()
