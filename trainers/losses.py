"""The losses of a step: classification of labeled images, consistency with a target, distance of two heads."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F


def classification(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    divisor: Literal["weights", "count"] = "weights",
) -> Tensor:
    """Return the cross-entropy, as the mean over the labeled images.

    Args:
        logits: float [n, classes], of the labeled images.
        labels: int64 [n].
        class_weights: float [classes], factors on the losses of the images of each class. None: all 1.
        divisor: what the sum of the weighted losses is divided by. weights: the sum of the weights of the images, as
            in torch's `cross_entropy`; count: n, with which an image has the same weight in every batch.

    Returns:
        A scalar, in nats.
    """
    if class_weights is None or divisor == "weights":
        return F.cross_entropy(logits, labels, class_weights)
    return F.cross_entropy(logits, labels, class_weights, reduction="sum") / len(labels)


def mse(logits: Tensor, target: Tensor) -> Tensor:
    """Return the mean over classes of the squared difference of the probabilities (section 2 of the paper).

    Args:
        logits: float [b, classes], of the student.
        target: float [b, classes], probabilities; a gradient flows into it only if it requires one.

    Returns:
        [b], in [0, 2 / classes].
    """
    return (logits.softmax(1) - target).square().mean(1)


def kl(logits: Tensor, target: Tensor) -> Tensor:
    """Return KL(target || student), summed over classes (section 3.6 of the paper).

    Args:
        logits: float [b, classes], of the student.
        target: float [b, classes], probabilities; a gradient flows into it only if it requires one.

    Returns:
        [b], at least 0, in nats.
    """
    return F.kl_div(logits.log_softmax(1), target, reduction="none").sum(1)


CONSISTENCY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "kl": kl}


def logit_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean squared difference of the logits of two heads, with a gradient into both.

    Source: the authors' PyTorch code.

    Args:
        first: float [b, classes], logits of the first head.
        second: float [b, classes], logits of the second head.

    Returns:
        A scalar of at least 0.
    """
    return F.mse_loss(first, second)


def gradient_norm(loss: Tensor, logits: Tensor) -> Tensor:
    """Return the L2 norm of d loss / d logits; 0 if the loss does not depend on them. The graph is kept."""
    if not (loss.requires_grad and logits.requires_grad):
        return logits.new_zeros(())
    (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True, allow_unused=True)
    norm: Tensor = logits.new_zeros(()) if gradient is None else torch.linalg.vector_norm(gradient)
    return norm
