"""The training step and the loop (Tarvainen & Valpola 2017, section 2). One optimiser step is one tick of the clock."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers import losses, schedules
from trainers.checkpoint import load_checkpoint, save_checkpoint, save_model
from trainers.config import TrainerConfig
from trainers.data import resident
from trainers.data.augmentation import Views
from trainers.data.batches import TwoStreamBatches
from trainers.data.normalization import Normalization
from trainers.data.splits import split_for
from trainers.errors import ConsistencyMissing, DataError, Diverged
from trainers.evaluation import Error, evaluate
from trainers.files import BEST_MODEL, CHECKPOINT
from trainers.methods import MeanTeacher, Method, Supervised
from trainers.models import build
from trainers.randomness import OwnGenerator
from trainers.report import Report

EXPLODED = 1e5  # a loss beyond it never comes back (the authors' limit)
_AVERAGED = ("train.class_loss", "train.consistency_loss")


class Trainer:
    """One training run: a student, and with Mean Teacher its teacher.

    With a directory, the run writes a checkpoint there at every evaluation, and the best model so far; if a checkpoint
    is there already, the run goes on from it, exactly as if it had never stopped.

    Args:
        config: all settings.
        directory: for `checkpoint.pt` and `best.safetensors`; made if it is not there; none: nothing is written.

    Attributes:
        history: all reports so far, those before a resume included.

    Raises:
        DataError: the images are missing, unreadable or too few.
        CheckpointError: the checkpoint in the directory is not one of this configuration.
    """

    def __init__(self, config: TrainerConfig, directory: Path | None = None) -> None:
        self.config = config
        self.history: list[Report] = []
        self._directory = directory
        self._device = _device(config.device)
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        seeds = [int(seed) for seed in np.random.SeedSequence(config.seed).generate_state(5, np.uint32)]

        data = resident.load(config.dataset)
        self._data = data
        self.classes = data.classes
        purposes = split_for(config, data.train_labels.numpy(), len(data.classes), data.train.shape[1])
        images, self._labels = data.train.to(self._device), data.train_labels.to(self._device)
        validation = torch.from_numpy(purposes.validation).to(self._device)
        self._validation = images[validation], self._labels[validation]
        trained_on = np.concatenate([purposes.labeled, purposes.unlabeled])
        self._normalization = Normalization.of(images, torch.from_numpy(trained_on))
        self._batches = TwoStreamBatches(
            purposes.labeled, purposes.unlabeled, config.batch_size, config.labeled_per_batch, (seeds[0], seeds[1])
        )
        self._views = Views(images, self._normalization, config.augmentation, seeds[2])

        self._generator = OwnGenerator(seeds[4], self._device)  # of the weights, then of dropout
        with self._generator.in_use():
            network = build(config.model, images.shape[-1], len(data.classes))
        self._student = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimizer = torch.optim.SGD(
            self._student.parameters(),
            lr=config.optimizer.learning_rate,
            momentum=config.optimizer.momentum,
            nesterov=config.optimizer.nesterov,
            weight_decay=config.optimizer.weight_decay,
        )
        self._method: Method = Supervised()
        if config.method == "mean_teacher":
            teacher_views = Views(images, self._normalization, config.augmentation, seeds[3])
            self._method = MeanTeacher(self._student, teacher_views, config.ema.decay)

        self._step = 0
        self._best_error = float("inf")
        self._train_seconds = self._evaluation_seconds = 0.0
        if directory is not None and (directory / CHECKPOINT).exists():
            self._load_state(load_checkpoint(directory / CHECKPOINT, config, data.fingerprint, self._device))

    def run(self) -> Iterator[Report]:
        """Train to the end of `config.steps`, yielding a report an evaluation.

        The checkpoint of an evaluation is on disk before its report is yielded.

        Raises:
            Diverged: a loss is no longer a number, or beyond 1e5.
            ConsistencyMissing: the consistency term is 0 or moves nothing though its weight is above 0.
        """
        while self._step < self.config.steps:
            to = min(self._step + self.config.evaluation_interval, self.config.steps)
            to -= to % self.config.evaluation_interval if to < self.config.steps else 0
            with self._generator.in_use():
                metrics = self._train(to)
            metrics |= self._evaluate()
            self.history.append(Report(self._step, time.time(), metrics))
            if self._directory is not None:
                self._write(self._directory, metrics)
            yield self.history[-1]

    def test(self) -> dict[str, Error]:
        """The errors of both networks on the test images: to be read once, by the final training.

        Raises:
            DataError: the data set has no test images.
        """
        if not len(self._data.test):
            raise DataError("the data set has no test images")
        images, labels = self._data.test.to(self._device), self._data.test_labels.to(self._device)
        return {name: evaluate(net, images, labels, self._normalization) for name, net in self._networks().items()}

    @property
    def has_test_images(self) -> bool:
        """Whether `test` has anything to read."""
        return len(self._data.test) > 0

    @property
    def data_fingerprint(self) -> str:
        """SHA-256 over the data set's pixels, labels and class names."""
        return self._data.fingerprint

    def save_model(self, path: Path) -> None:
        """Write the teacher as it is now (the student, where there is no teacher) as a model file."""
        network = self._method.teacher or self._student
        save_model(path, network, self._normalization, self.classes, self.config)

    def _train(self, to: int) -> dict[str, float]:
        """Steps up to `to`; returns the means of what was measured on the way."""
        start, first = time.perf_counter(), self._step
        sums: dict[str, Tensor | float] = {}
        while self._step < to:
            for name, value in self._train_step(measure=self._step + 1 == to).items():
                sums[name] = sums.get(name, 0.0) + value
        steps = self._step - first
        # Reading a value waits for the device, so it is done once an interval; NaN and infinity survive the sum.
        metrics = {name: float(total) / steps for name, total in sums.items() if name in _AVERAGED}
        metrics |= {name: float(value) for name, value in sums.items() if name not in _AVERAGED}
        seconds = time.perf_counter() - start
        self._train_seconds += seconds
        metrics["time.images_per_second"] = steps * self.config.batch_size / seconds
        metrics["time.train_seconds"] = self._train_seconds
        self._guard(metrics)
        return metrics

    def _train_step(self, measure: bool) -> dict[str, Tensor | float]:
        """One optimiser step.

        Args:
            measure: also return what is only wanted once an interval.

        Returns:
            Losses and schedules of this step, by the name they are reported under.
        """
        config = self.config
        indices = self._batches.next().to(self._device, non_blocking=True)
        labeled = indices[: config.labeled_per_batch]
        rate = config.optimizer.learning_rate * schedules.half_cosine(self._step, config.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate

        logits = self._student(self._views.draw(indices))
        denominator = len(labeled) if config.class_loss_normalizer == "labeled" else len(indices)
        class_loss = losses.classification(logits[: len(labeled)], self._labels[labeled], denominator)
        loss = class_loss
        measured: dict[str, Tensor | float] = {"train.class_loss": class_loss.detach()}

        target_logits = self._method.target_logits(indices)
        if target_logits is not None:
            consistency = losses.CONSISTENCY[config.consistency.loss](logits, target_logits)
            weight = config.consistency.weight * schedules.sigmoid_ramp_up(self._step, config.ramp_up_steps)
            loss = class_loss + weight * consistency
            measured["train.consistency_loss"] = consistency.detach()
            if measure:
                measured["train.consistency_weight"] = weight
                measured["train.consistency_gradient_norm"] = losses.gradient_norm(consistency, logits)

        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._step += 1
        taken = self._method.after_step(self._step)
        if measure:
            measured |= {"train.learning_rate": rate, **taken}
        return measured

    def _guard(self, metrics: dict[str, float]) -> None:
        """Refuse to go on from losses that mean nothing."""
        for name in _AVERAGED:
            if not metrics.get(name, 0.0) <= EXPLODED:
                raise Diverged(
                    f"{name} is {metrics[name]:.3g} by step {self._step}; lower the learning rate or the weight"
                )
        # Asked at the first evaluation alone: later, a confident pair may agree to the last bit. And at the first step
        # a teacher that began as a copy agrees, where nothing is noisy.
        weighs = self._method.teacher is not None and self.config.consistency.weight > 0
        if weighs and not self.history and self._step > 1:
            for name in ("train.consistency_loss", "train.consistency_gradient_norm"):
                if not metrics[name] > 0:
                    raise ConsistencyMissing(
                        f"{name} is {metrics[name]} at step {self._step} though consistency.weight is "
                        f"{self.config.consistency.weight}"
                    )

    def _evaluate(self) -> dict[str, float]:
        start = time.perf_counter()
        metrics = {}
        for name, network in self._networks().items():
            error = evaluate(network, *self._validation, self._normalization)
            metrics[f"validation.{name}_error"] = error.rate
            metrics[f"validation.{name}_standard_error"] = error.standard_error
        self._evaluation_seconds += time.perf_counter() - start
        metrics["time.evaluation_seconds"] = self._evaluation_seconds
        return metrics

    def _write(self, directory: Path, metrics: dict[str, float]) -> None:
        error = metrics[f"validation.{'student' if self._method.teacher is None else 'teacher'}_error"]
        if error < self._best_error:
            self._best_error = error
            self.save_model(directory / BEST_MODEL)
        save_checkpoint(directory / CHECKPOINT, self.config, self.data_fingerprint, self._device, self._state())

    def _networks(self) -> dict[str, torch.nn.Module]:
        teacher = self._method.teacher
        return {"student": self._student} | ({} if teacher is None else {"teacher": teacher})

    def _state(self) -> dict[str, Any]:
        return {
            "step": self._step,
            "networks": {name: network.state_dict() for name, network in self._networks().items()},
            "optimizer": self._optimizer.state_dict(),
            "batches": self._batches.state_dict(),
            "views": [views.state_dict() for views in self._all_views()],
            "generator": self._generator.state_dict(),
            "best_error": self._best_error,
            "seconds": [self._train_seconds, self._evaluation_seconds],
            "history": [asdict(report) for report in self.history],
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self._step = state["step"]
        for name, network in self._networks().items():
            network.load_state_dict(state["networks"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._batches.load_state_dict(_on_cpu(state["batches"]))
        for views, saved in zip(self._all_views(), state["views"], strict=True):
            views.load_state_dict(_on_cpu(saved))
        self._generator.load_state_dict(_on_cpu(state["generator"]))
        self._best_error = state["best_error"]
        self._train_seconds, self._evaluation_seconds = state["seconds"]
        self.history = [Report(**report) for report in state["history"]]

    def _all_views(self) -> list[Views]:
        return [self._views] + ([] if self._method.views is None else [self._method.views])


def _on_cpu(state: dict[str, Any]) -> dict[str, Any]:
    # Generators and cursors live on the CPU, whatever device the checkpoint was mapped to.
    def move(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: move(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [move(inner) for inner in value]
        return value.cpu() if isinstance(value, Tensor) else value

    moved: dict[str, Any] = move(state)
    return moved


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise DataError("device: cuda is set and no CUDA device is visible; set device: auto or cpu")
    return torch.device(name)
