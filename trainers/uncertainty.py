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
class Examples:
    """Some of the images whose classes are known, and what a network takes them for. All tensors are on the CPU.

    Attributes:
        images: n, of how many they are examples.
        mistakes: how many of the n were classified wrongly.
        indices: int64 [k].
        labels: int64 [k], the true classes.
        classes: int64 [k], what they were taken for.
        probability: float [k], of that class.
        of_label: float [k], of the true class.
        pixels: uint8 [k, height, width, channels].
    """

    images: int
    mistakes: int
    indices: Tensor
    labels: Tensor
    classes: Tensor
    probability: Tensor
    of_label: Tensor
    pixels: Tensor


def worst_and_least_certain(
    model: Model,
    take: Callable[[Tensor], Tensor],
    indices: Tensor,
    labels: Tensor,
    most: int,
    done: Callable[[int], None] = lambda _: None,
) -> tuple[Examples, Examples]:
    """Return the worst mistakes of a network, and the images that it is least certain of; both the extreme ones first.

    The worst mistakes are those whose true class gets the least probability. The least certain images are those whose
    probabilities have the highest entropy, whether they were classified correctly or not.

    Args:
        model: the network.
        take: as for `predict`.
        indices: as for `predict`.
        labels: as for `predict`.
        most: at most how many of each.
        done: as for `predict`.

    Raises:
        ValueError: as for `predict`.
    """
    found = predict([model], take, indices, labels, done)
    wrong = (found.classes != labels).nonzero()[:, 0]

    def examples(chosen: Tensor) -> Examples:
        return Examples(
            images=len(indices),
            mistakes=len(wrong),
            indices=indices[chosen],
            labels=labels[chosen],
            classes=found.classes[chosen],
            probability=found.probability[chosen],
            of_label=found.of_label[chosen],
            pixels=take(indices[chosen]).cpu() if len(chosen) else torch.zeros(0, 0, 0, 0, dtype=torch.uint8),
        )

    worst = wrong[found.of_label[wrong].argsort(stable=True)][:most]
    return examples(worst), examples(found.entropy.argsort(descending=True, stable=True)[:most])


def _entropy(shares: Tensor) -> Tensor:
    """Return the entropy in nats of probabilities [..., classes]."""
    entropy: Tensor = torch.special.entr(shares).sum(-1)
    return entropy
