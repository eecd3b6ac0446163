"""Two sweeps of the same images are compared seed by seed; others are refused, and it is said why."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.errors import InputError
from mt_sweeps.execution.simulated_trainer import Script
from mt_sweeps.results.comparison import compare_sweeps
from mt_sweeps.storage.local import LocalHome
from tests.helpers.sweeps import digits, swept

SETTINGS = ("trials=3", "finalists.baselines=[]", "finalists.top=1", "finalists.seeds=4", "pruner.name=none")


@pytest.fixture
def home(tmp_path):
    return LocalHome(tmp_path)


def test_two_sweeps_of_the_same_images_are_compared_on_the_seeds_that_both_have(home):
    first = swept(home, digits(*SETTINGS), Script())
    second = swept(home, digits(*SETTINGS, "name=other", "sampler.seed=3", "finalists.seeds=3"), Script())
    found = compare_sweeps(first, second)
    assert found.difference is not None
    assert (found.difference.a, found.difference.b, found.difference.seeds) == ("digits", "other", 3)
    means = [one.mean.mean for one in found.sweeps]
    assert found.sweeps[0].mean.seeds == 4
    assert abs(found.difference.difference.mean - (means[0] - means[1])) < 0.05
    assert str(found).startswith(f"digits: trial {found.sweeps[0].trial}, ")
    assert "(paired t-test over 3 seeds)" in str(found)


def test_without_fresh_seeds_nothing_is_claimed(home):
    alone = ("finalists.top=0", "trials=2")
    first = swept(home, digits(*SETTINGS, *alone), Script())
    second = swept(home, digits(*SETTINGS, *alone, "name=other", "sampler.seed=3"), Script())
    result = CliRunner().invoke(cli, ["compare", "digits", "other", "--home", str(home.path)])
    assert "they share fewer than two fresh seeds (finalists.top, finalists.seeds): nothing" in result.output
    result = CliRunner().invoke(cli, ["compare", "digits", "other", "--json", "--home", str(home.path)])
    assert json.loads(result.output)["difference"] is None
    assert (first.name, second.name) == ("digits", "other")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data_fingerprint": "0"}, "they are of other images"),
        ({"split_fingerprint": "0"}, "the images serve other purposes"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(home, change, why):
    first = swept(home, digits(*SETTINGS), Script())
    second = swept(home, digits(*SETTINGS, "name=other"), Script())
    second.save_environment(replace(second.load_environment(), **change))
    with pytest.raises(InputError, match=f"digits and other cannot be compared: {why}"):
        compare_sweeps(first, second)


def test_errors_of_two_kinds_are_not_compared(home):
    first = swept(home, digits(*SETTINGS), Script())
    other = "objective.metric=validation.teacher_balanced_error"
    second = swept(home, digits(*SETTINGS, "name=other", other), Script())
    with pytest.raises(InputError, match=r"one is ranked by validation\.teacher_error, the other"):
        compare_sweeps(first, second)


def test_a_sweep_is_not_compared_with_itself(home):
    sweep = swept(home, digits(*SETTINGS), Script())
    with pytest.raises(InputError, match="digits: is one sweep; name two"):
        compare_sweeps(sweep, sweep)
