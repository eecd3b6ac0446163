"""The losses of a step: classification of the labeled images, consistency with a target, distance of two heads."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, mean over the labeled images.

    Args:
        logits: float [n, classes], of the labeled images.
        labels: int64 [n].

    Returns:
        A scalar, in nats.
    """
    return F.cross_entropy(logits, labels)


def mse(logits: Tensor, target: Tensor) -> Tensor:
    """Mean over classes of the squared difference of the probabilities (section 2 of the paper).

    Args:
        logits: float [b, classes], of the student.
        target: float [b, classes], probabilities; no gradient flows into it.

    Returns:
        [b], in [0, 2 / classes].
    """
    return (logits.softmax(1) - target.detach()).square().mean(1)


def kl(logits: Tensor, target: Tensor) -> Tensor:
    """KL(target || student), summed over classes (section 3.6 of the paper).

    Args:
        logits: float [b, classes], of the student.
        target: float [b, classes], probabilities; no gradient flows into it.

    Returns:
        [b], at least 0, in nats.
    """
    return F.kl_div(logits.log_softmax(1), target.detach(), reduction="none").sum(1)


CONSISTENCY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "kl": kl}


def logit_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean squared difference of the logits of two heads, with a gradient into both (the authors' PyTorch code).

    Args:
        ours: float [b, classes].
        theirs: float [b, classes].

    Returns:
        A scalar of at least 0.
    """
    return F.mse_loss(ours, theirs)


def gradient_norm(loss: Tensor, logits: Tensor) -> Tensor:
    """The L2 norm of d loss / d logits; 0 where the loss does not depend on them. Keeps the graph."""
    if not (loss.requires_grad and logits.requires_grad):
        return torch.zeros(())
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
    norm: Tensor = torch.zeros(()) if gradient is None else torch.linalg.vector_norm(gradient)
    return norm
