"""How sure a network is, how far several disagree, and which of its mistakes are the worst."""

import math
from types import SimpleNamespace

import pytest
import torch

from trainers.uncertainty import predict, worst_and_least_certain

SURE, HALF, EVEN = [1.0, 0.0], [0.5, 0.5], [0.25, 0.75]


def network(*shares):
    """Stands in for a model: it gives image i these probabilities."""
    logits = torch.tensor(shares).clamp(min=1e-30).log()
    return SimpleNamespace(
        image_size=1,
        network=torch.nn.Linear(1, 1),
        logits=lambda pixels: logits[pixels.flatten().long()],
    )


def take(indices):
    return indices.to(torch.uint8).view(-1, 1, 1, 1)


def test_entropy_is_nothing_for_a_sure_network_and_the_logarithm_of_the_classes_for_a_guess():
    found = predict([network(SURE, HALF, EVEN)], take, torch.arange(3))
    assert found.classes.tolist()[::2] == [0, 1]
    assert found.probability.tolist() == pytest.approx([1.0, 0.5, 0.75])
    assert found.entropy.tolist() == pytest.approx(
        [0.0, math.log(2), -0.25 * math.log(0.25) - 0.75 * math.log(0.75)], abs=1e-6
    )
    assert found.disagreement.tolist() == pytest.approx([0.0] * 3, abs=1e-6), "one alone disagrees with nobody"
    assert len(found.of_label) == 0


def test_networks_disagree_that_are_sure_of_different_classes_and_not_those_that_are_equally_unsure():
    one, other = network(SURE, HALF, EVEN), network([0.0, 1.0], HALF, EVEN)
    found = predict([one, other], take, torch.arange(3))
    assert found.disagreement.tolist() == pytest.approx([math.log(2), 0.0, 0.0], abs=1e-6)
    assert found.entropy[0] == pytest.approx(0.0, abs=1e-6), "of the first alone"


def test_the_worst_mistakes_are_those_whose_class_is_least_probable():
    shares = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]]
    found, _ = worst_and_least_certain(network(*shares), take, torch.arange(4), torch.tensor([1, 1, 1, 1]), most=2)
    assert (found.images, found.mistakes) == (4, 3)
    assert found.indices.tolist() == [3, 0]
    assert found.of_label.tolist() == pytest.approx([0.01, 0.1])
    assert found.classes.tolist() == [0, 0]
    assert found.pixels.flatten().tolist() == [3, 0]


def test_the_least_certain_images_are_those_with_the_highest_entropy_right_or_wrong():
    shares = [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.99, 0.01]]
    _, found = worst_and_least_certain(network(*shares), take, torch.arange(4), torch.tensor([1, 0, 1, 1]), most=3)
    assert found.indices.tolist() == [1, 2, 0]
    assert (found.labels.tolist(), found.classes.tolist()) == ([0, 1, 1], [0, 1, 0])
    assert found.probability.tolist() == pytest.approx([0.6, 0.8, 0.9])
    assert found.pixels.flatten().tolist() == [1, 2, 0]


def test_no_images_give_no_predictions_and_no_examples():
    none = torch.arange(0)
    assert len(predict([network(SURE)], take, none).entropy) == 0
    for found in worst_and_least_certain(network(SURE), take, none, none, most=3):
        assert (found.images, found.mistakes, len(found.indices), len(found.pixels)) == (0, 0, 0, 0)


def test_probabilities_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        predict([network([math.nan, 1.0])], take, torch.arange(1))
