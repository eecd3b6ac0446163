"""What differs between the methods: where the target of the consistency loss comes from, and who is evaluated."""

import copy

import torch
from torch import Tensor, nn

from trainers.averaging import update_average
from trainers.data.augmentation import Views
from trainers.schedules import ema_decay


class Method:
    """One way of learning from unlabeled images; as it stands here, it learns from the labeled ones alone.

    Attributes:
        teacher: the second network, if the method has one.
        views: draws the teacher's views; part of the state of the run.
    """

    def __init__(self, teacher: nn.Module | None = None, views: Views | None = None) -> None:
        self.teacher = teacher
        self.views = views

    def target_logits(self, indices: Tensor) -> Tensor | None:  # noqa: ARG002
        """Logits [b, classes] that the student is to agree with, without gradient; none: no consistency loss.

        Args:
            indices: int64 [b], the images of the batch, on the device.
        """
        return None

    def after_step(self, step: int) -> dict[str, float]:  # noqa: ARG002
        """Called when the optimiser has taken its `step`-th step; returns what is worth reporting."""
        return {}


class Supervised(Method):
    """The labeled images alone: the baseline."""


class MeanTeacher(Method):
    """The teacher is the moving average of the student (section 2 of the paper).

    It starts as a copy and stays in train mode: its predictions are noisy too, and its batch-norm statistics its own.

    Args:
        student: the network that the optimiser trains.
        views: draws the teacher's views, independent of the student's.
        decay: alpha, in [0, 1).
    """

    teacher: nn.Module
    views: Views

    def __init__(self, student: nn.Module, views: Views, decay: float) -> None:
        super().__init__(copy.deepcopy(student).requires_grad_(False), views)
        self._student = student
        self._decay = decay

    @torch.no_grad()
    def target_logits(self, indices: Tensor) -> Tensor:
        logits: Tensor = self.teacher(self.views.draw(indices))
        return logits

    def after_step(self, step: int) -> dict[str, float]:
        decay = ema_decay(step, self._decay)
        update_average(self.teacher, self._student, decay)
        return {"train.ema_decay": decay}
