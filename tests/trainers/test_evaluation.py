import copy
import math

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


def test_the_standard_error_is_binomial():
    assert Error(0.1, 400).standard_error == pytest.approx(0.015, rel=1e-12)
    assert Error(0.25, 75).standard_error == pytest.approx(0.05, rel=1e-12)
    assert Error(0.0, 10).standard_error == 0.0


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
