"""The teacher's weights: an exponential moving average of the student's."""

import torch
from torch import Tensor, nn


@torch.no_grad()
def update_average(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """teacher <- decay * teacher + (1 - decay) * student, over the parameters (equation 2 of the paper).

    Buffers are left alone: the teacher runs in train mode and keeps batch-norm statistics of its own.
    """
    ours: list[Tensor] = list(teacher.parameters())
    theirs: list[Tensor] = list(student.parameters())
    torch._foreach_lerp_(ours, theirs, 1.0 - decay)
