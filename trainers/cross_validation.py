"""Cross-validation: one training per fold of the labeled images, which together are one run."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trainers.checkpoint import saved_fold
from trainers.config import TrainerConfig
from trainers.confusion import Confusion
from trainers.evaluation import Evaluation
from trainers.report import Report
from trainers.trainer import Trainer


class CrossValidation:
    """One training per fold, one after the other. It reports, is interrupted and goes on as a single `Trainer` does.

    A report counts the steps of all trainings so far. Its validation errors are those on the folds that were held out
    so far, each by the training that did not see it, the present one as it is now: at the end, on all labeled images.
    Its verdict errors are means over the trainings. No model is kept: each lacks a part of the labels.

    Args:
        config: all settings, with `dataset.folds`.
        directory: for the checkpoint; created if it does not exist. None: nothing is written.

    Attributes:
        history: all reports so far, those before a resume included.

    Raises:
        As `Trainer` does.
    """

    def __init__(self, config: TrainerConfig, directory: Path | None = None) -> None:
        assert config.dataset.folds is not None
        self.config = config
        self._directory = directory
        self._folds = config.dataset.folds
        self._fold = 0 if directory is None else saved_fold(directory)
        self._trainer = Trainer(config.of_fold(self._fold), directory)
        self.history = [*self._trainer.earlier, *map(self._with_earlier, self._trainer.history)]

    @property
    def first_weights(self) -> str | None:
        """SHA-256 of the file that the networks started from; None: their first weights were drawn at random."""
        return self._trainer.first_weights

    @property
    def data_fingerprint(self) -> str:
        """SHA-256 over the data set's pixels, labels and class names."""
        return self._trainer.data_fingerprint

    def run(self) -> Iterator[Report]:
        """Train on what is left of every fold and yield one report per evaluation. Raises as `Trainer.run` does."""
        while True:
            for report in self._trainer.run():
                self.history.append(self._with_earlier(report))
                yield self.history[-1]
            if self._fold + 1 == self._folds:
                return
            self._fold += 1
            del self._trainer  # its memory, before the next one needs as much
            if self.config.compile:
                gc.collect()  # a compiled network refers to itself
            self._trainer = Trainer(self.config.of_fold(self._fold), self._directory, self.history)

    def _with_earlier(self, report: Report) -> Report:
        """Return a report of the present training together with the last one of the trainings before."""
        earlier = self._trainer.earlier
        return together(earlier[-1], report, earlier[-1].step // self.config.steps) if earlier else report


def together(before: Report, report: Report, trainings: int) -> Report:
    """Return what trainings and one more show together.

    Args:
        before: what the earlier ones came to, together.
        report: of the one more.
        trainings: how many the earlier ones are.
    """
    metrics = dict(report.metrics)
    for name, value in before.metrics.items():
        if name.startswith("time.") and name.endswith("_seconds"):
            metrics[name] = metrics.get(name, 0.0) + value
        elif name.startswith("verdict.") and name in metrics:
            metrics[name] = (trainings * value + metrics[name]) / (trainings + 1)
    confusion = {name: _summed(before.confusion.get(name), content) for name, content in report.confusion.items()}
    for name, content in confusion.items():
        if name.startswith("validation."):
            matrix = Confusion.from_json(content)
            images = int(matrix.images.sum())
            wrong = images - int(np.trace(matrix.counts))
            metrics |= Evaluation(wrong / images, images, matrix).metrics(name)
            metrics["validation.images"] = float(images)
    correct = {name: before.correct[name] + bits for name, bits in report.correct.items() if name in before.correct}
    return replace(report, step=before.step + report.step, metrics=metrics, confusion=confusion, correct=correct)


def _summed(first: dict[str, Any] | None, second: dict[str, Any]) -> dict[str, Any]:
    counts = Confusion.from_json(second).counts
    return Confusion(counts if first is None else counts + Confusion.from_json(first).counts).as_json()
