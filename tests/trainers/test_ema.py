"""The average of the weights, compared with numpy in float64; the tolerances allow for the rounding of float32."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from trainers.config import Ema, SmallCnn
from trainers.ema import update_average
from trainers.models import build
from trainers.schedules import ema_decay

RULES = ("own", "copied", "averaged")


def networks() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    student = build(SmallCnn(width=4), 1, 3)
    return student, copy.deepcopy(student)


def values(network: nn.Module, kind: str) -> dict[str, np.ndarray]:
    """float64 copies of the `parameters` or of the `buffers` that a checkpoint holds."""
    parameters = dict(network.named_parameters())
    return {
        name: tensor.detach().double().numpy().copy()
        for name, tensor in network.state_dict().items()
        if (name in parameters) == (kind == "parameters")
    }


def trained(student: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Take a step, which changes the weights and the batch-norm statistics."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(student(torch.randn(8, 1, 8, 8)), torch.randint(0, 3, (8,))).backward()
    optimizer.step()


@pytest.mark.parametrize("batch_norm", RULES)
@pytest.mark.parametrize("alpha", [0.0, 0.9, 0.999])
def test_fifty_updates_follow_a_trained_student_as_the_formula_says(alpha, batch_norm):
    student, teacher = networks()
    expected = values(student, "parameters")
    start = copy.deepcopy(expected)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    for t in range(1, 51):
        trained(student, optimizer)
        update_average(teacher, student, torch.tensor(1 - ema_decay(t, Ema(decay=alpha), 0)), batch_norm)
        decay = min(1 - 1 / (t + 1), alpha)
        moved = values(student, "parameters")
        expected = {name: decay * average + (1 - decay) * moved[name] for name, average in expected.items()}
    assert any(np.abs(value - start[name]).max() > 0.1 for name, value in expected.items())
    for name, value in values(teacher, "parameters").items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)


def test_own_statistics_are_left_to_the_passes_of_the_teacher():
    student, teacher = networks()
    before = values(teacher, "buffers")
    trained(student, torch.optim.SGD(student.parameters(), lr=0.1))
    assert any((value != before[name]).any() for name, value in values(student, "buffers").items())
    update_average(teacher, student, torch.tensor(0.5), "own")
    for name, value in values(teacher, "buffers").items():
        np.testing.assert_array_equal(value, before[name])


def test_copied_statistics_are_those_of_the_student():
    student, teacher = networks()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for _ in range(3):
        trained(student, optimizer)
        update_average(teacher, student, torch.tensor(0.1), "copied")
        expected = values(student, "buffers")
        for name, value in values(teacher, "buffers").items():
            np.testing.assert_array_equal(value, expected[name])
    assert len(expected) == 10  # two for each of five norms


def test_averaged_statistics_follow_the_formula():
    student, teacher = networks()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    expected = values(teacher, "buffers")
    for _ in range(20):
        trained(student, optimizer)
        update_average(teacher, student, torch.tensor(0.2), "averaged")
        for name, value in values(student, "buffers").items():
            expected[name] = 0.8 * expected[name] + 0.2 * value
    for name, value in values(teacher, "buffers").items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_norm", ["copied", "averaged"])
def test_counts_of_batches_are_copied_where_a_norm_needs_them(batch_norm):
    student, teacher = (nn.Sequential(nn.BatchNorm1d(3, momentum=None)) for _ in range(2))
    student(torch.randn(8, 3))
    update_average(teacher, student, torch.tensor(0.5), batch_norm)
    assert teacher[0].num_batches_tracked == student[0].num_batches_tracked == 1


@pytest.mark.parametrize("batch_norm", RULES)
def test_the_student_is_left_as_it_is(batch_norm):
    student, teacher = networks()
    with torch.no_grad():
        for tensor in (*teacher.parameters(), *teacher.buffers()):
            tensor.add_(1)
    before = copy.deepcopy(student.state_dict())
    update_average(teacher, student, torch.tensor(0.5), batch_norm)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_an_average_over_many_steps_does_not_stall():
    # Kept in bf16 it would stop at 0.25.
    student, teacher = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.ones_(student.weight)
    nn.init.zeros_(teacher.weight)
    for _ in range(5000):
        update_average(teacher, student, torch.tensor(0.001), "own")
    assert teacher.weight.item() == pytest.approx(1 - 0.999**5000, rel=1e-4)
