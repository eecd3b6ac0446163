"""Runs that cannot give a result are ended, each with its own reason."""

import math

import torch
from torch import Tensor, nn

from trainers.config import TrainerConfig
from trainers.errors import Collapsed, ConsistencyMissing, Diverged
from trainers.report import Report

EXPLODED = 1e5  # a loss beyond it never comes back (the authors' limit)
_LOSSES = ("train.class_loss", "train.consistency_loss", "train.logit_distance", "train.loss")


def check_losses(metrics: dict[str, float], step: int) -> None:
    """Refuse losses that mean nothing.

    Args:
        metrics: of the interval that ends with `step`.
        step: for the message.

    Raises:
        Diverged: one is beyond 1e5, infinite or no number.
    """
    for name in _LOSSES:
        if not abs(metrics.get(name, 0.0)) <= EXPLODED:
            raise Diverged(
                f"{name} is {metrics[name]:.3g} by step {step}; lower the learning rate or the weight of the loss"
            )


@torch.no_grad()
def check_weights(network: nn.Module, step: int) -> None:
    """Refuse weights that are no numbers, which the last step of an interval can leave without a loss telling.

    Raises:
        Diverged: one is infinite or no number.
    """
    if not torch.stack(torch._foreach_norm(list(network.parameters()))).isfinite().all():
        raise Diverged(f"a weight of the student is not finite at step {step}; lower the learning rate")


def check_consistency(
    metrics: dict[str, float], config: TrainerConfig, step: int, history: list[Report], first_target_step: int
) -> None:
    """Refuse a consistency loss that is 0 or moves nothing though it has a weight.

    Asked once, at the first evaluation by which there are targets: before, a teacher that began as a copy agrees, and
    much later a confident pair may agree to the last bit.

    Args:
        metrics: of the interval that ends with `step`.
        config: of the run.
        step: optimiser steps taken.
        history: the reports before.
        first_target_step: the steps after which there are targets.

    Raises:
        ConsistencyMissing: it is 0, or without gradient.
    """
    asked = bool(history) and history[-1].step > first_target_step
    if "train.consistency_loss" not in metrics or config.consistency.weight == 0 or asked or step <= first_target_step:
        return
    for name in ("train.consistency_loss", "train.consistency_gradient_norm"):
        if not abs(metrics[name]) > 0:  # KL of a pair that nearly agrees may round to less than 0
            raise ConsistencyMissing(
                f"{name} is {metrics[name]} at step {step} though consistency.weight is {config.consistency.weight}"
            )


def check_teacher(metrics: dict[str, float], labels: Tensor, step: int, history: list[Report]) -> None:
    """Refuse a teacher that fell back to chance: the error of naming the most frequent class, to two standard errors.

    Args:
        metrics: of the evaluation.
        labels: int64 [n], of the images it was on.
        step: optimiser steps taken.
        history: the reports before; one of them must have been ten standard errors better than chance.

    Raises:
        Collapsed: the teacher is at chance, and it was not before.
    """
    name = "validation.teacher_error"
    if name not in metrics:
        return
    chance = 1.0 - labels.bincount().max().item() / len(labels)
    standard_error = math.sqrt(chance * (1.0 - chance) / len(labels))
    best = min((report.metrics[name] for report in history), default=1.0)
    if best < chance - 10 * standard_error and metrics[name] > chance - 2 * standard_error:
        raise Collapsed(
            f"the teacher errs on {metrics[name]:.1%} of the validation images at step {step}, which is chance, after "
            f"{best:.1%}; lower consistency.weight or the learning rate"
        )
