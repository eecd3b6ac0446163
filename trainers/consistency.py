"""The consistency loss of a batch: which images count, and how much."""

from torch import Tensor

from trainers import losses
from trainers.config import TrainerConfig
from trainers.methods import Target


def consistency_loss(config: TrainerConfig, logits: Tensor, target: Target) -> tuple[Tensor, Tensor | None]:
    """Return the loss, and the share of its images whose target is confident.

    The loss is the mean over the images of `consistency.images` that have a target; 0 while none has one. If the class
    loss is divided by the whole batch, so is this one: the mean over the unlabeled images counts for their share of the
    batch (the authors' TensorFlow code). With `consistency.confidence`, the images whose target is not confident count
    as 0 (Sohn et al. 2020, equation 4).

    Args:
        config: of the run.
        logits: float [b, classes], of the student's head that agrees with the target; labeled images first.
        target: of the same images.

    Returns:
        A scalar; and a scalar in [0, 1], or None without `consistency.confidence`.
    """
    settings = config.consistency
    first = config.labeled_per_batch if settings.images == "unlabeled" else 0
    image_losses = losses.CONSISTENCY[settings.loss](logits, target.probabilities)[first:]
    known = None if target.known is None else target.known[first:]
    share = None
    if settings.confidence:
        confident = target.is_confident(settings.confidence)[first:]
        image_losses, share = image_losses * confident, _mean(confident, known)
    mean = _mean(image_losses, known)
    if config.class_loss_normalizer == "whole_batch" and first:
        mean = mean * (len(image_losses) / config.batch_size)
    return mean, share


def _mean(values: Tensor, known: Tensor | None) -> Tensor:
    """Return the mean of the values that are known; 0 if none is."""
    return values.mean() if known is None else (values * known).sum() / known.sum().clamp(min=1)
