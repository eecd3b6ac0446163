"""Twenty steps of each optimiser against numpy in float64, to 1e-12 of the largest weight.

The gradients are given, so that only the optimiser is under test.
"""

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.training import config
from trainers.config import SmallCnn, TrainerConfig
from trainers.models import build
from trainers.optimizer import Optimizer
from trainers.timetable import Timetable

STEPS, WARM_UP, RAMP_DOWN = 20, 8, 6
SHAPES = [(3, 4), (3,), (2, 3), (2,)]  # of the parameters of `network`, two of them biases
COSINE = 0.5 * (1 + np.cos(np.pi * np.arange(STEPS) / STEPS))


def run(optimizer: dict[str, Any], **changes: Any) -> TrainerConfig:
    return config(steps=STEPS, optimizer=optimizer, **changes)


def network() -> nn.Module:
    rng = np.random.default_rng(1)
    layers = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)).double()
    for parameter in layers.parameters():
        parameter.data = torch.from_numpy(rng.normal(size=parameter.shape))
    return layers


def gradients() -> list[list[np.ndarray]]:
    rng = np.random.default_rng(2)
    return [[rng.normal(size=shape) for shape in SHAPES] for _ in range(STEPS)]


class Run:
    """A network, its optimiser and the timetable, in float64."""

    def __init__(self, settings: TrainerConfig, first: int = 0) -> None:
        torch.set_default_dtype(torch.float64)
        self.layers = network()
        self.optimizer = Optimizer(self.layers, settings)
        self.timetable = Timetable(settings, torch.device("cpu"))
        self.timetable.plan(first, STEPS - first)
        torch.set_default_dtype(torch.float32)

    def update(self, step: int) -> None:
        for parameter, gradient in zip(self.layers.parameters(), gradients()[step], strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        self.optimizer.step(self.timetable.next())


def assert_follows(settings: TrainerConfig, expected: list[list[np.ndarray]]) -> None:
    """Assert that the weights after each step are the expected ones."""
    of_run = Run(settings)
    layers = of_run.layers
    for step in range(STEPS):
        of_run.update(step)
        for parameter, value in zip(layers.parameters(), expected[step], strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=0, atol=1e-12 * np.abs(value).max())


def by_hand(rule: Any, decays: tuple[float, float] = (0.0, 0.0)) -> list[list[np.ndarray]]:
    """The weights after each step; `rule(weight, its gradients, weight decay)` yields those of one parameter.

    Args:
        decays: of weights and of biases.
    """
    start = [parameter.detach().numpy().copy() for parameter in network().parameters()]
    columns = list(zip(*gradients(), strict=True))
    curves = [list(rule(w, gs, decays[w.ndim == 1])) for w, gs in zip(start, columns, strict=True)]
    return list(zip(*curves, strict=True))


# --- the optimisers


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_is_that_of_nesterov_or_plain_momentum(nesterov):
    def sgd(w, gs, decay):
        velocity = np.zeros_like(w)
        for g, rate in zip(gs, 0.3 * COSINE, strict=True):
            g = g + decay * w
            velocity = 0.9 * velocity + g
            w = w - rate * (g + 0.9 * velocity if nesterov else velocity)
            yield w

    settings = {"name": "sgd", "learning_rate": 0.3, "weight_decay": 0.02, "nesterov": nesterov}
    assert_follows(run(settings), by_hand(sgd, (0.02, 0.02)))


def adam(rates: np.ndarray, betas: list[tuple[float, float]], decoupled: bool = False, epsilon: float = 1e-8) -> Any:
    """Adam (Kingma & Ba 2015), with moments that are corrected by the product of all betas so far."""

    def rule(w, gs, decay):
        first, second, products = np.zeros_like(w), np.zeros_like(w), np.ones(2)
        for g, rate, (beta1, beta2) in zip(gs, rates, betas, strict=True):
            if decoupled:
                w = w - rate * decay * w
            else:
                g = g + decay * w
            first = beta1 * first + (1 - beta1) * g
            second = beta2 * second + (1 - beta2) * g**2
            products = products * [beta1, beta2]
            w = w - rate * (first / (1 - products[0])) / (np.sqrt(second / (1 - products[1])) + epsilon)
            yield w

    return rule


@pytest.mark.parametrize("decay", [0.0, 0.02])
def test_adam_adds_its_weight_decay_to_the_gradient(decay):
    settings = {"name": "adam", "learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.1}
    expected = by_hand(adam(0.1 * COSINE, [(0.8, 0.95)] * STEPS, epsilon=0.1), (decay, decay))
    assert_follows(run(settings | {"weight_decay": decay}), expected)


def test_adamw_takes_its_weight_decay_from_the_weights():
    settings = {"name": "adamw", "learning_rate": 0.1, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.1}
    expected = by_hand(adam(0.1 * COSINE, [(0.8, 0.95)] * STEPS, decoupled=True, epsilon=0.1), (0.5, 0.5))
    assert_follows(run(settings | {"weight_decay": 0.5}), expected)


# --- the betas of the authors

EPSILON = 0.1  # so large that its place in the formula shows
T = np.arange(STEPS)
RAMPED_DOWN = np.exp(-12.5 * np.clip((T - STEPS + RAMP_DOWN) / RAMP_DOWN, 0, None) ** 2)
BETA1 = RAMPED_DOWN * 0.9 + (1 - RAMPED_DOWN) * 0.5
BETA2 = np.where(T < WARM_UP, 0.99, 0.999)
WARMED_UP = np.exp(-5 * np.clip(1 - T / WARM_UP, 0, None) ** 2)
CONSTANT = np.ones(STEPS)
SWITCHES = {
    "beta2": (
        {"warm_up_beta2": 0.99},
        {"name": "constant", "warm_up": "sigmoid", "warm_up_steps": WARM_UP},
        WARMED_UP,
        0.9 * CONSTANT,
        BETA2,
    ),
    "beta1": (
        {"ramp_down_beta1": 0.5},
        {"name": "ramp_down", "ramp_down_steps": RAMP_DOWN},
        RAMPED_DOWN,
        BETA1,
        0.999 * CONSTANT,
    ),
    "both": (
        {"warm_up_beta2": 0.99, "ramp_down_beta1": 0.5},
        {"name": "ramp_down", "ramp_down_steps": RAMP_DOWN, "warm_up": "sigmoid", "warm_up_steps": WARM_UP},
        RAMPED_DOWN * WARMED_UP,
        BETA1,
        BETA2,
    ),
}


@pytest.mark.parametrize("name", SWITCHES)
def test_adam_follows_the_betas_of_the_authors_and_corrects_for_all_of_them(name):
    switches, schedule, factors, beta1, beta2 = SWITCHES[name]
    settings = {"name": "adam", "learning_rate": 0.003, "epsilon": EPSILON} | switches
    expected = by_hand(adam(0.003 * factors, list(zip(beta1, beta2, strict=True)), epsilon=EPSILON))
    assert_follows(run(settings, schedule=schedule), expected)


def test_the_reported_learning_rate_is_that_of_the_schedule_whatever_the_betas_do():
    switches, schedule, factors, *_ = SWITCHES["both"]
    settings = run({"name": "adam", "learning_rate": 0.003} | switches, schedule=schedule)
    timetable = Timetable(settings, torch.device("cpu"))
    told = [timetable.metrics(step)["train.learning_rate"] for step in range(STEPS)]
    np.testing.assert_allclose(told, 0.003 * factors, rtol=1e-12)


# --- weight decay


@pytest.mark.parametrize("on", ["all", "weights"])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_weight_decay_leaves_out_norms_and_biases_if_asked_to(name, on):
    torch.manual_seed(0)
    student = build(SmallCnn(width=4), 1, 10, heads=2)
    before = {}
    for key, parameter in student.named_parameters():
        parameter.data += 0.5  # a bias of 0 could not decay
        parameter.grad = torch.zeros_like(parameter)
        before[key] = parameter.detach().clone()
    settings = config(optimizer={"name": name, "weight_decay": 0.3, "weight_decay_on": on})
    timetable = Timetable(settings, torch.device("cpu"))
    timetable.plan(0, 1)
    Optimizer(student, settings).step(timetable.next())
    decayed = {key for key, parameter in student.named_parameters() if not torch.equal(parameter, before[key])}
    kinds = (nn.Conv2d, nn.Linear)
    weights = {f"{key}.weight" for key, layer in student.named_modules() if isinstance(layer, kinds)}
    assert len(weights) == 7  # five convolutions and two heads
    assert decayed == (weights if on == "weights" else set(before))


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_twenty_steps_decay_the_weights_alone_if_asked_to(name):
    rate, betas = 0.1, [(0.9, 0.999)] * STEPS

    def sgd(w, gs, decay):
        velocity = np.zeros_like(w)
        for g, factor in zip(gs, COSINE, strict=True):
            velocity = 0.9 * velocity + g + decay * w
            w = w - rate * factor * (g + decay * w + 0.9 * velocity)
            yield w

    rule = sgd if name == "sgd" else adam(rate * COSINE, betas, decoupled=name == "adamw")
    settings = {"name": name, "learning_rate": rate, "weight_decay": 0.2, "weight_decay_on": "weights"}
    assert_follows(run(settings), by_hand(rule, (0.2, 0.0)))


# --- the rest of a step


def test_the_gradients_are_dropped_once_they_are_used():
    of_run = Run(run({"name": "sgd"}))
    of_run.update(0)
    assert [parameter.grad for parameter in of_run.layers.parameters()] == [None] * 4


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_weight_that_the_loss_does_not_depend_on_stays_as_it_is(name):
    of_run = Run(run({"name": name, "weight_decay": 0.5}))
    before = copy.deepcopy(of_run.layers.state_dict())
    of_run.layers[0].weight.grad = torch.ones(SHAPES[0], dtype=torch.float64)
    of_run.optimizer.step(of_run.timetable.next())
    changed = [key for key, value in of_run.layers.state_dict().items() if not torch.equal(value, before[key])]
    assert changed == ["0.weight"]


OPTIMIZERS = {
    "sgd": ({"name": "sgd", "weight_decay_on": "weights"}, {}),
    "adam": ({"name": "adam"}, {}),
    "adam with the authors' betas": (
        {"name": "adam", "warm_up_beta2": 0.99, "ramp_down_beta1": 0.5},
        {"schedule": {"name": "ramp_down", "ramp_down_steps": RAMP_DOWN, "warm_up_steps": WARM_UP}},
    ),
    "adamw": ({"name": "adamw", "weight_decay": 0.1}, {}),
}


@pytest.mark.parametrize("taken", [1, WARM_UP, WARM_UP + 1, STEPS - 3])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_goes_on_from_a_saved_state_as_if_it_had_never_stopped(name, taken):
    optimizer, changes = OPTIMIZERS[name]
    settings = run(optimizer, **changes)
    whole = Run(settings)
    for step in range(taken):
        whole.update(step)
    file = io.BytesIO()
    torch.save([whole.layers.state_dict(), whole.optimizer.state_dict()], file)
    resumed = Run(settings, first=taken)
    weights, state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    resumed.layers.load_state_dict(weights)
    resumed.optimizer.load_state_dict(state)
    for step in range(taken, STEPS):
        whole.update(step)
        resumed.update(step)
    for ours, theirs in zip(whole.layers.parameters(), resumed.layers.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_a_run_goes_on_from_the_state_of_torchs_optimiser_which_earlier_versions_kept(name):
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    settings = run({"name": name, "learning_rate": 0.1, "weight_decay": 0.0}, schedule={"name": "constant"})
    first, whole = network(), Run(settings)
    more = {"momentum": 0.9, "nesterov": True} if name == "sgd" else {"weight_decay": 0.0}
    earlier = kinds[name](first.parameters(), lr=0.1, **more)
    for step in range(5):
        for parameter, gradient in zip(first.parameters(), gradients()[step], strict=True):
            parameter.grad = torch.from_numpy(gradient.copy())
        earlier.step()
        whole.update(step)
    resumed = Run(settings, first=5)
    resumed.layers.load_state_dict(first.state_dict())
    resumed.optimizer.load_state_dict({"optimizer": earlier.state_dict(), "products": [1.0, 1.0]})
    for step in range(5, STEPS):
        whole.update(step)
        resumed.update(step)
    for ours, theirs in zip(whole.layers.parameters(), resumed.layers.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
