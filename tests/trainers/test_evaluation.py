import copy
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from trainers.config import SmallCnn
from trainers.data.normalization import PerChannel
from trainers.evaluation import Error, evaluate
from trainers.models import build

PLAIN = PerChannel(torch.zeros(1), torch.ones(1))


class SaysTheFirstPixel(torch.nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot(pixels[:, 0, 0, 0].long(), 10).float()


def test_the_rate_is_the_share_of_images_classified_wrongly():
    labels = torch.arange(1203) % 10  # more than two of the parts that are evaluated at once, and no whole number
    images = labels.to(torch.uint8).reshape(-1, 1, 1, 1).expand(-1, 4, 4, 1).clone()
    images[[0, 600, 1202]] += 1  # one in each part
    error = evaluate(SaysTheFirstPixel(), images.__getitem__, torch.arange(1203), labels, PLAIN)
    assert (error.rate, error.n) == (3 / 1203, 1203)
    predictions = images[:, 0, 0, 0].numpy()
    assert (error.confusion.counts == confusion_matrix(labels, predictions)).all()
    assert error.metrics("validation.student")["validation.student_error"] == 3 / 1203
    correct = np.unpackbits(np.frombuffer(bytes.fromhex(error.correct), np.uint8))
    assert set(np.flatnonzero(correct == 0)) == {0, 600, 1202, *range(1203, 1208)}, "filled up to whole bytes"


@pytest.mark.parametrize(("rate", "n"), [(0.1, 400), (0.25, 75), (0.5, 60), (0.01, 10_000)])
def test_the_standard_error_is_half_of_wilsons_interval_and_nearly_the_binomial_one(rate, n):
    # The ends of the interval are the rates that differ from the measured one by one standard error of their own.
    ends = np.roots([1 + 1 / n, -(2 * rate + 1 / n), rate**2])
    assert Error(rate, n).standard_error == pytest.approx((ends.max() - ends.min()) / 2, rel=1e-9)
    assert Error(rate, n).standard_error == pytest.approx(math.sqrt(rate * (1 - rate) / n), rel=0.02)


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_an_error_of_none_or_all_has_a_standard_error_of_about_half_an_image(rate):
    assert Error(rate, 99).standard_error == pytest.approx(0.005, rel=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_is_in_eval_mode_and_leaves_the_network_as_it_was_and_in_the_mode_it_was_in(training):
    torch.manual_seed(0)
    network = build(SmallCnn(width=4, dropout=0.9), 1, 10)
    images, labels = torch.randint(0, 256, (300, 8, 8, 1), dtype=torch.uint8), torch.arange(300) % 10
    before = copy.deepcopy(network.state_dict())
    network.eval()
    with torch.no_grad():
        wrong = (network(images.permute(0, 3, 1, 2).float()).argmax(1) != labels).sum().item()
    network.train(training)
    generator = torch.get_rng_state()
    assert evaluate(network, images.__getitem__, torch.arange(300), labels, PLAIN).rate == wrong / 300
    assert all(module.training == training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)  # dropout drew nothing
    assert math.isclose(evaluate(network, images.__getitem__, torch.arange(300), labels, PLAIN).rate, wrong / 300)
