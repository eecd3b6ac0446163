"""The short form of the simulation. The long one: `uv run --group dev python -m tests.simulation --seeds 50000`."""

import pytest

from tests.simulation.__main__ import run
from tests.simulation.mutants import MUTANTS

FOUND_BY = {"LostReport": 1, "DoublePrune": 1, "WrongRequeue": 1, "WriteBeforeRecord": 1}
# What the simulation found, and was mended since.
FINDINGS = {
    99: "a worker that was given up wrote a record, and MLflow showed its evaluation beside that of the next attempt",
    174: "a report that came again pruned a trial in hindsight, after it had gone on",
    287: "a driver died after its trial's third lost worker was counted: the trial was trained a fourth time",
}


@pytest.mark.parametrize("seed", [*FINDINGS, 1, 2, 3])
def test_a_sweep_that_is_disturbed_comes_to_what_an_undisturbed_one_does(seed):
    problem, _ = run(seed)
    assert problem == ""


@pytest.mark.parametrize("mutant", FOUND_BY)
def test_a_mistake_is_found(mutant):
    seeds = range(FOUND_BY[mutant], FOUND_BY[mutant] + 10)
    assert any(run(seed, MUTANTS[mutant])[0] for seed in seeds)
