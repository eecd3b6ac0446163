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
from tests.helpers.sweeps import begun, digits, swept

SETTINGS = ("trials=2", "finalists.baselines=[]", "finalists.top=1", "finalists.seeds=3", "pruner.name=none")
BALANCED = "objective.metric=validation.teacher_balanced_error"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two sweeps that were trained again, one that was not, and one that is ranked by something else."""
    home = LocalHome(tmp_path_factory.mktemp("home"))
    swept(home, digits(*SETTINGS), Script())
    swept(home, digits(*SETTINGS, "name=other", "sampler.seed=3", "finalists.seeds=2"), Script())
    swept(home, digits(*SETTINGS, "name=alone", "finalists.top=0"), Script())
    begun(home, digits(*SETTINGS, "name=balanced", BALANCED))
    return home


def test_two_sweeps_of_the_same_images_are_compared_on_the_seeds_that_both_have(home):
    found = compare_sweeps(home.sweep("digits"), home.sweep("other"))
    assert found.difference is not None
    assert (found.difference.a, found.difference.b, found.difference.seeds) == ("digits", "other", 2)
    means = [one.mean.mean for one in found.sweeps]
    assert [one.mean.seeds for one in found.sweeps] == [3, 2]
    assert abs(found.difference.difference.mean - (means[0] - means[1])) < 0.05
    assert str(found).startswith(f"digits: trial {found.sweeps[0].trial}, ")
    assert "after 2 seeds (paired t-test)" in str(found)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_without_fresh_seeds_nothing_is_claimed(home, options):
    output = CliRunner().invoke(cli, ["compare", "digits", "alone", *options, "--home", str(home.path)]).output
    if options:
        assert json.loads(output)["difference"] is None
    else:
        assert "they share fewer than two fresh seeds (finalists.top, finalists.seeds): nothing is claimed" in output


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"data_fingerprint": "0"}, "they are of other images"),
        ({"split_fingerprint": "0"}, "the images serve other purposes"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(home, change, why):
    second = home.sweep("other")
    before = second.load_environment()
    second.save_environment(replace(before, **change))
    with pytest.raises(InputError, match=f"digits and other cannot be compared: {why}"):
        compare_sweeps(home.sweep("digits"), second)
    second.save_environment(before)


def test_errors_of_two_kinds_are_not_compared(home):
    with pytest.raises(InputError, match=r"one is ranked by validation\.teacher_error, the other"):
        compare_sweeps(home.sweep("digits"), home.sweep("balanced"))


def test_a_sweep_without_a_best_is_named(home):
    begun(home, digits(*SETTINGS, "name=empty"))
    with pytest.raises(InputError, match="empty: no trial has completed yet"):
        compare_sweeps(home.sweep("digits"), home.sweep("empty"))


def test_a_sweep_is_not_compared_with_itself(home):
    with pytest.raises(InputError, match="digits: is one sweep; name two"):
        compare_sweeps(home.sweep("digits"), home.sweep("digits"))
