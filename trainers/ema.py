"""The teacher's weights: an exponential moving average of the student's."""

from typing import Literal

import torch
from torch import Tensor, nn

from trainers.models.blocks import Dropout


@torch.no_grad()
def update_average(
    teacher: nn.Module, student: nn.Module, decay: float, batch_norm: Literal["own", "copied", "averaged"]
) -> None:
    """teacher <- decay * teacher + (1 - decay) * student, over the parameters (equation 2 of the paper).

    Args:
        teacher: is updated; its weights are never narrower than the student's, whatever the precision of the passes.
        student: of the same architecture.
        decay: in [0, 1).
        batch_norm: what becomes of the teacher's statistics: `own` leaves them to its own passes, `copied` and
            `averaged` take the student's.
    """
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1.0 - decay)
    if batch_norm == "own":
        return
    for ours, theirs in zip(_statistics(teacher), _statistics(student), strict=True):
        if batch_norm == "averaged" and ours.is_floating_point():
            ours.lerp_(theirs, 1.0 - decay)
        else:
            ours.copy_(theirs)


def _statistics(network: nn.Module) -> list[Tensor]:
    # The buffers of dropout are settings, and the teacher's may be others.
    layers = [layer for layer in network.modules() if not isinstance(layer, Dropout)]
    return [buffer for layer in layers for buffer in layer.buffers(recurse=False)]
