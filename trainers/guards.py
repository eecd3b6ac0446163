"""Checks that end a run which cannot give a result, each with a reason of its own."""

import math

import torch
from torch import Tensor, nn

from trainers.config import TrainerConfig
from trainers.errors import Collapsed, ConsistencyMissing, Diverged
from trainers.report import Report

EXPLODED = 1e5  # a loss beyond it never comes back (the authors' limit)
_LOSSES = ("train.class_loss", "train.consistency_loss", "train.logit_distance", "train.loss")


def check_losses(metrics: dict[str, float], step: int) -> None:
    """Refuse losses that exploded.

    Args:
        metrics: of the interval that ends with `step`.
        step: optimiser steps taken.

    Raises:
        Diverged: a loss is beyond 1e5, infinite or not a number.
    """
    for name in _LOSSES:
        if not abs(metrics.get(name, 0.0)) <= EXPLODED:
            raise Diverged(
                f"{name} is {metrics[name]:.3g} by step {step}; lower the learning rate or the weight of the loss"
            )


@torch.no_grad()
def check_weights(network: nn.Module, step: int) -> None:
    """Refuse weights that are not finite. The last step of an interval can cause them without any loss showing it.

    Raises:
        Diverged: a weight is infinite or not a number.
    """
    if not torch.stack(torch._foreach_norm(list(network.parameters()))).isfinite().all():
        raise Diverged(f"a weight of the student is not finite at step {step}; lower the learning rate")


def check_consistency(
    metrics: dict[str, float], config: TrainerConfig, step: int, history: list[Report], first_target_step: int
) -> None:
    """Refuse a consistency loss that is 0 or has no gradient though its weight is above 0.

    This is checked once, at the first evaluation after there are targets that count. Before, a teacher that started as
    a copy agrees with the student. Much later, two confident networks may agree to the last bit. A run in which no
    target ever exceeds `consistency.confidence` is not refused: its `train.confident_share` is 0, and it learns as
    before `consistency.start`.

    Args:
        metrics: of the interval that ends with `step`.
        config: of the run.
        step: optimiser steps taken.
        history: the earlier reports.
        first_target_step: after this many steps, there are targets.

    Raises:
        ConsistencyMissing: the loss is 0 or has no gradient.
    """
    if "train.consistency_loss" not in metrics or config.consistency.weight == 0:
        return
    was_checked = any(_has_targets(report.metrics, report.step, first_target_step) for report in history)
    if was_checked or not _has_targets(metrics, step, first_target_step):
        return
    # With a threshold of confidence, the step that the gradient was measured at may have no image that counts.
    gradient = () if config.consistency.confidence else ("train.consistency_gradient_norm",)
    for name in ("train.consistency_loss", *gradient):
        if not abs(metrics[name]) > 0:  # KL of a pair that nearly agrees may round to less than 0
            raise ConsistencyMissing(
                f"{name} is {metrics[name]} at step {step} though consistency.weight is {config.consistency.weight}"
            )


def _has_targets(metrics: dict[str, float], step: int, first_target_step: int) -> bool:
    """Return whether images counted in the interval that ends with `step`."""
    return step > first_target_step and metrics.get("train.confident_share", 1.0) > 0


def check_teacher(metrics: dict[str, float], labels: Tensor, step: int, history: list[Report]) -> None:
    """Refuse a teacher that fell back to chance.

    Chance is the error of always predicting the most frequent class. The teacher has collapsed if its error is within
    two standard errors of chance, or above, and was once ten standard errors below it.

    Args:
        metrics: of this evaluation.
        labels: int64 [n], of the validation images.
        step: optimiser steps taken.
        history: the earlier reports.

    Raises:
        Collapsed: the teacher classifies no better than chance, and was better before.
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
