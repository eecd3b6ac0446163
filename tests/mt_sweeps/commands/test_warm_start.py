"""`from` in the file: which earlier sweeps a new one takes up, and which it refuses."""

import re

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.commands.run import run_sweep
from mt_sweeps.commands.warm_start import warm_start, with_prior_points
from mt_sweeps.errors import InputError
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.prior_points import prior_points
from mt_sweeps.study.ledger_view import ledger_of
from mt_sweeps.study.trial import Prior
from tests.helpers.command_line import DIGITS, REPOSITORY
from tests.helpers.sweeps import ENVIRONMENT, Sweep, digits, finish

SEARCH = REPOSITORY / "search_spaces" / "digits.yaml"
ALONE = ("finalists.top=0", "finalists.baselines=[]", "points=[]")


@pytest.fixture
def before(tmp_path):
    sweep = Sweep(tmp_path, "finalists.baselines=[]")
    for error in (0.3, 0.1, 0.2):
        finish(sweep.ledger, sweep.ledger.ask_search(), error)
    return sweep


def test_the_same_images_are_taken_without_a_note_and_others_with_one(before):
    spec = digits("trials=8", "from=[digits]", *ALONE)
    prior, lines = warm_start(DIGITS, before.home, spec, ENVIRONMENT.data_fingerprint)
    assert len(prior["search"].points) == len(prior["search"].trials) == 3
    assert lines == ["  from      digits: 3 best configurations to try first, 3 trials for the sampler"]
    _, lines = warm_start(DIGITS, before.home, spec, "other")
    assert lines[1].startswith("note: digits was a sweep of other images")


def test_points_of_the_prior_come_after_those_of_earlier_sweeps_and_each_arm_has_its_own():
    spec = load_spec(SEARCH, ("trials=8", "from=[]", "sampler.prior=measured"))
    earlier = {"search": Prior([{"ema.decay": 0.9}])}
    prior, lines = with_prior_points(spec, 10, 788, earlier)
    assert prior["search"].points == [{"ema.decay": 0.9}, *prior_points(spec, "search", 10, 788)]
    assert prior["supervised"].points == prior_points(spec, "supervised", 10, 788) != []
    assert earlier == {"search": Prior([{"ema.decay": 0.9}])}, "it is not changed"
    assert len(lines) == 1
    assert re.fullmatch(
        r"  prior     settings that were good on other sets come first: \d trials? of the search and \d trials? of the "
        "supervised baseline",
        lines[0],
    )
    assert with_prior_points(load_spec(SEARCH), 10, 788, earlier) == (earlier, [])


def test_a_plan_says_what_comes_first():
    plan = CliRunner().invoke(cli, ["plan", str(SEARCH), "--set", "sampler.prior=paper"])
    assert "  prior     the authors' values come first: 1 trial of the search and 1 trial of" in plan.output
    assert "  prior " not in CliRunner().invoke(cli, ["plan", str(SEARCH)]).output


def test_a_file_that_names_no_sweep_takes_nothing(before):
    assert warm_start(DIGITS, before.home, digits("trials=8", *ALONE), "other") == ({}, [])


def test_a_sweep_that_runs_or_is_none_or_has_another_format_is_refused(before, monkeypatch):
    spec = digits("trials=8", "from=[digits]", *ALONE)
    with before.directory.exclusive("driven"), pytest.raises(InputError, match="from: digits: still runs; wait for it"):
        warm_start(DIGITS, before.home, spec, "any")
    with pytest.raises(InputError, match="from: none: no such sweep"):
        warm_start(DIGITS, before.home, digits("from=[none]", *ALONE), "any")
    monkeypatch.setattr("mt_sweeps.study.ledger_view.FORMAT", 4)
    with pytest.raises(InputError, match=r"from: .*ledger\.db: is a ledger of format 3, this version reads 4"):
        warm_start(DIGITS, before.home, spec, "any")


def test_a_grid_and_what_is_no_name_are_refused():
    with pytest.raises(InputError, match="from: a grid is enumerated"):
        load_spec(DIGITS, ("from=[digits]", "sampler.name=grid", "points=[]"))
    with pytest.raises(InputError, match=r"from\.0: '\.\./digits' is no plain name"):
        load_spec(DIGITS, ("from=[../digits]",))
    with pytest.raises(InputError, match=r"form: unknown key; did you mean 'from'"):
        load_spec(DIGITS, ("form=[digits]",))


def test_an_earlier_sweep_is_refused_before_anything_starts(before):
    with pytest.raises(InputError, match="from: none: no such sweep"):
        run_sweep(DIGITS, before.home, None, (*ALONE, "from=[none]"), 4)
    assert [sweep.name for sweep in before.home.sweeps()] == ["digits"]


def test_validate_refuses_an_earlier_sweep_that_a_run_would_refuse(before, tmp_path):
    for name, message in (("digits", None), ("none", "none.yaml: from: none: no such sweep")):
        file = tmp_path / f"{name}.yaml"
        file.write_text(DIGITS.read_text() + f"from: [{name}]\n")
        result = CliRunner().invoke(cli, ["validate", str(file), "--home", str(before.home.path)])
        if message is None:
            assert result.output.startswith(f"{file}: valid"), result.output
        else:
            assert message in str(result.exception)


@pytest.mark.system
def test_a_warm_sweep_runs_and_goes_on_when_the_earlier_one_is_gone(before, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_SCRIPT", "{}")
    best = ledger_of(before.directory).best().values
    run_sweep(DIGITS, before.home, "warm", (*ALONE, "from=[digits]"), 5, in_process=True)
    warm = before.home.sweep("warm")
    before.directory.delete()
    ledger = ledger_of(warm)
    assert ledger.trials("search")[0].values == best
    assert [trial.origin for trial in ledger.trials("search")][:3] == ["point"] * 3
    assert ledger.spec.from_ == ["digits"]
    assert yaml_file.parse(warm.spec_text(), "spec.yaml")["from"] == ["digits"]
