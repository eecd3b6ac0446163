import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.search_space.distributions import Categorical, FloatRange, IntRange, Tied
from mt_sweeps.search_space.space import Space
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.load import load_spec
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import digits, written

GRID = (
    "sampler={name: grid}",
    "points=[]",
    "search_space.ema.decay.levels=3",
    "search_space.consistency.weight.0.levels=2",
    "search_space.consistency.weight.1={type: categorical, choices: [0.5, 5.0, 9.0], when: {consistency.loss: kl}}",
)
SEEDS = "search_space.seed={type: int, low: 0, high: 1}"


@pytest.fixture
def without_trials(tmp_path):
    content = yaml_file.read(DIGITS)
    del content["trials"]
    return written(tmp_path, content)


def choice(*values, **more):
    return [Categorical(type="categorical", choices=list(values), **more)]


def values_of(branch):
    return [values["key"] for values in Space({"key": [branch]}).grid()]


def test_the_keys_of_a_grid_vary_as_they_stand_in_the_file_the_last_one_fastest():
    grid = Space({"a": choice(1, 2), "b": choice("x", "y")}).grid()
    assert [tuple(values.values()) for values in grid] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_all_combinations_come_under_the_first_seed_before_the_second():
    grid = Space({"a": choice(1, 2), "seed": choice(7, 3), "b": choice("x", "y")}).grid()
    assert [values["seed"] for values in grid] == [7] * 4 + [3] * 4
    first, second = grid[:4], grid[4:]
    assert [{**values, "seed": 3} for values in first] == second


def test_a_grid_has_conditional_keys_only_where_they_hold_and_tied_ones_filled():
    entries = {"b": choice(1, 2, when={"a": "x"}), "a": choice("x", "y"), "c": [Tied(same_as="b")]}
    assert Space(entries).grid() == [{"b": 1, "a": "x", "c": 1}, {"b": 2, "a": "x", "c": 2}, {"a": "y"}]


def test_a_grid_leaves_out_what_the_filters_rule_out():
    grid = Space({"a": choice(1, 2, 3), "b": choice(1, 2, 3)}, ["a + b == 4"]).grid()
    assert [tuple(values.values()) for values in grid] == [(1, 3), (2, 2), (3, 1)]


def test_levels_are_spread_evenly_on_the_scale_of_a_range_its_ends_included():
    assert values_of(FloatRange(type="float", low=0, high=1, levels=5)) == [0, 0.25, 0.5, 0.75, 1]
    assert values_of(FloatRange(type="float", low=0.01, high=100, scale="log", levels=5)) == [0.01, 0.1, 1, 10, 100]
    decays = FloatRange(type="float", low=0.9, high=0.9999, scale="one_minus_log", levels=4)
    assert values_of(decays) == [0.9, 0.99, 0.999, 0.9999]


def test_an_int_range_is_every_integer_or_levels_none_of_them_twice():
    assert values_of(IntRange(type="int", low=3, high=6)) == [3, 4, 5, 6]
    assert values_of(IntRange(type="int", low=1, high=100, scale="log", levels=3)) == [1, 10, 100]
    assert values_of(IntRange(type="int", low=1, high=3, levels=9)) == [1, 2, 3]


def test_every_combination_of_a_grid_is_in_the_space():
    space = digits(*GRID).space()
    assert len(space.grid()) == 3 * (2 + 3) * 2
    for values in space.grid():
        assert space.to_params(values)
        assert space.allows(values)


def test_a_file_with_a_grid_may_leave_out_trials(without_trials):
    spec = load_spec(without_trials, GRID)
    assert spec.trials == spec.trials_of("search") == 30
    with pytest.raises(InputError, match="trials: is missing; add it"):
        load_spec(without_trials)


def test_fewer_trials_than_a_grid_has_are_allowed():
    assert digits(*GRID, "trials=7").trials_of("search") == 7


def test_the_supervised_arm_has_no_more_trials_than_its_own_grid():
    spec = digits(*GRID, SEEDS, "trials=20")
    assert (spec.trials_of("search"), spec.trials_of("supervised")) == (20, 2)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "search_space.ema.decay={type: float, low: 0.8, high: 0.9}",
            "search_space.ema.decay: sampler grid needs `levels: n` for a float range, or a categorical",
        ),
        (
            "search_space.consistency.weight.0={type: float, low: 1, high: 9, when: {consistency.loss: mse}}",
            "search_space.consistency.weight.0: sampler grid needs `levels: n`",
        ),
        ("trials=31", "trials: is 31 and the grid has 30 combinations; lower trials, or leave it out for all"),
        ("points=[{ema.decay: 0.8}]", "points: a grid is enumerated; add their values to it, or use another sampler"),
        ("search_space.ema.decay.levels=1", "search_space.ema.decay.levels: should be greater than or equal to 2"),
        ("search_space.seed={type: int, low: 0, high: 1000000000}", "sampler grid has more than 100,000 combinations"),
        ("filters=[ema.decay > 1]", "filters: leave nothing: none of the 30 combinations passes 'ema.decay > 1'"),
        (
            "sampler.name=random",
            "search_space.consistency.weight.0.levels: has no effect with sampler random; take it out",
        ),
    ],
)
def test_a_mistake_in_a_grid_is_told_with_its_place(override, told):
    with pytest.raises(InputError) as error:
        digits(*GRID, override)
    assert any(told in problem for problem in error.value.problems), error.value.problems


def test_mistakes_are_told_of_a_file_that_leaves_out_trials_too(without_trials):
    with pytest.raises(InputError, match="needs `levels: n`"):
        load_spec(without_trials, (*GRID, "search_space.ema.decay={type: float, low: 0.8, high: 0.9}"))
    with pytest.raises(InputError, match="did you mean 'high'"):
        load_spec(without_trials, (*GRID, "search_space.ema.decay.hihg=0.9"))
