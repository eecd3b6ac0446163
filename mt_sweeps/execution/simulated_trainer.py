"""A simulated trainer: learning curves from a formula, failures and hangs on request, no torch.

It stands in for `Trainer` where sweeps themselves are tested and measured. It takes the same configurations, writes the
same files and resumes as exactly, and a trial costs milliseconds. Workers use it if the variable `MT_SWEEP_SCRIPT`
holds a script.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from pydantic import Field

from trainers.config import TrainerConfig
from trainers.config.base import Settings
from trainers.config.compatibility import ONLY_LABELS
from trainers.confusion import Confusion, correct_bits
from trainers.errors import CheckpointError, Collapsed, Diverged, UnreadableCheckpoint
from trainers.files import CHECKPOINT, PREVIOUS_CHECKPOINT, write_atomically
from trainers.report import Report, rate_standard_error

VARIABLE = "MT_SWEEP_SCRIPT"


class Task(Settings):
    """A made-up task: errors form a bowl around one best configuration, and reach it after the consistency ramp-up.

    Errors are fractions. During the ramp-up a large consistency weight is a burden, and a slow teacher lags behind its
    student: what is best at the end looks bad early, as in real semi-supervised training.
    """

    floor: float = Field(0.06, ge=0, lt=1, description="error of the best configuration at the end")
    start: float = Field(0.9, gt=0, le=1, description="error of an untrained network")
    supervised: float = Field(0.25, gt=0, lt=1, description="error that the labeled images alone lead to")
    weight: float = Field(30.0, gt=0, description="best consistency weight with mse; with kl a tenth of it")
    decay: float = Field(0.99, gt=0, lt=1, description="best EMA decay")
    kl: float = Field(0.01, ge=0, description="how much worse kl is than mse")
    width: float = Field(0.04, ge=0, description="error that a factor of ten away from the best weight or decay adds")
    burden: float = Field(0.04, ge=0, description="early error that each factor of ten of the weight adds")


class Script(Settings):
    """What simulated trials do. Trials are named as their folders are: `0003`, `supervised-0000`."""

    task: Task = Task()
    seconds: float = Field(0.0, ge=0, description="seconds between two evaluations")
    fails: dict[str, str] = Field(default={}, description="diverged, collapsed, out_of_memory, error, or lost_worker")
    fails_all: str = Field("", description="the same, for every trial")
    hangs: list[str] = Field(default=[], description="trials that never report")
    log: str = Field("", description="a file that gets one line per computed evaluation: `0003 120`")


@dataclass(frozen=True)
class Curve:
    """The errors of one configuration, by optimiser step, before the noise of finitely many validation images."""

    task: Task
    config: TrainerConfig

    @property
    def end(self) -> float:
        """The error that the teacher would reach with unlimited steps."""
        task, config = self.task, self.config
        if config.method in ONLY_LABELS:
            return task.supervised
        kl = config.consistency.loss == "kl"
        best = task.weight / (10.0 if kl else 1.0)
        weight = max(config.consistency.weight, 1e-6)
        away = math.log10(weight / best) ** 2 + math.log10((1 - config.ema.decay) / (1 - task.decay)) ** 2
        away += 0.2 * math.log2(config.labeled_batch_fraction / 0.25) ** 2
        return min(task.start, task.floor + task.kl * kl + task.width * away)

    def student(self, step: float) -> float:
        """Return the error of the student after so many steps."""
        task, config = self.task, self.config
        early = task.supervised + (task.start - task.supervised) * math.exp(-step / (0.06 * config.steps))
        if config.method in ONLY_LABELS:
            return early
        ramp = max(1, config.consistency_ramp_end)
        ramped = min(1.0, max(0.0, step) / ramp)
        burden = task.burden * math.log10(1 + config.consistency.weight) * ramped
        gained = 1 - math.exp(-max(0.0, step - 0.6 * ramp) / (0.12 * config.steps))
        return min(task.start, (1 - gained) * (early + burden) + gained * 1.1 * self.end)

    def teacher(self, step: float) -> float:
        """Return the error of the teacher: its student's error as many steps ago as the moving average is long."""
        behind = min(1 / (1 - self.config.ema.decay), 0.5 * self.config.steps)
        return self.student(step - min(behind, 0.9 * step)) / 1.1


class SimulatedTrainer:
    """Stands in for `Trainer`: the same `config`, `history` and `run`.

    Args:
        config: all settings; the errors follow from them, and their noise from them and the seed.
        directory: for the checkpoint; its parent is named as the trial is in the script. None: nothing is written.
        script: what happens.
    """

    def __init__(self, config: TrainerConfig, directory: Path | None, script: Script) -> None:
        self.config = config
        self.history: list[Report] = []
        self._directory = directory
        self._script = script
        self._curve = Curve(script.task, config)
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
            self.history = _load(directory, config)

    def run(self) -> Iterator[Report]:
        """Yield one report per evaluation; the checkpoint of a report is on disk before it is yielded.

        Raises:
            Exception: the one that the script asks for, after the first evaluation interval.
        """
        interval, step = self.config.evaluation_interval, self.history[-1].step if self.history else 0
        while step < self.config.total_steps:
            trainings, local = divmod(step, self.config.steps)
            step = trainings * self.config.steps + min((local // interval + 1) * interval, self.config.steps)
            time.sleep(self._script.seconds)
            self._act(step)
            self.history.append(self._evaluate(step))
            if self._directory is not None:
                _save(self._directory, self.config, self.history)
            yield self.history[-1]

    def _act(self, step: int) -> None:
        name = self._directory.parent.name if self._directory is not None else ""
        if self._script.log:
            with Path(self._script.log).open("a") as file:
                file.write(f"{name} {step}\n")
        if name in self._script.hangs:
            time.sleep(1e6)
        reason = self._script.fails.get(name, self._script.fails_all)
        if reason:
            _fail(reason)

    def _evaluate(self, step: int) -> Report:
        confusion, correct = {}, {}
        metrics = {"time.step_seconds": self._script.seconds * step / self.config.evaluation_interval}
        curves = {"student": self._curve.student}
        if self.config.method == "mean_teacher":
            curves["teacher"] = self._curve.teacher
        # Of a cross-validation: the mean over the trainings that have ended and the present one.
        ended, local = (step - 1) // self.config.steps, (step - 1) % self.config.steps + 1
        errors = {
            network: (ended * curve(self.config.steps) + curve(local)) / (ended + 1)
            for network, curve in curves.items()
        }
        scored = {"validation": self.config.dataset.validation}
        if self.config.is_cross_validated:
            labels, folds = self.config.dataset.labels, self.config.dataset.folds or 1
            scored["validation"] = -(-(labels if isinstance(labels, int) else 100) * (ended + 1) // folds)
        if self.config.verdict and local == self.config.steps:
            scored["verdict"] = self.config.dataset.verdict
        for purpose, images in scored.items():
            # Without defaults: a setting that a later version adds must not change what simulations measured.
            settings = self.config.model_dump_json(exclude_defaults=True)
            key = hashlib.sha256(f"{settings} {purpose} {step}".encode()).digest()
            rng, of_classes, of_images = (np.random.default_rng([*key, *stream]) for stream in ((), (0,), (1,)))
            for network, error in errors.items():
                wrong = int(rng.binomial(images, error))
                seen = wrong / images
                metrics[f"{purpose}.{network}_error"] = seen
                metrics[f"{purpose}.{network}_standard_error"] = rate_standard_error(seen, images)
                matrix = _two_classes(images, wrong, of_classes)
                if purpose == "validation":
                    correct[f"{purpose}.{network}"] = _correct(matrix, of_images)
                metrics |= matrix.metrics(f"{purpose}.{network}")
                confusion[f"{purpose}.{network}"] = matrix.as_json()
        return Report(step, time.time(), metrics, confusion, correct)


def _two_classes(images: int, wrong: int, rng: np.random.Generator) -> Confusion:
    """Return a confusion matrix with a rare class, a tenth of the images; which of them are wrong is drawn."""
    rare = max(1, images // 10)
    wrong_rare = int(rng.hypergeometric(rare, images - rare, wrong))
    wrong_common = wrong - wrong_rare
    counts = [[images - rare - wrong_common, wrong_common], [wrong_rare, rare - wrong_rare]]
    return Confusion(np.array(counts, np.int64))


def _correct(matrix: Confusion, rng: np.random.Generator) -> str:
    """Return which images are classified correctly, class by class: drawn at random, as if none were harder."""
    right = zip(matrix.images, matrix.counts.diagonal(), strict=True)
    return correct_bits(np.concatenate([rng.permutation(images) < correct for images, correct in right]))


def from_environment() -> Script | None:
    """Return the script that the environment holds, or None.

    Raises:
        pydantic.ValidationError: the variable holds something else.
    """
    text = os.environ.get(VARIABLE)
    return Script.model_validate_json(text) if text else None


def _fail(reason: str) -> NoReturn:
    if reason == "lost_worker":
        os._exit(1)
    failures: dict[str, type[Exception]] = {"diverged": Diverged, "collapsed": Collapsed, "out_of_memory": MemoryError}
    raise failures.get(reason, RuntimeError)("as the script says")


def _save(directory: Path, config: TrainerConfig, history: list[Report]) -> None:
    if (directory / CHECKPOINT).exists():
        (directory / CHECKPOINT).replace(directory / PREVIOUS_CHECKPOINT)
    state = {"config": config.model_dump_json(), "history": [asdict(report) for report in history]}
    write_atomically(directory / CHECKPOINT, json.dumps(state))


def _load(directory: Path, config: TrainerConfig) -> list[Report]:
    last, previous = directory / CHECKPOINT, directory / PREVIOUS_CHECKPOINT
    files = [file for file in (last, previous) if file.exists()]
    for file in files:
        try:
            state: dict[str, Any] = json.loads(file.read_text())
        except ValueError:
            continue
        if TrainerConfig.model_validate_json(state["config"]) != config:
            raise CheckpointError(f"{file} was written by a run of another configuration")
        if file is previous and last.exists():
            last.replace(last.with_suffix(".unreadable"))
        return [Report(**report) for report in state["history"]]
    if files:
        raise UnreadableCheckpoint(f"{files[0]} cannot be read as a checkpoint: it is torn")
    return []
