"""The training step and the loop (Tarvainen & Valpola 2017, section 2). Time is counted in optimiser steps."""

import copy
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers import losses
from trainers.captured_step import CAN_CAPTURE, CapturedStep
from trainers.checkpoint import Model, load_latest_checkpoint, save_checkpoint, save_model
from trainers.config import Augmentation, TrainerConfig, WithWeights
from trainers.consistency import consistency_loss
from trainers.data import dataset
from trainers.data.normalization import PerChannel
from trainers.data.training_data import EvaluationImages, TrainingData
from trainers.determinism import deterministic, reserve_workspaces
from trainers.devices import autocast, has_bf16_units, memory_format, on_cpu, resolve_device
from trainers.errors import DataError
from trainers.evaluation import Evaluation, evaluate
from trainers.files import BEST_MODEL
from trainers.guards import check_consistency, check_losses, check_teacher, check_weights
from trainers.methods import METHODS, MeanTeacher, Method, PiModel, Supervised, TemporalEnsembling
from trainers.models import Network, build
from trainers.models.first_weights import FirstWeights, WeightsOrigin, load_first_weights, read_first_weights
from trainers.models.weight_normalization import (
    initialize_from_batch,
    is_weight_normalized,
    keep_directions_contiguous,
)
from trainers.optimizer import Optimizer
from trainers.planned_rows import PLANNED
from trainers.probe import fit_probe, start_from_probe
from trainers.profiling import Stopwatch, peak_memory, reset_peak_memory
from trainers.randomness import RunGenerator
from trainers.report import Report, kept_error
from trainers.timetable import Timetable
from trainers.uncertainty import Examples, worst_and_least_certain

_log = logging.getLogger(__name__)


class Trainer:
    """One training run: a student, and with Mean Teacher its teacher.

    With a directory, the run writes a checkpoint there at every evaluation, and the best model so far. If there is a
    checkpoint already, the run continues from it, exactly as if it had never stopped.

    Args:
        config: all settings.
        directory: for `checkpoint.pt` and `best.safetensors`; created if it does not exist. None: nothing is written.
        earlier: reports of the folds before, if it is a training of a cross-validation; checkpoints keep them.

    Attributes:
        earlier: as given, or as the checkpoint has them.
        precision: of the networks' passes: what `auto` stands for here, or where the run began.
        history: all reports so far, those before a resume included.
        classes: names, in the order of their indices.
        split: which images serve which purpose.

    Raises:
        DataError: the images, or the first weights, are missing, unreadable, too few or of another network.
        NoLabels: there is no labeled image, or one of them has no label.
        CheckpointError: the checkpoint in the directory belongs to another configuration, or it is torn and so is the
            one before it.
    """

    def __init__(self, config: TrainerConfig, directory: Path | None = None, earlier: Sequence[Report] = ()) -> None:
        self.config = config
        self.earlier = list(earlier)
        self.history: list[Report] = []
        self._directory = directory
        self._device = resolve_device(config.device)
        reserve_workspaces(self._device)
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

        state = None
        if directory is not None:
            fingerprint = dataset.load(config.dataset).fingerprint
            state = load_latest_checkpoint(directory, config, fingerprint, self._device)
        self._is_fresh = state is None
        kept = state.get("precision", config.precision) if state is not None else None  # earlier ones do not have it
        self.precision: str = kept or self._choose_precision()
        self._autocast = autocast(self._device, self.precision)
        self._first_weights: FirstWeights | None = None
        self._weights_origin: WeightsOrigin | None = None
        if isinstance(config.model, WithWeights) and config.model.weights is not None:
            if state is None:
                self._first_weights = read_first_weights(config.model)
                self._weights_origin = self._first_weights.origin
            else:  # the file may be gone: a run reads it once
                self._weights_origin = WeightsOrigin(**state["weights_origin"])

        *data_seeds, network_seed = map(int, np.random.SeedSequence(config.seed).generate_state(5, np.uint32))
        self._data = TrainingData(
            config, self._device, data_seeds, METHODS[config.method].needs_second_view, self._weights_normalization()
        )
        self.classes = self._data.classes
        self.split = self._data.split

        self._generator = RunGenerator(network_seed, self._device)  # of the first weights, then of dropout
        with self._generator.active(), deterministic(config.deterministic):
            self._student = self._build_network()
            self._method = self._build_method()
        if config.compile:
            for network in self._networks().values():
                network.compile_passes()
        self._optimizer = Optimizer(self._student, config)
        self._timetable = Timetable(config, self._device)
        self._replay: CapturedStep[dict[str, Tensor]] | None = None
        if self._device.type == "cuda" and self._data.is_resident and CAN_CAPTURE:
            self._replay = CapturedStep(self._data.generators, self._optimizer.drop_gradients)

        self._step = 0
        self._loss_names: list[str] = []
        self._loss_sums: Tensor | None = None
        self._best_error = float("inf")
        self._stopwatch = Stopwatch(self._device)
        self._first_weights = None  # its memory
        reset_peak_memory(self._device)
        if state is not None:
            self._load_state(state)

    def run(self) -> Iterator[Report]:
        """Train to the end of `config.steps` and yield one report per evaluation.

        The checkpoint of an evaluation is on disk before its report is yielded.

        Raises:
            Diverged: a loss is beyond 1e5, or it or a weight is no longer a number.
            Collapsed: the teacher is at chance after it was better.
            ConsistencyMissing: the consistency loss is 0 or has no gradient though its weight is above 0.
            NotDeterministic: `deterministic` is set, and an operation has no such form on this device.
        """
        interval = self.config.evaluation_interval
        while self._step < self.config.steps:
            end = min((self._step // interval + 1) * interval, self.config.steps)
            with self._generator.active(), deterministic(self.config.deterministic):
                metrics = self._fit_probe() if self.config.method == "probe" else self._train(end)
            evaluated = self._evaluate()
            metrics |= evaluated.metrics
            self.history.append(replace(evaluated, metrics=metrics))
            if self._directory is not None:
                self._save(self._directory, metrics)
            yield self.history[-1]

    def test(self) -> dict[str, Evaluation]:
        """Return the errors of both networks on the test images. Only a final training may call it, once.

        Raises:
            DataError: the data set has no test images.
        """
        return self._evaluate_on(self._data.test)

    def test_examples(self, most: int) -> tuple[Examples, Examples]:
        """Return the worst mistakes and the least certain of the test images, as `validation_examples` does.

        Only a final training may call it, beside `test`. The indices count the test images from 0.

        Raises:
            DataError: the data set has no test images.
        """
        return self._examples(self._data.test, most)

    def validation_examples(self, most: int) -> tuple[Examples, Examples]:
        """Return the worst mistakes of the present network on the validation images, and those it is least certain of.

        The network is the teacher (the student, if there is no teacher).

        Args:
            most: at most how many of each.

        Raises:
            ValueError: the network gives probabilities that are not finite.
        """
        return self._examples(self._data.validation, most)

    @property
    def step(self) -> int:
        """Optimiser steps taken so far. Another thread may read it while `run` trains."""
        return self._step

    @property
    def has_test_images(self) -> bool:
        """Whether the data set has a test set."""
        return self._data.has_test_images

    @property
    def data_fingerprint(self) -> str:
        """SHA-256 over the data set's pixels, labels and class names."""
        return self._data.fingerprint

    @property
    def first_weights(self) -> str | None:
        """SHA-256 of the file that the network started from; None: its first weights were drawn at random."""
        return None if self._weights_origin is None else self._weights_origin.sha256

    def preview_views(self, images: int, augmentations: Sequence[Augmentation] | None = None) -> list[Tensor]:
        """Return some training images and augmented views of them, as pictures for people.

        It draws from generators of its own: the run does not notice.

        Args:
            images: at most how many: a labeled one of each class, then unlabeled ones.
            augmentations: that of each view; None: the student's and, with a method that needs it, that of the second
                view.

        Returns:
            The images, then each of their views: float [images, channels, height, width] in [0, 1]. Views of whitened
            images are stretched to that range.
        """
        if augmentations is None:
            second = [self.config.second_augmentation] if METHODS[self.config.method].needs_second_view else []
            augmentations = [self.config.augmentation, *second]
        return self._data.preview(images, augmentations)

    def preview_classes(self, images: int) -> list[tuple[str | None, bool]]:
        """Return the class of each image of a preview.

        Args:
            images: as for `preview_views`.

        Returns:
            The name of the class, or None for an image that has none; and whether its label is trained on.
        """
        return self._data.preview_classes(images)

    def save_model(self, path: Path) -> None:
        """Write the present weights of the teacher (of the student, if there is no teacher) as a model file."""
        data = self._data
        save_model(
            path,
            self._last_network,
            data.normalization,
            self.classes,
            data.image_size,
            data.channels,
            self.config,
            self.first_weights,
            data.color_share,
        )

    @property
    def _last_network(self) -> Network:
        """The teacher, or the student if there is none: what a run is trained for."""
        return self._student if self._method.teacher is None else self._method.teacher

    def _examples(self, images: EvaluationImages, most: int) -> tuple[Examples, Examples]:
        network, data = self._last_network, self._data
        model = Model(network, data.normalization, self.classes, data.image_size, data.channels, self.config)
        training = network.training
        network.eval()
        try:
            with deterministic(self.config.deterministic):
                return worst_and_least_certain(model, images.take, images.indices, images.labels, most)
        finally:
            network.train(training)

    def _train(self, end: int) -> dict[str, float]:
        """Take the steps up to `end`; return the metrics of this interval."""
        first, seconds_before = self._step, self._stopwatch.total("data", "step")
        if self._loss_sums is not None:
            self._loss_sums.zero_()
        at_end: dict[str, Tensor] = {}
        while self._step < end:
            planned = min(PLANNED, end - self._step)
            self._timetable.plan(self._step, planned)
            self._data.plan(planned)
            for _ in range(planned):
                if self._replay is None:
                    at_end = self._take_step(measure=self._step + 1 == end)
                else:  # each step measures, as a step of another kind would need as much memory again as the graph has
                    self._stopwatch.start("step")
                    at_end = self._replay(partial(self._take_step, measure=True))
                self._step += 1
        self._stopwatch.stop()
        steps, seconds = self._step - first, self._stopwatch.total("data", "step") - seconds_before
        # Reading a value waits for the device, so it is done once per interval. NaN and infinity survive the sum.
        assert self._loss_sums is not None
        metrics = dict(zip(self._loss_names, (self._loss_sums / steps).tolist(), strict=True))
        metrics |= self._timetable.metrics(end - 1) | {name: float(value) for name, value in at_end.items()}
        metrics["train.class_weight"] = self._class_weight
        if "train.consistency_weight" in metrics:
            metrics["train.effective_consistency_weight"] = metrics["train.consistency_weight"] / self._class_weight
        metrics["train.weighted_class_loss"] = self._class_weight * metrics["train.class_loss"]
        metrics["time.images_per_second"] = steps * self.config.batch_size / seconds
        check_losses(metrics, self._step)
        check_consistency(metrics, self.config, self._step, self.history, self._method.first_target_step)
        return metrics

    def _fit_probe(self) -> dict[str, float]:
        """Fit the head to the features of the labeled images, once; return the metrics."""
        self._stopwatch.start("step")
        data, crop = self._data, self.config.augmentation.crop
        probe = fit_probe(
            self._student, data.labeled, data.validation, data.normalization, crop, self._weights_of_classes
        )
        self._step = self.config.steps
        self._stopwatch.stop()
        return {"train.class_loss": probe.loss, "train.loss": probe.loss, "train.penalty": probe.penalty}

    def _take_step(self, measure: bool = False) -> dict[str, Tensor]:
        """Take one of the planned steps, and add its losses to the sums of the interval.

        All that changes from step to step is on the device, so that the step can be captured.

        Args:
            measure: also return the metrics that are costly and only reported once per interval.
        """
        config, labeled = self.config, self.config.labeled_per_batch
        self._stopwatch.start("data")
        now, batch = self._timetable.next(), self._data.next_batch()
        view, *second_view = self._data.views(batch)

        self._stopwatch.start("step")
        with self._autocast:
            logits, consistency_logits = self._student.forward_heads(view)
            target = self._method.target(batch.indices, *second_view)

        class_loss = losses.classification(
            logits[:labeled],
            self._data.labels[batch.indices[:labeled]],
            self._data.class_weights,
            "count" if config.class_loss_normalizer == "whole_batch" else "weights",
        )
        loss = self._class_weight * class_loss
        step_losses: dict[str, Tensor] = {"train.class_loss": class_loss}
        measured: dict[str, Tensor] = {}
        if target is not None:
            consistency, confident_share = consistency_loss(config, consistency_logits, target)
            weighted = now.consistency_weight * consistency
            loss = loss + weighted
            step_losses |= {"train.consistency_loss": consistency, "train.weighted_consistency_loss": weighted}
            if confident_share is not None:
                step_losses["train.confident_share"] = confident_share
            if measure:
                measured["train.consistency_gradient_norm"] = losses.gradient_norm(consistency, consistency_logits)
        if consistency_logits is not logits:
            distance = losses.logit_distance(logits, consistency_logits)
            weighted = config.consistency.logit_distance_weight * distance
            loss = loss + weighted
            step_losses |= {"train.logit_distance": distance, "train.weighted_logit_distance": weighted}
        step_losses["train.loss"] = loss

        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step(now)
        self._method.after_step(now, batch.indices, logits.detach())
        self._add_up(step_losses)
        return measured

    def _add_up(self, step_losses: dict[str, Tensor]) -> None:
        """Add the losses of a step to the sums of the interval."""
        values = torch.stack([loss.detach() for loss in step_losses.values()])
        if self._loss_sums is None:
            self._loss_names, self._loss_sums = list(step_losses), torch.zeros_like(values)
        self._loss_sums += values

    @property
    def _class_weight(self) -> float:
        """The weight of the classification loss, of labeled images, in the loss."""
        config = self.config
        return config.labeled_per_batch / config.batch_size if config.class_loss_normalizer == "whole_batch" else 1.0

    def _evaluate(self) -> Report:
        """Return an evaluation; its metrics are errors, seconds and memory."""
        self._stopwatch.start("evaluation")
        check_weights(self._student, self._step)
        validation = self._data.validation
        metrics = {"validation.images": float(len(validation))}
        evaluations = {"validation": self._evaluate_on(validation) if len(validation) else {}}
        if self.config.verdict and self._step == self.config.steps:
            evaluations["verdict"] = self._evaluate_on(self._data.verdict)
        confusion, correct = {}, {}
        for purpose, of_networks in evaluations.items():
            for name, evaluation in of_networks.items():
                metrics |= evaluation.metrics(f"{purpose}.{name}")
                confusion[f"{purpose}.{name}"] = evaluation.confusion.as_json()
                if purpose == "validation":
                    correct[f"{purpose}.{name}"] = evaluation.correct
        self._stopwatch.stop()
        metrics |= {f"time.{name}_seconds": seconds for name, seconds in self._stopwatch.seconds.items()}
        metrics["memory.peak_mib"] = peak_memory(self._device) / 2**20
        metrics["memory.images_mib"] = self._data.resident_bytes / 2**20
        check_teacher(metrics, validation.labels, self._step, self.history)
        return Report(self._step, time.time(), metrics, confusion, correct)

    def _evaluate_on(self, images: EvaluationImages) -> dict[str, Evaluation]:
        """Evaluate each network on some images."""
        normalization, crop = self._data.normalization, self.config.augmentation.crop
        labels = images.labels.to(self._device)
        with deterministic(self.config.deterministic):
            return {
                name: evaluate(network, images.take, images.indices, labels, normalization, crop)
                for name, network in self._networks().items()
            }

    def _choose_precision(self) -> str:
        """Return what the setting `precision` stands for on this device, and log it if it was chosen here."""
        config = self.config
        if config.precision != "auto":
            return config.precision
        precision = config.chosen_precision(has_bf16_units(self._device))
        _log.info("precision: %s was chosen for %s on this %s", precision, config.model.name, self._device.type)
        return precision

    def _weights_normalization(self) -> PerChannel | None:
        """Return the normalisation of the images that the first weights were trained with, if there are any."""
        origin = self._weights_origin
        if origin is None or self.config.normalization != "of_weights":
            return None
        if origin.mean is None or origin.std is None:
            raise DataError(
                "normalization: of_weights: the model in model.weights was trained with whole images normalised; set "
                "normalization to what it was trained with: per_image or zca"
            )
        mean, std = (
            torch.tensor(values, device=self._device, dtype=torch.get_default_dtype())
            for values in (origin.mean, origin.std)
        )
        return PerChannel(mean, std)

    def _build_network(self) -> Network:
        network = build(self.config.model, self._data.channels, len(self.classes), self.config.heads)
        if self._first_weights is not None:
            load_first_weights(network.features, self._first_weights)
        model = self.config.model
        if self.config.optimizer.body_learning_rate_factor == 0:
            network.freeze_body()
        elif isinstance(model, WithWeights) and model.batch_norm == "of_weights":
            network.fix_statistics()
        layout = memory_format(self.config.channels_last)
        network.to(self._device, memory_format=layout)  # type: ignore[call-overload]
        keep_directions_contiguous(network)
        if self._is_fresh and is_weight_normalized(network):
            initialize_from_batch(network, self._data.first_view())
        starts_from_probe = isinstance(model, WithWeights) and model.head == "probe" and self.config.method != "probe"
        if self._is_fresh and starts_from_probe:
            data, crop = self._data, self.config.augmentation.crop
            start_from_probe(network, data.labeled, data.normalization, crop, self._weights_of_classes)
        return network

    @property
    def _weights_of_classes(self) -> np.ndarray | None:
        """Factors on the classification losses of the images of each class, float64 [classes]; None: all 1."""
        weights = self._data.class_weights
        return None if weights is None else weights.double().cpu().numpy()

    def _build_method(self) -> Method:
        config = self.config
        if config.method == "mean_teacher":
            teacher = copy.deepcopy(self._student) if config.teacher.start == "copy" else self._build_network()
            return MeanTeacher(self._student, teacher, config)
        if config.method == "pi_model":
            first, second = getattr(config.model, "dropout", 0.0), config.teacher.dropout
            dropout = (first, first if second is None else second)
            return PiModel(self._student, dropout, config.consistency.target_gradient)
        if config.method == "temporal_ensembling":
            like = next(self._student.parameters()).detach()
            images, classes = len(self._data.labels), len(self.classes)
            return TemporalEnsembling(images, classes, config.ensemble.decay, self._data.epoch, like)
        return Supervised()

    def _networks(self) -> dict[str, Network]:
        teacher = self._method.teacher
        return {"student": self._student} | ({} if teacher is None else {"teacher": teacher})

    def _save(self, directory: Path, metrics: dict[str, float]) -> None:
        """Write the model, if it is the best so far and of all labeled images, and the checkpoint."""
        error = kept_error(metrics)
        if self.config.dataset.fold is None and error is not None and error < self._best_error:
            self._best_error = error
            self.save_model(directory / BEST_MODEL)
        save_checkpoint(directory, self.config, self.data_fingerprint, self._device, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "step": self._step,
            "networks": {name: network.state_dict() for name, network in self._networks().items()},
            "method": self._method.state_dict(),
            "optimization": self._optimizer.state_dict(),
            **self._data.state_dict(),
            "generator": self._generator.state_dict(),
            "best_error": self._best_error,
            "precision": self.precision,
            "weights_origin": None if self._weights_origin is None else asdict(self._weights_origin),
            "seconds": self._stopwatch.seconds,
            "history": [asdict(report) for report in self.history],
            "earlier": [asdict(report) for report in self.earlier],
        }

    def _load_state(self, state: dict[str, Any]) -> None:
        self._step = state["step"]
        for name, network in self._networks().items():
            network.load_state_dict(state["networks"][name])
        self._method.load_state_dict(state["method"])
        self._optimizer.load_state_dict(state["optimization"])
        self._data.load_state_dict(state)
        self._generator.load_state_dict(on_cpu(state["generator"]))
        self._best_error = state["best_error"]
        self._stopwatch.seconds = state["seconds"]
        self.history = [Report(**report) for report in state["history"]]
        self.earlier = [Report(**report) for report in state.get("earlier", [])]
