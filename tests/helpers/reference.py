"""A run recomputed from its configuration with independent formulas, in float64, to compare the trainer with."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers import TrainerConfig

Weights = dict[str, Tensor]
"""Parameters and batch-norm statistics of a small_cnn, by the names they have in a state_dict."""


class Reference:
    """The student and, with Mean Teacher, its teacher.

    Args:
        config: of a run with the model small_cnn.
        networks: the first weights of each network, by its name.
        labels: int64 [n], of all training images.
    """

    def __init__(self, config: TrainerConfig, networks: dict[str, Weights], labels: Tensor) -> None:
        self.networks = {
            name: {key: value.double() if value.is_floating_point() else value for key, value in network.items()}
            for name, network in networks.items()
        }
        self._config = config
        self._labels = labels
        self._parameters = [name for name in networks["student"] if name.endswith((".weight", ".bias"))]
        self._first = {name: torch.zeros_like(self._student[name]) for name in self._parameters}
        self._second = {name: torch.zeros_like(self._student[name]) for name in self._parameters}
        self._beta_products = [1.0, 1.0]
        self._predictions: dict[int, list[Tensor]] = {}  # temporal ensembling: the student's, for each image, in order
        ramp_up = config.consistency.ramp_up_steps
        self._ramp_up_steps = config.steps // 5 if ramp_up is None else ramp_up

    @property
    def _student(self) -> Weights:
        return self.networks["student"]

    def step(self, t: int, indices: Tensor, views: list[Tensor], masks: Iterator[Tensor]) -> dict[str, float]:
        """Take a step after `t` others.

        Args:
            t: at least 0.
            indices: int64 [b], the labeled images first.
            views: [b, channels, height, width], the student's and, if the method needs it, the second.
            masks: the factors of dropout on the features, in the order of the passes; empty: no dropout.

        Returns:
            The metrics of this step that are reported under `train.`.
        """
        config = self._config
        batch = len(indices)
        labeled = batch if config.method == "supervised" else round(config.labeled_batch_fraction * batch)
        leaves = [self._student[name].requires_grad_() for name in self._parameters]
        logits, consistency_logits = _passed(self._student, views[0].double(), True, next(masks, 1.0))

        p = _softmax(logits)
        own = self._labels[indices[:labeled]]
        weights = torch.ones(labeled, dtype=torch.float64)
        if isinstance(config.class_weights, dict):  # of the digits, whose names are their numbers
            weights = torch.tensor([config.class_weights.get(str(one), 1.0) for one in own.tolist()]).double()
        divisor = labeled if config.class_loss_normalizer == "whole_batch" else weights.sum()
        class_loss = (-p[torch.arange(labeled), own].log() * weights).sum() / divisor
        class_weight = labeled / batch if config.class_loss_normalizer == "whole_batch" else 1.0
        loss = class_weight * class_loss
        values = {
            "class_loss": class_loss,
            "class_weight": class_weight,
            "weighted_class_loss": class_weight * class_loss,
        }

        if config.method != "supervised":
            with torch.set_grad_enabled(config.consistency.target_gradient):
                targets = self._targets(indices, views, masks)
            consistency = self._consistency_loss(_softmax(consistency_logits), targets, labeled)
            weight = config.consistency.weight * _ramp_up(t, self._ramp_up_steps, config.consistency.ramp_up)
            loss = loss + weight * consistency
            (gradient,) = torch.autograd.grad(consistency, consistency_logits, retain_graph=True)
            values["consistency_loss"] = consistency
            values["weighted_consistency_loss"] = weight * consistency
            values["consistency_weight"] = weight
            values["effective_consistency_weight"] = weight / class_weight
            values["consistency_gradient_norm"] = (gradient**2).sum().sqrt()
            if config.consistency.heads == 2:
                distance = ((logits - consistency_logits) ** 2).sum() / logits.numel()
                weighted = config.consistency.logit_distance_weight * distance
                loss = loss + weighted
                values |= {"logit_distance": distance, "weighted_logit_distance": weighted}
        values["loss"] = loss

        gradients = torch.autograd.grad(loss, leaves)
        with torch.no_grad():
            values["learning_rate"] = self._update(t, dict(zip(self._parameters, gradients, strict=True)))
            if config.method == "mean_teacher":
                values["ema_decay"] = self._average(t)
            for image in set(indices.tolist()):
                self._predictions.setdefault(image, []).append(p[indices == image].mean(0))
        return {f"train.{name}": torch.as_tensor(value).item() for name, value in values.items()}

    def _targets(self, indices: Tensor, views: list[Tensor], masks: Iterator[Tensor]) -> list[Tensor | None]:
        config = self._config
        if config.method == "temporal_ensembling":
            decay = config.ensemble.decay
            return [
                _averaged(self._predictions[i], decay) if i in self._predictions else None for i in indices.tolist()
            ]
        network = self.networks["teacher"] if config.method == "mean_teacher" else self._student
        return list(_softmax(_passed(network, views[1].double(), config.teacher.mode == "train", next(masks, 1.0))[0]))

    def _consistency_loss(self, ours: Tensor, targets: list[Tensor | None], labeled: int) -> Tensor:
        config = self._config.consistency
        of_images = []
        for i, (p, q) in enumerate(zip(ours, targets, strict=True)):
            if q is None or (config.images == "unlabeled" and i < labeled):
                continue
            of_images.append(((p - q) ** 2).sum() / len(q) if config.loss == "mse" else (q * (q / p).log()).sum())
        mean = sum(of_images) / len(of_images) if of_images else 0 * ours.sum()
        if config.images == "unlabeled" and self._config.class_loss_normalizer == "whole_batch":
            mean = mean * (len(ours) - labeled) / len(ours)
        return mean

    def _update(self, t: int, gradients: Weights) -> float:
        config = self._config.optimizer
        schedule = self._config.schedule
        rate = config.learning_rate
        if t < schedule.warm_up_steps:
            rise = _ramp_up(t, schedule.warm_up_steps, schedule.warm_up)
            rate *= rise if schedule.warm_up == "sigmoid" else schedule.warm_up_from * (1 - rise) + rise
        left = 1.0
        if schedule.name == "half_cosine":
            rate *= math.cos(math.pi * t / (schedule.length or self._config.steps)) / 2 + 0.5
        elif schedule.name == "quarter_cosine":
            rate *= math.sin(math.pi / 2 * (1 - t / (schedule.length or self._config.steps)))
        elif schedule.name == "step_decay":
            rate *= math.prod(schedule.factor for at in schedule.at if at <= t)
        elif schedule.name == "ramp_down" and t > self._config.steps - schedule.ramp_down_steps:
            begin = self._config.steps - schedule.ramp_down_steps
            left = math.exp(-12.5 * ((t - begin) / schedule.ramp_down_steps) ** 2)
            rate *= left
        if config.name != "sgd":
            beta1, beta2 = config.beta1, config.beta2
            if getattr(config, "ramp_down_beta1", None) is not None:
                beta1 = config.ramp_down_beta1 + left * (beta1 - config.ramp_down_beta1)
            if getattr(config, "warm_up_beta2", None) is not None and t < schedule.warm_up_steps:
                beta2 = config.warm_up_beta2
            self._beta_products[0] *= beta1
            self._beta_products[1] *= beta2

        for name, gradient in gradients.items():
            weight = self._student[name].detach()
            is_norm_or_bias = name.endswith(("bias", ".1.weight"))
            decay = 0.0 if is_norm_or_bias and config.weight_decay_on == "weights" else config.weight_decay
            force = gradient if config.name == "adamw" else gradient + decay * weight
            if config.name == "sgd":
                self._first[name] = config.momentum * self._first[name] + force
                move = force + config.momentum * self._first[name] if config.nesterov else self._first[name]
            else:
                self._first[name] = beta1 * self._first[name] + (1 - beta1) * force
                self._second[name] = beta2 * self._second[name] + (1 - beta2) * force**2
                mean = self._first[name] / (1 - self._beta_products[0])
                move = mean / ((self._second[name] / (1 - self._beta_products[1])) ** 0.5 + config.epsilon)
                if config.name == "adamw":
                    move = move + decay * weight
            self._student[name] = weight - rate * move
        return rate

    def _average(self, t: int) -> float:
        config, teacher = self._config.ema, self.networks["teacher"]
        updates = t + 1
        early = config.ramp_up_decay is not None and updates <= self._ramp_up_steps
        alpha = min(updates / (updates + 1), config.ramp_up_decay if early else config.decay)
        batch_norm = self._config.teacher.batch_norm
        for name, value in self._student.items():
            if name in self._parameters or batch_norm == "averaged":
                teacher[name] = alpha * teacher[name] + (1 - alpha) * value
            elif batch_norm != "own":
                teacher[name] = value
        return alpha


def _passed(network: Weights, pixels: Tensor, train: bool, mask: Tensor | float) -> tuple[Tensor, Tensor]:
    """Return the logits of the first and of the last head. In train mode, the batch-norm statistics are updated."""
    features = pixels
    for layer in (0, 1, 3, 4, 6):
        features = F.conv2d(features, network[f"features.{layer}.0.weight"], padding=1)
        norm = f"features.{layer}.1."
        if train:
            mean, variance = features.mean((0, 2, 3)), features.var((0, 2, 3), correction=0)
            n = features.numel() / features.shape[1]
            for name, value in (("mean", mean), ("var", variance * n / (n - 1))):
                network[f"{norm}running_{name}"] = 0.9 * network[f"{norm}running_{name}"] + 0.1 * value.detach()
        else:
            mean, variance = network[f"{norm}running_mean"], network[f"{norm}running_var"]
        features = (features - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        features = features * network[f"{norm}weight"][:, None, None] + network[f"{norm}bias"][:, None, None]
        features = torch.where(features > 0, features, 0.1 * features)
        if layer in (1, 4):
            features = features.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
    features = features.mean((2, 3)) * mask
    heads = [
        features @ network[f"{head}.weight"].T + network[f"{head}.bias"]
        for head in ("classifier", "agreement")
        if f"{head}.weight" in network
    ]
    return heads[0], heads[-1]


def _softmax(logits: Tensor) -> Tensor:
    powers = logits.exp()
    return powers / powers.sum(1, keepdim=True)


def _averaged(said: list[Tensor], decay: float) -> Tensor:
    """Return the mean of an image's predictions, in which each weighs 1 / decay times as much as the one before."""
    shares = [decay**age for age in reversed(range(len(said)))]
    return sum(share * one for share, one in zip(shares, said, strict=True)) / sum(shares)


def _ramp_up(t: int, length: int, shape: str) -> float:
    missing = max(0.0, 1 - t / length) if length else 0.0
    return math.exp(-5 * missing * missing) if shape == "sigmoid" else 1 - missing
