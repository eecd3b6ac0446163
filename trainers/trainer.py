"""The training step and the loop (Tarvainen & Valpola 2017, section 2). One optimiser step is one tick of the clock."""

import copy
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers import losses, schedules
from trainers.checkpoint import load_latest_checkpoint, save_checkpoint, save_model
from trainers.config import TrainerConfig
from trainers.data import dataset
from trainers.data.augmentation import ViewAugmenter
from trainers.data.geometry import center_crop
from trainers.data.loaders import loader
from trainers.data.normalization import Take, fit_normalization
from trainers.data.samplers import TwoStreamBatches
from trainers.data.splits import split_for
from trainers.devices import autocast, on_cpu, resolve_device
from trainers.errors import DataError, NoLabels
from trainers.evaluation import Error, evaluate
from trainers.files import BEST_MODEL
from trainers.guards import check_consistency, check_losses, check_teacher, check_weights
from trainers.methods import MeanTeacher, Method, PiModel, Supervised, Target, TemporalEnsembling
from trainers.models import Network, build
from trainers.optimizer import ScheduledOptimizer
from trainers.profiling import Stopwatch, peak_memory, reset_peak_memory
from trainers.randomness import RunGenerator
from trainers.report import Report
from trainers.settings_audit import Watched


class Trainer:
    """One training run: a student, and with Mean Teacher its teacher.

    With a directory, the run writes a checkpoint there at every evaluation, and the best model so far; if a checkpoint
    is there already, the run goes on from it, exactly as if it had never stopped.

    Args:
        config: all settings.
        directory: for `checkpoint.pt` and `best.safetensors`; made if it is not there; none: nothing is written.

    Attributes:
        history: all reports so far, those before a resume included.
        classes: names, in the order of their indices.
        split: which images serve which purpose.

    Raises:
        DataError: the images are missing, unreadable or too few.
        CheckpointError: the checkpoint in the directory is not one of this configuration, or torn, and so is the one
            before it.
    """

    def __init__(self, config: TrainerConfig, directory: Path | None = None) -> None:
        self.config = config
        self.history: list[Report] = []
        self._directory = directory
        self._watched = Watched(config)
        self._settings = config = self._watched.config
        self._device = resolve_device(config.device)
        self._autocast = autocast(self._device, config.precision)
        self._layout = torch.channels_last if config.channels_last else torch.contiguous_format
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        seeds = [int(seed) for seed in np.random.SeedSequence(config.seed).generate_state(5, np.uint32)]

        self._data = data = dataset.load(self.config.dataset)
        self.classes = data.classes
        self.split = purposes = split_for(config, data.train_labels.numpy(), len(data.classes), data.train.shape[1])
        self._labels = data.train_labels.to(self._device)
        if not len(purposes.labeled) or (data.train_labels[purposes.labeled] < 0).any():
            raise NoLabels("an image without a label was to be trained on with its label")
        self._validation = torch.from_numpy(purposes.validation)
        self._verdict = torch.from_numpy(purposes.verdict) if config.verdict else None
        self._labeled_per_batch = config.labeled_per_batch
        self._batches = TwoStreamBatches(
            purposes.labeled, purposes.unlabeled, config.batch_size, self._labeled_per_batch, (seeds[0], seeds[1])
        )
        self._loader = loader(config.images, data.train, self._batches, self._device)
        trained_on = torch.from_numpy(np.concatenate([purposes.labeled, purposes.unlabeled]))
        self._normalization = fit_normalization(
            config.normalization, self._loader.take, trained_on, data.fingerprint, self._device
        )

        self._generator = RunGenerator(seeds[4], self._device)  # of the weights, then of dropout
        with self._generator.active():
            self._student = self._network()
            self._method = self._chosen_method()
        if config.compile:
            for network in self._networks().values():
                network.compile_passes()
        self._optimization = ScheduledOptimizer(self._student, config)
        looks = config.augmentation
        self._views = [ViewAugmenter(self._normalization, looks, looks.noise, seeds[2], self._device)]
        if self._method.needs_second_view:
            noise = looks.noise if config.teacher.noise is None else config.teacher.noise
            self._views.append(ViewAugmenter(self._normalization, looks, noise, seeds[3], self._device))

        self._step = 0
        self._best_error = float("inf")
        self._stopwatch = Stopwatch(self._device)
        reset_peak_memory(self._device)
        if directory is not None:
            state = load_latest_checkpoint(directory, self.config, data.fingerprint, self._device)
            if state is not None:
                self._load_state(state)

    def run(self) -> Iterator[Report]:
        """Train to the end of `config.steps`, yielding a report an evaluation.

        The checkpoint of an evaluation is on disk before its report is yielded.

        Raises:
            Diverged: a loss is beyond 1e5, or it or a weight is no longer a number.
            Collapsed: the teacher is at chance after it was not.
            ConsistencyMissing: the consistency term is 0 or moves nothing though its weight is above 0.
            UnreadSetting: a setting had no effect.
        """
        interval = self._settings.evaluation_interval
        while self._step < self.config.steps:
            to = min((self._step // interval + 1) * interval, self.config.steps)
            with self._generator.active():
                metrics = self._train(to)
            metrics |= self._evaluate()
            if self._settings is not self.config:
                self._watched.check()
                self._settings = self.config  # to be watched costs time
            self.history.append(Report(self._step, time.time(), metrics))
            if self._directory is not None:
                self._write(self._directory, metrics)
            yield self.history[-1]

    def test(self) -> dict[str, Error]:
        """The errors of both networks on the test images: to be read interval_metrics, by the final training.

        Raises:
            DataError: the data set has no test images.
        """
        if not len(self._data.test):
            raise DataError("the data set has no test images")
        indices = torch.arange(len(self._data.test))
        return self._errors(lambda part: self._data.test[part].to(self._device), indices, self._data.test_labels)

    @property
    def has_test_images(self) -> bool:
        """Whether `test` has anything to read."""
        return len(self._data.test) > 0

    @property
    def data_fingerprint(self) -> str:
        """SHA-256 over the data set's pixels, labels and class names."""
        return self._data.fingerprint

    def preview_views(self, images: int) -> list[Tensor]:
        """Training images, and what is seen of them, for people. It draws from the views: not in a run that counts.

        Args:
            images: how many; labeled ones come first, in the share of a batch.

        Returns:
            The images, each view of the student, and, with a method that looks twice, each second view: float
            [images, channels, height, width] in [0, 1], those of whitened images stretched to it.
        """
        batch = self._batches.next()
        indices = batch[torch.linspace(0, len(batch) - 1, min(images, len(batch))).long()]
        pixels = self._data.train[indices]
        plain = center_crop(pixels.permute(0, 3, 1, 2) / 255, self.config.augmentation.crop)
        views = self._view(pixels.to(self._device), torch.arange(len(indices), device=self._device))
        return [plain, *(self._normalization.shown(view).cpu() for view in views)]

    def save_model(self, path: Path) -> None:
        """Write the teacher as it is now (the student, where there is no teacher) as a model file."""
        network = self._student if self._method.teacher is None else self._method.teacher
        save_model(path, network, self._normalization, self.classes, self._data.train.shape[1], self.config)

    def _train(self, to: int) -> dict[str, float]:
        """Steps up to `to`; returns the means of what was measured on the way."""
        first, before = self._step, self._stopwatch.total("data", "step")
        sums = torch.zeros((), device=self._device)
        step_losses: dict[str, Tensor] = {}
        interval_metrics: dict[str, Tensor | float] = {}
        while self._step < to:
            step_losses, interval_metrics = self._train_step(measure=self._step + 1 == to)
            sums = sums + torch.stack(list(step_losses.values()))
        self._stopwatch.stop()
        steps, seconds = self._step - first, self._stopwatch.total("data", "step") - before
        # Reading a value waits for the device, so it is done once an interval; NaN and infinity survive the sum.
        metrics = dict(zip(step_losses, (sums / steps).tolist(), strict=True))
        metrics |= {name: float(value) for name, value in interval_metrics.items()}
        metrics["train.weighted_class_loss"] = metrics["train.class_weight"] * metrics["train.class_loss"]
        metrics["time.images_per_second"] = steps * self.config.batch_size / seconds
        check_losses(metrics, self._step)
        check_consistency(metrics, self.config, self._step, self.history, self._method.first_target_step)
        return metrics

    def _train_step(self, measure: bool) -> tuple[dict[str, Tensor], dict[str, Tensor | float]]:
        """One optimiser step.

        Args:
            measure: also return what is only wanted once an interval.

        Returns:
            The losses of this step, and what is wanted once an interval, by the names they are reported under.
        """
        config, labeled = self._settings, self._labeled_per_batch
        self._stopwatch.start("data")
        batch = self._loader.next()
        indices = batch.indices
        view, *second = self._view(batch.images, batch.rows)

        self._stopwatch.start("step")
        with self._autocast:
            logits, consistency_logits = self._student.forward_heads(view)
            target = self._method.target(indices, *second)

        class_loss = losses.classification(logits[:labeled], self._labels[indices[:labeled]])
        class_weight = 1.0 if config.class_loss_normalizer == "labeled" else labeled / config.batch_size
        loss = class_weight * class_loss
        step_losses = {"train.class_loss": class_loss.detach()}
        interval_metrics: dict[str, Tensor | float] = {"train.class_weight": class_weight}
        if target is not None:
            weight = schedules.consistency_weight(self._step, config.consistency, config.ramp_up_steps)
            consistency = self._consistency_loss(consistency_logits, target)
            loss = loss + weight * consistency
            step_losses["train.consistency_loss"] = consistency.detach()
            step_losses["train.weighted_consistency_loss"] = weight * consistency.detach()
            if measure:
                interval_metrics["train.consistency_weight"] = weight
                interval_metrics["train.effective_consistency_weight"] = weight / class_weight
                interval_metrics["train.consistency_gradient_norm"] = losses.gradient_norm(
                    consistency, consistency_logits
                )
        if consistency_logits is not logits:
            distance = losses.logit_distance(logits, consistency_logits)
            loss = loss + config.consistency.logit_distance_weight * distance
            step_losses["train.logit_distance"] = distance.detach()
            step_losses["train.weighted_logit_distance"] = config.consistency.logit_distance_weight * distance.detach()
        step_losses["train.loss"] = loss.detach()

        loss.backward()  # type: ignore[no-untyped-call]
        interval_metrics["train.learning_rate"] = self._optimization.step(self._step)
        self._step += 1
        interval_metrics |= self._method.after_step(self._step, indices, logits.detach())
        return step_losses, interval_metrics

    def _view(self, images: Tensor, rows: Tensor) -> list[Tensor]:
        """What each look sees of some images; float [b, channels, height, width]."""
        if self._normalization.of_whole_images:
            images = self._normalization.normalized(images[rows])
            rows = torch.arange(len(rows), device=self._device)
        return [views.draw(images, rows).contiguous(memory_format=self._layout) for views in self._views]

    def _consistency_loss(self, logits: Tensor, target: Target) -> Tensor:
        """The mean over the images that it is on and that have a target; 0 while none has."""
        config = self._settings.consistency
        of_images = losses.CONSISTENCY[config.loss](logits, target.probabilities)
        known = target.known
        if config.images == "unlabeled":
            of_images = of_images[self._labeled_per_batch :]
            known = None if known is None else known[self._labeled_per_batch :]
        return of_images.mean() if known is None else (of_images * known).sum() / known.sum().clamp(min=1)

    def _evaluate(self) -> dict[str, float]:
        self._stopwatch.start("evaluation")
        check_weights(self._student, self._step)
        metrics = {"validation.images": float(len(self._validation))}
        labels = self._data.train_labels[self._validation]
        errors = self._errors(self._loader.take, self._validation, labels) if len(labels) else {}
        for name, error in errors.items():
            metrics[f"validation.{name}_error"] = error.rate
            metrics[f"validation.{name}_standard_error"] = error.standard_error
        if self._verdict is not None and self._step == self.config.steps:
            labels_of_verdict = self._data.train_labels[self._verdict]
            for name, error in self._errors(self._loader.take, self._verdict, labels_of_verdict).items():
                metrics[f"verdict.{name}_error"] = error.rate
                metrics[f"verdict.{name}_standard_error"] = error.standard_error
        self._stopwatch.stop()
        metrics |= {f"time.{name}_seconds": seconds for name, seconds in self._stopwatch.seconds.items()}
        metrics["memory.peak_mib"] = peak_memory(self._device) / 2**20
        metrics["memory.images_mib"] = self._loader.held / 2**20
        check_teacher(metrics, labels, self._step, self.history)
        return metrics

    def _errors(self, take: Take, indices: Tensor, labels: Tensor) -> dict[str, Error]:
        """Of each network on the images that `take` gives for the indices."""
        plain, crop, labels = self._normalization, self.config.augmentation.crop, labels.to(self._device)
        return {name: evaluate(net, take, indices, labels, plain, crop) for name, net in self._networks().items()}

    def _network(self) -> Network:
        config, channels = self._settings, self._data.train.shape[-1]
        network = build(config.model, channels, len(self.classes), config.heads)
        return network.to(self._device, memory_format=self._layout)  # type: ignore[call-overload,no-any-return]

    def _chosen_method(self) -> Method:
        config = self._settings
        if config.method == "mean_teacher":
            teacher = copy.deepcopy(self._student) if config.teacher.start == "copy" else self._network()
            return MeanTeacher(self._student, teacher, config)
        if config.method == "pi_model":
            first, second = getattr(config.model, "dropout", 0.0), config.teacher.dropout
            return PiModel(self._student, (first, first if second is None else second))
        if config.method == "temporal_ensembling":
            weight = self._student.classifier.weight
            images, classes = len(self._data.train), len(self.classes)
            return TemporalEnsembling(images, classes, config.ensemble.decay, self._batches.epoch, weight.detach())
        return Supervised()

    def _write(self, directory: Path, metrics: dict[str, float]) -> None:
        error = metrics.get("validation.teacher_error", metrics.get("validation.student_error"))
        if error is not None and error < self._best_error:
            self._best_error = error
            self.save_model(directory / BEST_MODEL)
        save_checkpoint(directory, self.config, self.data_fingerprint, self._device, self._state())

    def _networks(self) -> dict[str, Network]:
        teacher = self._method.teacher
        return {"student": self._student} | ({} if teacher is None else {"teacher": teacher})

    def _state(self) -> dict[str, Any]:
        return {
            "step": self._step,
            "networks": {name: network.state_dict() for name, network in self._networks().items()},
            "method": self._method.state_dict(),
            "optimization": self._optimization.state_dict(),
            "batches": self._batches.state_dict(),
            "views": [views.state_dict() for views in self._views],
            "generator": self._generator.state_dict(),
            "best_error": self._best_error,
            "seconds": self._stopwatch.seconds,
            "history": [asdict(report) for report in self.history],
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self._step = state["step"]
        for name, network in self._networks().items():
            network.load_state_dict(state["networks"][name])
        self._method.load_state_dict(state["method"])
        self._optimization.load_state_dict(state["optimization"])
        self._batches.load_state_dict(on_cpu(state["batches"]))
        for views, saved in zip(self._views, state["views"], strict=True):
            views.load_state_dict(on_cpu(saved))
        self._generator.load_state_dict(on_cpu(state["generator"]))
        self._best_error = state["best_error"]
        self._stopwatch.seconds = state["seconds"]
        self.history = [Report(**report) for report in state["history"]]
