"""The values that change from step to step by schedule, as a step reads them: as tensors on the device."""

from typing import NamedTuple

import torch
from torch import Tensor

from trainers.config import Adam, AdamW, TrainerConfig
from trainers.planned_rows import PlannedRows
from trainers.schedules import adam_betas, consistency_weight, ema_decay, learning_rate_factor


class Now(NamedTuple):
    """The scheduled values of one step, each a scalar on the device.

    Attributes:
        consistency_weight: of the consistency loss.
        learning_rate: of the heads; the body's is `body_learning_rate_factor` times as high.
        student_share: 1 - EMA decay.
        gradient_share: 1 - beta1 of Adam.
        beta2: of Adam.
        square_share: 1 - beta2.
        first_correction: 1 - the product of all beta1 so far, which the mean of the gradients is divided by.
        second_correction: the root of 1 - the product of all beta2 so far, which the root of the mean of their squares
            is divided by.
    """

    consistency_weight: Tensor
    learning_rate: Tensor
    student_share: Tensor
    gradient_share: Tensor
    beta2: Tensor
    square_share: Tensor
    first_correction: Tensor
    second_correction: Tensor


class Timetable:
    """Computes the scheduled values in the program, and lays them out on the device for the steps ahead.

    Args:
        config: of the run.
        device: of the run.
    """

    def __init__(self, config: TrainerConfig, device: torch.device) -> None:
        self._config = config
        self._rows = PlannedRows(len(Now._fields), torch.get_default_dtype(), device)
        self._products = (1.0, 1.0)  # of Adam's betas, of the steps before `_until`
        self._until = 0

    def plan(self, first: int, count: int) -> None:
        """Lay out the values of `count` steps; `first` steps were taken before them."""
        rows = [self._row(step) for step in range(first, first + count)]
        self._rows.fill(torch.tensor(rows, dtype=torch.get_default_dtype()))

    def next(self) -> Now:
        """Return the values of the next step."""
        return Now(*self._rows.take().unbind())

    def metrics(self, step: int) -> dict[str, float]:
        """Return what is reported of the values of a step; `step` others were taken before it."""
        config = self._config
        metrics = {"train.learning_rate": self._learning_rate(step)}
        if config.method == "mean_teacher":
            metrics["train.ema_decay"] = self._ema_decay(step)
        if config.method not in ("supervised", "probe"):
            metrics["train.consistency_weight"] = self._consistency_weight(step)
        return metrics

    def _row(self, step: int) -> tuple[float, ...]:
        beta1, beta2 = self._betas(step)
        first, second = self._products_after(step)
        return (
            self._consistency_weight(step),
            self._learning_rate(step),
            1.0 - self._ema_decay(step),
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            1.0 - first,
            (1.0 - second) ** 0.5,
        )

    def _consistency_weight(self, step: int) -> float:
        return consistency_weight(step, self._config.consistency, self._config.ramp_up_steps)

    def _learning_rate(self, step: int) -> float:
        config = self._config
        return config.optimizer.learning_rate * learning_rate_factor(step, config.schedule, config.steps)

    def _ema_decay(self, step: int) -> float:
        return ema_decay(step + 1, self._config.ema, self._config.consistency_ramp_end)

    def _betas(self, step: int) -> tuple[float, float]:
        optimizer = self._config.optimizer
        if isinstance(optimizer, Adam):
            return adam_betas(step, optimizer, self._config.schedule, self._config.steps)
        return (optimizer.beta1, optimizer.beta2) if isinstance(optimizer, AdamW) else (0.0, 0.0)

    def _products_after(self, step: int) -> tuple[float, float]:
        """Return the products of the betas of all steps up to this one, which follows those asked for before."""
        while self._until <= step:
            beta1, beta2 = self._betas(self._until)
            self._products = (self._products[0] * beta1, self._products[1] * beta2)
            self._until += 1
        return self._products
