"""What several trained networks make of images: how sure the first is, and how far they disagree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.checkpoint import Model
from trainers.evaluation import PIXELS_AT_ONCE


@dataclass(frozen=True)
class Predictions:
    """What networks make of n images. All tensors are on the CPU.

    Attributes:
        classes: int64 [n], the class that the first network takes an image for.
        probability: float [n], that it gives this class, in [0, 1].
        entropy: float [n], of its probabilities in nats, from 0 (sure) to the logarithm of the number of classes.
        disagreement: float [n], in nats: the entropy of the networks' mean probabilities minus the mean of their
            entropies, which is 0 where all give the same probabilities (the Jensen-Shannon divergence, a committee's
            disagreement of McCallum & Nigam 1998).
        of_label: float [n], the probability that the first network gives the true class; empty if no labels are given.
    """

    classes: Tensor
    probability: Tensor
    entropy: Tensor
    disagreement: Tensor
    of_label: Tensor


@torch.no_grad()
def predict(
    models: Sequence[Model],
    take: Callable[[Tensor], Tensor],
    indices: Tensor,
    labels: Tensor | None = None,
    done: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """Classify images with each of some networks.

    Args:
        models: one or more, with the same classes and image size.
        take: returns the pixels of some of the indices, uint8 [b, height, width, channels].
        indices: int64 [n].
        labels: int64 [n], the true classes.
        done: called with the number of images of each batch.

    Raises:
        ValueError: a network gives probabilities that are not finite.
    """
    parts: list[list[Tensor]] = [[], [], [], [], []]
    batch = max(1, PIXELS_AT_ONCE // models[0].image_size ** 2)
    device = next(models[0].network.parameters()).device
    for start in range(0, len(indices), batch):
        chosen = indices[start : start + batch]
        pixels = take(chosen).to(device)
        shares = torch.stack([model.logits(pixels).float().softmax(1) for model in models])
        if not shares.isfinite().all():
            raise ValueError("its probabilities are not finite")
        entropies = _entropy(shares)
        probability, classes = shares[0].max(1)
        disagreement = (_entropy(shares.mean(0)) - entropies.mean(0)).clamp(min=0)
        of_label = shares[0, :0, 0]
        if labels is not None:
            of_label = shares[0].gather(1, labels[start : start + batch, None].to(device))[:, 0]
        for part, values in zip(parts, (classes, probability, entropies[0], disagreement, of_label), strict=True):
            part.append(values.cpu())
        done(len(chosen))
    empty = torch.zeros(0, dtype=torch.int64), *[torch.zeros(0)] * 4
    return Predictions(*(torch.cat(part) if part else none for part, none in zip(parts, empty, strict=True)))


@dataclass(frozen=True)
class Mistakes:
    """Images that a network classified wrongly, worst first: those whose true class it gives the least probability.

    Attributes:
        images: n, of how many they are the mistakes.
        count: how many were classified wrongly, also of those that are not among these.
        indices: int64 [k].
        labels: int64 [k], the true classes.
        classes: int64 [k], what they were taken for.
        probability: float [k], of that class.
        of_label: float [k], of the true class.
    """

    images: int
    count: int
    indices: Tensor
    labels: Tensor
    classes: Tensor
    probability: Tensor
    of_label: Tensor


def worst_mistakes(
    model: Model,
    take: Callable[[Tensor], Tensor],
    indices: Tensor,
    labels: Tensor,
    most: int,
    done: Callable[[int], None] = lambda _: None,
) -> Mistakes:
    """Return at most so many of the worst mistakes of a network; arguments and errors as for `predict`."""
    found = predict([model], take, indices, labels, done)
    wrong = (found.classes != labels).nonzero()[:, 0]
    worst = wrong[found.of_label[wrong].argsort(stable=True)][:most]
    values = (indices, labels, found.classes, found.probability, found.of_label)
    return Mistakes(len(indices), len(wrong), *(value[worst] for value in values))


def _entropy(shares: Tensor) -> Tensor:
    """Return the entropy in nats of probabilities [..., classes]."""
    entropy: Tensor = torch.special.entr(shares).sum(-1)
    return entropy
