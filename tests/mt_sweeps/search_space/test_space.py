import math

import optuna
import pytest

from mt_sweeps.search_space.distributions import Categorical, FloatRange, IntRange
from mt_sweeps.search_space.space import Space
from tests.helpers.sweeps import digits


def draw(space, n, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trials = [study.ask() for _ in range(n)]
    return trials, [space.suggest(trial) for trial in trials]


def test_a_conditional_weight_comes_from_the_range_of_its_loss():
    _, drawn = draw(digits().space(), 200)
    for values in drawn:
        low, high = (3, 300) if values["consistency.loss"] == "mse" else (0.3, 30)
        assert low <= values["consistency.weight"] <= high
    assert {values["consistency.loss"] for values in drawn} == {"mse", "kl"}


def test_every_branch_has_a_name_and_one_range_of_its_own_in_the_ledger():
    trials, _ = draw(digits().space(), 50)
    ranges = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            assert ranges.setdefault(name, distribution) == distribution
    assert {"consistency.weight[mse]", "consistency.weight[kl]", "1 - ema.decay"} <= ranges.keys()


def test_one_minus_log_spends_a_third_of_its_draws_on_each_factor_of_ten():
    space = Space({"ema.decay": [FloatRange(type="float", low=0.9, high=0.9999, scale="one_minus_log")]})
    _, drawn = draw(space, 600)
    distances = [-math.log10(1 - values["ema.decay"]) for values in drawn]
    for decade in (1, 2, 3):
        share = sum(decade <= d < decade + 1 for d in distances) / len(distances)
        assert abs(share - 1 / 3) < 0.06  # three standard errors
    assert all(0.9 <= values["ema.decay"] <= 0.9999 for values in drawn)


def test_a_value_that_was_added_by_hand_comes_back_as_it_was_written():
    space = digits().space()
    point = {"ema.decay": 0.999, "consistency.loss": "kl", "consistency.weight": 3.0, "labeled_batch_fraction": 0.25}
    study = optuna.create_study()
    study.enqueue_trial(space.to_params(point))
    assert space.suggest(study.ask()) == point


def test_a_point_may_leave_a_key_to_the_sampler():
    study = optuna.create_study()
    study.enqueue_trial(digits().space().to_params({"consistency.loss": "kl"}))
    values = digits().space().suggest(study.ask())
    assert values["consistency.loss"] == "kl"
    assert 0.3 <= values["consistency.weight"] <= 30


def test_a_key_none_of_whose_branches_holds_is_left_to_the_trainers_default():
    space = Space(
        {
            "model.name": [Categorical(type="categorical", choices=["small_cnn", "conv_large"])],
            "model.width": [IntRange(type="int", low=4, high=8, when={"model.name": "small_cnn"})],
        }
    )
    _, drawn = draw(space, 40)
    assert all(("model.width" in values) == (values["model.name"] == "small_cnn") for values in drawn)


def test_conditions_may_follow_one_another():
    space = Space(
        {
            "c": [IntRange(type="int", low=1, high=2, when={"b": 1})],
            "b": [IntRange(type="int", low=1, high=2, when={"a": "x"})],
            "a": [Categorical(type="categorical", choices=["x", "y"])],
        }
    )
    _, drawn = draw(space, 60)
    assert {tuple(sorted(values)) for values in drawn} == {("a",), ("a", "b"), ("a", "b", "c")}


def test_a_point_with_a_value_of_the_wrong_type_is_refused():
    with pytest.raises(ValueError, match="'big' is not a number"):
        digits().space().to_params({"ema.decay": "big"})
    with pytest.raises(ValueError, match=r"consistency\.rate is not in search_space"):
        digits().space().to_params({"consistency.rate": 1.0})


def test_corners_try_every_end_and_every_choice():
    corners = digits().space().corners()
    for key, wanted in (("ema.decay", {0.8, 0.999}), ("labeled_batch_fraction", {0.25, 0.5})):
        assert wanted <= {corner[key] for corner in corners}
    assert {3.0, 300.0, 0.3, 30.0} <= {corner["consistency.weight"] for corner in corners}
