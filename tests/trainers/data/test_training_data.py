import pytest
import torch

from tests.helpers.training import EVERY_NOISE, assert_same, config
from trainers.data.training_data import TrainingData

SEEDS = (1, 2, 3, 4)
CPU = torch.device("cpu")


def data(**changes):
    return TrainingData(config(**EVERY_NOISE, **changes), CPU, SEEDS, second_view=True)


@pytest.mark.parametrize("normalization", ["per_channel", "zca"])
def test_the_first_view_is_that_of_the_first_step_which_draws_what_it_would_have_drawn(normalization):
    asked, alone = data(normalization=normalization), data(normalization=normalization)
    first = asked.first_view()
    steps = []
    for each in (asked, alone):
        each.plan(3)
        batches = [each.next_batch() for _ in range(3)]
        steps.append({f"{i}, {j}": view for i, batch in enumerate(batches) for j, view in enumerate(each.views(batch))})
    assert torch.equal(first, steps[0]["0, 0"])
    assert_same(*steps)
