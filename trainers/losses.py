"""The two losses of a step: classification of the labeled images, consistency of all of them."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(logits: Tensor, labels: Tensor, denominator: int) -> Tensor:
    """Cross-entropy, summed over the labeled images.

    Args:
        logits: float [n, classes], of the labeled images.
        labels: int64 [n].
        denominator: images to divide by: n itself, or the whole batch as the authors' PyTorch code does, which scales
            the loss by the labeled fraction.

    Returns:
        A scalar, in nats.
    """
    return F.cross_entropy(logits, labels, reduction="sum") / denominator


def mse(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean over classes of the squared difference of the softmaxes, mean over images (section 2 of the paper).

    Args:
        student_logits: float [b, classes].
        teacher_logits: float [b, classes]; the target, so no gradient flows into it.

    Returns:
        A scalar in [0, 2 / classes].
    """
    return F.mse_loss(student_logits.softmax(1), teacher_logits.detach().softmax(1))


def kl(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL(teacher || student) summed over classes, mean over images (section 3.6 of the paper).

    Args:
        student_logits: float [b, classes].
        teacher_logits: float [b, classes]; the target, so no gradient flows into it.

    Returns:
        A scalar of at least 0, in nats.
    """
    target = teacher_logits.detach().log_softmax(1)
    return F.kl_div(student_logits.log_softmax(1), target, reduction="batchmean", log_target=True)


CONSISTENCY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "kl": kl}


def gradient_norm(loss: Tensor, logits: Tensor) -> Tensor:
    """The L2 norm of d loss / d logits; 0 where the loss does not depend on them. Keeps the graph."""
    if not (loss.requires_grad and logits.requires_grad):
        return torch.zeros(())
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
    norm: Tensor = torch.zeros(()) if gradient is None else torch.linalg.vector_norm(gradient)
    return norm
