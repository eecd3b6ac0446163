import copy

import numpy as np
import pytest
import torch

from trainers.averaging import update_average
from trainers.config import SmallCnn
from trainers.models import build
from trainers.schedules import ema_decay


def networks() -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    student = build(SmallCnn(width=4), 1, 3)
    return student, copy.deepcopy(student)


@pytest.mark.parametrize("alpha", [0.0, 0.9, 0.999])
def test_fifty_updates_follow_a_trained_student_as_the_formula_says(alpha):
    student, teacher = networks()
    expected = [parameter.detach().double().numpy() for parameter in student.parameters()]
    start = [value.copy() for value in expected]
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    for t in range(1, 51):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(student(torch.randn(8, 1, 8, 8)), torch.randint(0, 3, (8,))).backward()
        optimizer.step()
        update_average(teacher, student, ema_decay(t, alpha))
        decay = min(1 - 1 / (t + 1), alpha)
        expected = [
            decay * average + (1 - decay) * parameter.detach().double().numpy()
            for average, parameter in zip(expected, student.parameters(), strict=True)
        ]
    assert any(np.abs(value - first).max() > 0.1 for value, first in zip(expected, start, strict=True))
    for value, parameter in zip(expected, teacher.parameters(), strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-5, atol=1e-6)


def test_buffers_are_not_averaged():
    student, teacher = networks()
    student(torch.randn(8, 1, 8, 8))  # moves the student's batch-norm statistics
    before = {name: buffer.clone() for name, buffer in teacher.named_buffers()}
    assert any(not torch.equal(buffer, before[name]) for name, buffer in student.named_buffers())
    update_average(teacher, student, 0.5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in teacher.named_buffers())


def test_the_student_is_left_as_it_is():
    student, teacher = networks()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(1.0)
    before = copy.deepcopy(student.state_dict())
    update_average(teacher, student, 0.5)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
