"""Selection by cross-validation against selection by validation images, where labels are few.

    uv run --group dev python benchmarks/cross_validation.py digits:50 digits:100
    uv run --group dev python benchmarks/cross_validation.py natural:100 --images IMAGES --draws 5

A draw has labels of its own and 8 configurations of its own, drawn at random from one space. Each way spends all of the
labels on choosing one of them. The chosen one is judged as it would be used: trained on all of the labels, on images
that neither way has seen. Its regret is that error less the lowest of the same 8 configurations. Ways are compared draw
by draw.

A draw that has been computed is in benchmarks/results/cross-validation.json, and is not repeated.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept import add_options, keep, read

from mt_sweeps.results.statistics import interval
from trainers import CrossValidation, Trainer, TrainerConfig

RESULTS = Path(__file__).parent / "results" / "cross-validation.json"
UNSEEN = {"digits": 800, "natural": 400}
SHARES = {"a fifth for validation": 0.2, "two fifths for validation": 0.4}
FOLDS = {"cross-validation, 5 folds": 5}
"""The ways to choose."""


def configurations(draw: int, trials: int) -> list[dict[str, Any]]:
    """Return the configurations of a draw, by dotted key."""
    rng = np.random.default_rng([draw, 0xC0])
    return [
        {
            "optimizer.learning_rate": float(np.exp(rng.uniform(np.log(0.02), np.log(0.5)))),
            "ema.decay": 1 - float(np.exp(rng.uniform(np.log(0.01), np.log(0.2)))),
            "consistency.weight": float(np.exp(rng.uniform(np.log(1), np.log(100)))),
            "augmentation.noise": float(rng.uniform(0.0, 0.6)),
        }
        for _ in range(trials)
    ]


def config(options: argparse.Namespace, task: str, draw: int, values: dict[str, Any], **dataset: Any) -> TrainerConfig:
    """Return the configuration of one training."""
    images, _, labels = task.partition(":")
    source: dict[str, Any] = {"name": "digits"}
    if images != "digits":
        source = {"name": "image_folder", "root": str((options.images / images).resolve()), "image_size": 32}
    settings: dict[str, Any] = {
        "dataset": {**source, "labels": int(labels), "verdict": UNSEEN[images], "split_seed": draw, **dataset},
        "model": {"name": "small_cnn", "width": 8 if images == "digits" else 16},
        "steps": options.steps,
        "batch_size": 50,
        "labeled_batch_fraction": 0.5,
        "augmentation": {"translate": 1 if images == "digits" else 3, "flip": images != "digits"},
        "evaluate_every": options.steps,
        "seed": draw,
    }
    for key, value in values.items():
        group, name = key.split(".")
        settings.setdefault(group, {})[name] = value
    return TrainerConfig.model_validate(settings)


def draw_once(options: argparse.Namespace, task: str, draw: int) -> dict[str, Any]:
    """Train all that a draw needs: the true error of each configuration, and what each way sees, with its seconds."""
    labels = int(task.partition(":")[2])
    found: dict[str, Any] = {"true": [], "seen": {}, "seconds": {}}
    drawn = configurations(draw, options.trials)
    for values in drawn:
        # Folds of which none is held out: all labels are trained on.
        whole = config(options, task, draw, values, validation=0, folds=2).model_copy(update={"verdict": True})
        (report,) = Trainer(whole).run()
        found["true"].append(report.metrics["verdict.teacher_error"])
    for way in (*SHARES, *FOLDS):
        start = time.process_time()
        found["seen"][way] = [_seen(options, task, draw, values, way, labels) for values in drawn]
        found["seconds"][way] = round(time.process_time() - start, 1)
    return found


def _seen(options: argparse.Namespace, task: str, draw: int, values: dict[str, Any], way: str, labels: int) -> float:
    if way in FOLDS:
        settings = config(options, task, draw, values, validation=0, folds=FOLDS[way])
        *_, report = CrossValidation(settings).run()
    else:
        held = round(SHARES[way] * labels)
        settings = config(options, task, draw, values, labels=labels - held, validation=held)
        *_, report = Trainer(settings).run()
    return report.metrics["validation.teacher_error"]


def regrets(draw: dict[str, Any], way: str) -> float:
    """Return the regret of a way in a draw: the mean over the configurations that it cannot tell from the best."""
    true, seen = np.array(draw["true"]), np.array(draw["seen"][way])
    return float(true[seen == seen.min()].mean() - true.min())


def table(task: str, draws: dict[str, Any]) -> list[str]:
    """Return the rows of a task."""
    reference, rows = next(iter(FOLDS)), []
    by_way = {way: [regrets(draw, way) for draw in draws.values()] for way in (*SHARES, *FOLDS)}
    blind = [float(np.mean(draw["true"]) - min(draw["true"])) for draw in draws.values()]
    for way, regret in {**by_way, "one of them at random": blind}.items():
        less = [ours - theirs for ours, theirs in zip(by_way[reference], regret, strict=True)]
        seconds = np.mean([draw["seconds"].get(way, 0.0) for draw in draws.values()])
        difference = "" if way == reference else _points(less)
        rows.append(f"| {task} | {way} | {_points(regret)} | {difference} | {len(regret)} | {seconds:.0f} |")
    return rows


def _points(values: list[float]) -> str:
    mean = float(np.mean(values))
    half = (interval([value + 0.5 for value in values]).high - 0.5 - mean) if len(values) > 1 else float("nan")
    return f"{100 * mean:.1f} ± {100 * half:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tasks", nargs="+", help="set:labels; digits, or a set below --images")
    parser.add_argument("--images", type=Path, default=Path(), help="holds a folder for each set")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--trials", type=int, default=8, help="configurations per draw")
    parser.add_argument("--steps", type=int, default=150)
    add_options(parser, RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = read(options.results)
    for task in options.tasks if not options.table else []:
        for draw in range(options.draws):
            if str(draw) not in found.setdefault(task, {}):
                found[task][str(draw)] = draw_once(options, task, draw)
                keep(options.results, found, f"{task}, draw {draw}")
    print(
        "| labels | chosen by | regret, points ± 95 % | cross-validation's less this | draws | core seconds per draw |"
    )
    print("|---|---|---|---|---|---|")
    for task in options.tasks:
        print("\n".join(table(task, found.get(task, {}))))


if __name__ == "__main__":
    main()
