"""Schedules, compared with values computed by hand and with numpy in float64, to 1e-12."""

import math

import numpy as np
import pytest

from trainers.config import (
    Consistency,
    Constant,
    Ema,
    HalfCosine,
    QuarterCosine,
    RampDown,
    Schedule,
    StepDecay,
)
from trainers.schedules import (
    consistency_weight,
    ema_decay,
    half_cosine,
    learning_rate_factor,
    linear_ramp_up,
    quarter_cosine,
    ramp_down,
    sigmoid_ramp_up,
)


def factors(schedule: Schedule, steps: int) -> np.ndarray:
    return np.array([learning_rate_factor(step, schedule, steps) for step in range(steps)])


# --- the consistency weight


@pytest.mark.parametrize(
    ("step", "value"),
    [(0, 0.006737946999085), (50, 0.286504796860190), (80, 0.818730753077982), (100, 1.0), (5000, 1.0)],
)
def test_the_sigmoid_ramp_up_is_the_exponential_of_the_squared_remainder(step, value):
    assert sigmoid_ramp_up(step, 100) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("step", "value"), [(0, 0.0), (1, 0.01), (50, 0.5), (99, 0.99), (100, 1.0), (5000, 1.0)])
def test_the_linear_ramp_up_is_the_share_of_the_steps(step, value):
    assert linear_ramp_up(step, 100) == pytest.approx(value, rel=1e-12)


def test_a_ramp_up_of_no_steps_is_over_at_once():
    assert sigmoid_ramp_up(0, 0) == linear_ramp_up(0, 0) == 1.0


@pytest.mark.parametrize(("ramp_up", "halfway"), [("sigmoid", 30 * math.exp(-5 / 4)), ("linear", 15.0)])
def test_the_consistency_weight_follows_the_ramp_up_of_its_name(ramp_up, halfway):
    settings = Consistency(weight=30.0, ramp_up=ramp_up)
    assert consistency_weight(20, settings, 40) == pytest.approx(halfway, rel=1e-12)
    assert [consistency_weight(step, settings, 40) for step in (40, 41, 10**6)] == [30.0] * 3


# --- the learning rate


@pytest.mark.parametrize(("step", "value"), [(0, 1.0), (40, 0.75), (60, 0.5), (80, 0.25), (120, 0.0)])
def test_the_half_cosine_falls_from_one_to_zero(step, value):
    assert half_cosine(step, 120) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(("step", "value"), [(0, 1.0), (40, math.sqrt(3) / 2), (60, math.sqrt(0.5)), (120, 0.0)])
def test_the_quarter_cosine_falls_from_one_to_zero(step, value):
    assert quarter_cosine(step, 120) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("schedule", "curve"), [(HalfCosine(), half_cosine), (QuarterCosine(name="quarter_cosine"), quarter_cosine)]
)
def test_a_cosine_ends_with_the_run_unless_it_has_a_length(schedule, curve):
    assert list(factors(schedule, 30)) == [curve(step, 30) for step in range(30)]


def test_a_half_cosine_longer_than_the_run_is_cut_off():
    # The authors' CIFAR-10 run: 300 epochs of 118 steps under a cosine of 350 epochs.
    t = np.arange(300)
    np.testing.assert_allclose(factors(HalfCosine(length=350), 300), 0.5 * (np.cos(np.pi * t / 350) + 1), rtol=1e-12)
    assert learning_rate_factor(299, HalfCosine(length=350), 300) == pytest.approx(0.0515, abs=1e-4)


def test_a_quarter_cosine_of_eight_sevenths_is_that_of_fixmatch():
    steps = 7 * 64
    t = np.arange(steps)
    np.testing.assert_allclose(
        factors(QuarterCosine(name="quarter_cosine", length=8 * 64), steps),
        np.cos(7 * np.pi * t / (16 * steps)),
        rtol=1e-12,
    )


def test_the_ramp_down_is_that_of_the_authors_in_the_last_25000_steps_and_one_before():
    end = 180_000
    for t in (0, 100_000, 155_000):
        assert ramp_down(t, 25_000, end) == 1.0
    for t in (155_001, 160_000, 170_000, 179_999):
        assert ramp_down(t, 25_000, end) == pytest.approx(math.exp(-12.5 * (1 - (end - t) / 25_000) ** 2), rel=1e-12)
    assert ramp_down(end, 25_000, end) == pytest.approx(math.exp(-12.5), rel=1e-12)


def test_a_ramp_down_takes_the_last_steps_of_the_run():
    x = np.clip((np.arange(50) - 40) / 10, 0, None)
    np.testing.assert_allclose(
        factors(RampDown(name="ramp_down", ramp_down_steps=10), 50), np.exp(-12.5 * x**2), rtol=1e-12
    )


def test_a_step_decay_multiplies_by_its_factor_once_its_steps_are_taken():
    schedule = StepDecay(name="step_decay", at=[3, 7], factor=0.2)
    np.testing.assert_allclose(factors(schedule, 10), [1, 1, 1, *[0.2] * 4, *[0.04] * 3], rtol=1e-12)


def test_a_constant_schedule_is_one():
    assert set(factors(Constant(name="constant"), 20)) == {1.0}


def test_a_linear_warm_up_rises_from_where_it_begins_to_one():
    schedule = Constant(name="constant", warm_up_steps=4)
    np.testing.assert_allclose(factors(schedule, 6), [0, 0.25, 0.5, 0.75, 1, 1], rtol=1e-12)
    # The authors' ImageNet run: from 0.1 to 0.25.
    schedule = Constant(name="constant", warm_up_steps=4, warm_up_from=0.4)
    np.testing.assert_allclose(factors(schedule, 6), [0.4, 0.55, 0.7, 0.85, 1, 1], rtol=1e-12)


def test_a_sigmoid_warm_up_is_that_of_the_authors():
    schedule = Constant(name="constant", warm_up="sigmoid", warm_up_steps=40)
    x = np.clip(np.arange(60) / 40, None, 1)
    np.testing.assert_allclose(factors(schedule, 60), np.exp(-5 * (1 - x) ** 2), rtol=1e-12)


DECAYS = {
    "half_cosine": (HalfCosine, {"length": 70}, lambda t: 0.5 * (1 + np.cos(np.pi * t / 70))),
    "quarter_cosine": (QuarterCosine, {"length": 70}, lambda t: np.cos(np.pi * t / 140)),
    "ramp_down": (RampDown, {"ramp_down_steps": 55}, lambda t: np.exp(-12.5 * np.clip((t - 5) / 55, 0, None) ** 2)),
    "step_decay": (StepDecay, {"at": [4, 30], "factor": 0.5}, lambda t: 0.5 ** (1.0 * (t >= 4) + (t >= 30))),
}
WARM_UPS = {
    "linear": ({"warm_up_from": 0.1}, lambda x: 0.1 + 0.9 * x),
    "sigmoid": ({}, lambda x: np.exp(-5 * (1 - x) ** 2)),
}


@pytest.mark.parametrize("warm_up", WARM_UPS)
@pytest.mark.parametrize("decay", DECAYS)
def test_a_warm_up_and_a_decay_are_multiplied(decay, warm_up):
    (kind, settings, falling), (more, rising) = DECAYS[decay], WARM_UPS[warm_up]
    t = np.arange(60)
    schedule = kind(name=decay, warm_up=warm_up, warm_up_steps=10, **settings, **more)
    np.testing.assert_allclose(factors(schedule, 60), falling(t) * rising(np.clip(t / 10, None, 1)), rtol=1e-12)


# --- the average of the weights


@pytest.mark.parametrize(
    ("updates", "value"), [(1, 1 / 2), (2, 2 / 3), (3, 3 / 4), (99, 0.99), (100, 0.99), (10**6, 0.99)]
)
def test_the_ema_decay_is_that_of_a_plain_mean_until_alpha_is_reached(updates, value):
    assert ema_decay(updates, Ema(decay=0.99), 0) == pytest.approx(value, rel=1e-12)


def test_an_alpha_of_zero_is_zero_from_the_first_update():
    assert ema_decay(1, Ema(decay=0.0), 0) == 0.0


def test_the_ema_decay_is_switched_after_the_last_step_of_the_ramp_up():
    settings = Ema(decay=0.999, ramp_up_decay=0.99)  # the authors' TensorFlow code
    assert [ema_decay(t, settings, 2000) for t in (98, 99, 1999, 2000, 2001)] == [1 - 1 / 99, *[0.99] * 3, 0.999]


def test_the_warm_up_of_the_ema_decay_goes_on_where_the_switch_comes_early():
    settings = Ema(decay=0.999, ramp_up_decay=0.5)
    assert [ema_decay(t, settings, 3) for t in (1, 3, 4, 5)] == [0.5, 0.5, 1 - 1 / 5, 1 - 1 / 6]
