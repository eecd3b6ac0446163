"""The short form of the simulation. The long one: `uv run --group dev python -m tests.simulation --seeds 50000`."""

import pytest

from tests.simulation.__main__ import each_point, run
from tests.simulation.mutants import MUTANTS
from tests.simulation.spec import specs

FOUND_BY = {
    "LostReport": 4,
    "DoublePrune": 1,
    "WrongRequeue": 9,
    "WriteBeforeRecord": 13,
    "StaleOwner": 33,
    "EarlyLook": 318,
    "RequestFirst": 10,
    "PointTwice": 10,
}


@pytest.fixture(scope="module", autouse=True)
def _the_sweeps():
    specs()  # are read once, and it takes a second


@pytest.mark.parametrize("seed", range(1, 13))
def test_a_sweep_that_is_disturbed_comes_to_what_an_undisturbed_one_does(seed):
    problem, _ = run(seed)
    assert problem == ""


@pytest.mark.parametrize(("who", "least"), [("driver", 4), ("worker", 1)])
def test_a_sweep_whose_process_is_killed_at_one_point_after_another_comes_to_the_same(who, least):
    points, problems = each_point(5, who, stride=56)
    assert problems == []
    assert points >= least


@pytest.mark.parametrize("mutant", FOUND_BY)
def test_a_mistake_is_found(mutant):
    seeds = range(FOUND_BY[mutant], FOUND_BY[mutant] + 10)
    assert any(run(seed, MUTANTS[mutant])[0] for seed in seeds)
