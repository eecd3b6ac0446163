"""The teacher's weights: an exponential moving average of the student's."""

from typing import Literal

import torch
from torch import Tensor, nn

from trainers.models.blocks import Dropout


@torch.no_grad()
def update_average(
    teacher: nn.Module, student: nn.Module, decay: float, batch_norm: Literal["own", "copied", "averaged"]
) -> None:
    """Set each parameter to decay * teacher + (1 - decay) * student (equation 2 of the paper).

    Args:
        teacher: the network to update; its weights have the student's precision, whatever the precision of the passes.
        student: of the same architecture.
        decay: in [0, 1).
        batch_norm: how the teacher gets its statistics: `own` from its own passes, `copied` and `averaged` from the
            student's.
    """
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1.0 - decay)
    if batch_norm == "own":
        return
    for teachers, students in zip(_statistics(teacher), _statistics(student), strict=True):
        if batch_norm == "averaged" and teachers.is_floating_point():
            teachers.lerp_(students, 1.0 - decay)
        else:
            teachers.copy_(students)


def _statistics(network: nn.Module) -> list[Tensor]:
    # The buffers of dropout layers hold settings, which may differ between teacher and student.
    layers = [layer for layer in network.modules() if not isinstance(layer, Dropout)]
    return [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
