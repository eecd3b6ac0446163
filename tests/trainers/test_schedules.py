import pytest

from trainers.schedules import ema_decay, half_cosine, sigmoid_ramp_up


@pytest.mark.parametrize(
    ("step", "value"),
    [(0, 0.006737946999085), (50, 0.286504796860190), (80, 0.818730753077982), (100, 1.0), (5000, 1.0)],
)
def test_the_ramp_up_is_the_exponential_of_the_squared_remainder(step, value):
    assert sigmoid_ramp_up(step, 100) == pytest.approx(value, rel=1e-12)


def test_a_ramp_up_of_no_steps_is_over_at_once():
    assert sigmoid_ramp_up(0, 0) == 1.0


@pytest.mark.parametrize(("step", "value"), [(0, 1.0), (40, 0.75), (60, 0.5), (80, 0.25), (120, 0.0)])
def test_the_half_cosine_falls_from_one_to_zero(step, value):
    assert half_cosine(step, 120) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    ("updates", "value"), [(1, 1 / 2), (2, 2 / 3), (3, 3 / 4), (99, 0.99), (100, 0.99), (10**6, 0.99)]
)
def test_the_ema_decay_is_that_of_a_plain_mean_until_alpha_is_reached(updates, value):
    assert ema_decay(updates, 0.99) == pytest.approx(value, rel=1e-12)


def test_an_alpha_of_zero_is_zero_from_the_first_update():
    assert ema_decay(1, 0.0) == 0.0
