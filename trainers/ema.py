"""The teacher's weights: an exponential moving average of the student's."""

from itertools import compress
from typing import Literal

import torch
from torch import Tensor, nn

from trainers.models.blocks import Dropout


@torch.no_grad()
def update_average(
    teacher: nn.Module,
    student: nn.Module,
    student_share: Tensor,
    batch_norm: Literal["own", "copied", "averaged"],
) -> None:
    """Set each parameter to decay * teacher + (1 - decay) * student (equation 2 of the paper).

    Args:
        teacher: the network to update; its weights have the student's precision, whatever the precision of the passes.
        student: of the same architecture.
        student_share: a scalar on the device, 1 - decay, in (0, 1].
        batch_norm: how the teacher gets its statistics: `own` from its own passes, `copied` and `averaged` from the
            student's.
    """
    _move(list(teacher.parameters()), list(student.parameters()), student_share)
    if batch_norm == "own":
        return
    teachers, students = _statistics(teacher), _statistics(student)
    is_averaged = [batch_norm == "averaged" and tensor.is_floating_point() for tensor in teachers]
    is_copied = [not averaged for averaged in is_averaged]
    if any(is_averaged):
        _move(list(compress(teachers, is_averaged)), list(compress(students, is_averaged)), student_share)
    if any(is_copied):
        torch._foreach_copy_(list(compress(teachers, is_copied)), list(compress(students, is_copied)))


def _move(teachers: list[Tensor], students: list[Tensor], share: Tensor) -> None:
    """Move each tensor of the teacher by a share of its distance to the student's."""
    distances = torch._foreach_sub(students, teachers)
    torch._foreach_mul_(distances, share)
    torch._foreach_add_(teachers, distances)


def _statistics(network: nn.Module) -> list[Tensor]:
    # The buffers of dropout layers hold settings, which may differ between teacher and student.
    layers = [layer for layer in network.modules() if not isinstance(layer, Dropout)]
    return [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
