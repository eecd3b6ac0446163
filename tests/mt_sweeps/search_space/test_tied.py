import optuna
import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.search_space.distributions import Categorical, FloatRange, IntRange, Tied
from mt_sweeps.search_space.space import Space
from tests.helpers.sweeps import digits

LOSS = [Categorical(type="categorical", choices=["mse", "kl"])]
WIDTH = [IntRange(type="int", low=4, high=8, when={"loss": "mse"})]


def test_a_tied_key_has_the_value_of_the_other_and_is_no_dimension():
    space = Space({"follower": [Tied(same_as="loss")], "loss": LOSS})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        values = space.suggest(trial)
        assert values["follower"] == values["loss"]
        assert set(trial.distributions) == {"loss"}


def test_a_tied_key_is_absent_where_the_other_is():
    space = Space({"follower": [Tied(same_as="width")], "loss": LOSS, "width": WIDTH})
    for values in space.grid():
        assert ("follower" in values) == ("width" in values) == (values["loss"] == "mse")


def test_a_key_may_be_tied_on_a_condition_and_have_a_range_else():
    rate = [Tied(same_as="width", when={"loss": "mse"}), FloatRange(type="float", low=0, high=1, when={"loss": "kl"})]
    corners = Space({"loss": LOSS, "width": WIDTH, "rate": rate}).corners()
    assert all(corner["rate"] == corner["width"] for corner in corners if corner["loss"] == "mse")
    assert {corner["rate"] for corner in corners if corner["loss"] == "kl"} == {0, 1}


def test_a_condition_may_be_on_a_tied_key():
    depth = [IntRange(type="int", low=1, high=2, when={"follower": "kl"})]
    space = Space({"depth": depth, "follower": [Tied(same_as="loss")], "loss": LOSS})
    assert all(("depth" in values) == (values["loss"] == "kl") for values in space.grid())
    assert space.to_params({"loss": "kl", "depth": 2}) == {"loss": "kl", "depth[kl]": 2}


def test_a_point_may_give_a_tied_key_only_the_value_of_the_other():
    space = Space({"follower": [Tied(same_as="loss")], "loss": LOSS})
    assert space.to_params({"loss": "kl"}) == space.to_params({"loss": "kl", "follower": "kl"}) == {"loss": "kl"}
    with pytest.raises(ValueError, match=r"follower: 'mse' is not the value of loss \('kl'\), which it is tied to"):
        space.to_params({"loss": "kl", "follower": "mse"})
    with pytest.raises(ValueError, match="follower has no branch that holds"):
        space.to_params({"follower": "mse"})


def test_a_tied_key_reaches_the_trainer():
    spec = digits("search_space.teacher.noise={same_as: augmentation.noise}", *NOISE)
    assert spec.sample_config().teacher.noise == spec.sample_config().augmentation.noise == 0.25


NOISE = ("search_space.augmentation.noise={type: categorical, choices: [0.25]}",)


def test_without_the_key_it_is_tied_to_a_key_is_not_searched():
    spec = digits("search_space.optimizer.weight_decay={same_as: ema.decay}", *NOISE)
    assert list(spec.space("supervised").entries) == ["augmentation.noise"]


def test_a_recipe_as_a_point_gives_a_tied_key_the_value_of_the_other():
    fraction = "search_space.labeled_batch_fraction.choices=[0.02, 0.5]"
    weight = "search_space.consistency.weight={type: float, low: 1.0, high: 9.0}"
    tied = "search_space.optimizer.weight_decay={same_as: labeled_batch_fraction}"
    (point,) = digits(tied, fraction, weight, "points=[{recipe: conv_large_cifar10_1000}]").points
    assert point["optimizer.weight_decay"] == 0.02


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{type: flot}", "type: 'flot' is not allowed; use one of 'float', 'int', 'categorical'; or tie the key with"),
        ("{}", "type: is missing; use one of 'float', 'int', 'categorical'; or tie the key with {same_as: KEY}"),
        ("{same_as: 3}", "same_as: should be a valid string, not 3"),
        ("{same_as: ema.decay, low: 1}", "low: unknown key; Known: same_as, when"),
        ("{same_as: ema.dekay}", "same_as: ema.dekay is not in search_space; did you mean 'ema.decay'?"),
    ],
)
def test_a_mistake_in_a_tied_key_is_told_with_what_is_allowed(entry, told):
    with pytest.raises(InputError) as error:
        digits(f"search_space.teacher.noise={entry}")
    (problem,) = error.value.problems
    assert f"search_space.teacher.noise.{told}" in problem


def test_a_circle_of_ties_and_conditions_is_shown():
    entries = {
        "a": [Tied(same_as="b")],
        "b": [IntRange(type="int", low=1, high=2, when={"c": 1})],
        "c": [Tied(same_as="a")],
    }
    with pytest.raises(ValueError, match=r"in a circle: (a -> b -> c|b -> c -> a|c -> a -> b) -> "):
        Space(entries)
