"""A linear probe: logistic regression on the frozen features of a pre-trained network, as a baseline."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainers.data.geometry import center_crop
from trainers.data.normalization import Normalization
from trainers.data.training_data import EvaluationImages
from trainers.evaluation import PIXELS_AT_ONCE
from trainers.models.network import Network

PENALTIES = tuple(10.0 ** (halves / 2) for halves in range(-6, 9))
"""Strengths of the L2 penalty on the weights of standardised features, in units of 1 / labeled images."""


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes:
        penalty: the strength that was chosen.
        loss: cross-entropy of the labeled images, in nats.
    """

    penalty: float
    loss: float


def fit_probe(
    network: Network,
    labeled: EvaluationImages,
    validation: EvaluationImages,
    normalization: Normalization,
    crop: int | None,
    class_weights: np.ndarray | None = None,
) -> Probe:
    """Fit the head of a network to labeled images; the rest of it stays as it is.

    Features are standardised over the labeled images. The penalty is the one with the fewest errors on the validation
    images, an error counting as much as its class weighs; of several, the strongest.

    Args:
        network: whose features are used, and whose head is set.
        labeled: images to learn from.
        validation: images that choose the penalty.
        normalization: of the run.
        crop: pixels per side of the centre crop; None: whole images.
        class_weights: float [classes], factors on the losses of the images of each class. None: all 1.
    """
    from threadpoolctl import threadpool_limits

    known, held_out = (features(network, images, normalization, crop) for images in (labeled, validation))
    labels, truth = labeled.labels.numpy(), validation.labels.numpy()
    mean, deviation = known.mean(0), known.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    known, held_out = (known - mean) / deviation, (held_out - mean) / deviation
    weights = np.ones(int(max(labels.max(), truth.max())) + 1) if class_weights is None else class_weights
    with threadpool_limits(torch.get_num_threads()):  # else it would take the cores of other trials
        # The best weights are combinations of the labeled images' features, so nothing is lost in the space of these,
        # which has far fewer dimensions where labels are few.
        basis = np.linalg.svd(known, full_matrices=False)[2]
        known, held_out = known @ basis.T, held_out @ basis.T
        best, chosen = _with_fewest_errors(known, labels, held_out, truth, weights)
    slopes = best.coef_ @ basis / deviation
    _set_head(network, best.classes_, slopes, best.intercept_ - slopes @ mean)
    losses = -best.predict_log_proba(known)[np.arange(len(labels)), np.searchsorted(best.classes_, labels)]
    return Probe(chosen, float(np.average(losses, weights=weights[labels])))


def _with_fewest_errors(
    known: np.ndarray, labels: np.ndarray, held_out: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> tuple[Any, float]:
    """Return the regression with the fewest errors on the held-out images, and its penalty; of several, the strongest.

    Args:
        known: features of the labeled images.
        labels: their classes.
        held_out: features of the images that choose the penalty.
        truth: their classes.
        weights: of each class.
    """
    from sklearn.linear_model import LogisticRegression  # a second to import

    best, fewest, chosen = None, np.inf, 0.0
    for penalty in sorted(PENALTIES, reverse=True):
        # scikit-learn's C weighs the sum of the losses against half of the squared weights.
        fit = LogisticRegression(C=1 / penalty, max_iter=1000).fit(known, labels, weights[labels])
        errors = weights[truth][fit.predict(held_out) != truth].sum()
        if errors < fewest:
            best, fewest, chosen = fit, errors, penalty
    return best, chosen


@torch.no_grad()
def features(network: Network, images: EvaluationImages, normalization: Normalization, crop: int | None) -> np.ndarray:
    """Return the features of images that are not augmented, float64 [n, width], of the network in eval mode."""
    training = network.training
    network.eval()
    at_once = max(1, PIXELS_AT_ONCE // images.take(images.indices[:1])[0, :, :, 0].numel())
    parts = [
        network.features(center_crop(normalization(images.take(part)), crop)).double().cpu()
        for part in torch.split(images.indices, at_once)
    ]
    network.train(training)
    found: np.ndarray = torch.cat(parts).numpy()
    return found


@torch.no_grad()
def _set_head(network: Network, classes: np.ndarray, weights: np.ndarray, biases: np.ndarray) -> None:
    """Set the linear layer. A class without labeled images is never predicted; two classes share one row."""
    head = network.classifier
    assert isinstance(head, nn.Linear)  # as every network has that takes first weights
    if len(classes) == 2:
        weights, biases = np.concatenate([-weights, weights]) / 2, np.concatenate([-biases, biases]) / 2
    head.weight.zero_()
    head.bias.fill_(-1e4)

    def on_device(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(head.weight)

    rows = torch.from_numpy(classes).to(head.weight.device)
    head.weight[rows], head.bias[rows] = on_device(weights), on_device(biases)
