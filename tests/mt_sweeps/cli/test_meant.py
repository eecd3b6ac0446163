"""A sweep where a file was meant and the other way round, and what is meant if no sweep is named."""

import json

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.storage.local import LocalHome
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import Sweep, begun, digits, finish


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with two sweeps, `digits` and the newer `digits-2`, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MT_SWEEP_HOME", raising=False)
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)  # commands are printed as they are called
    sweep = Sweep(tmp_path / "sweeps", "finalists.baselines=[]")
    begun(LocalHome(tmp_path / "sweeps"), digits("finalists.baselines=[]"))
    finish(sweep.ledger, sweep.ledger.ask_search())
    return sweep.home


def called(*arguments):
    return CliRunner().invoke(cli, list(map(str, arguments)))


def refused(*arguments):
    error = called(*arguments).exception
    assert error.exit_status == 2
    return str(error)


@pytest.mark.parametrize(
    ("command", "options", "way"),
    [
        ("run", [], "go on with it by `mt-sweep resume digits`, or write its file with `mt-sweep copy digits -o"),
        ("plan", [], "write its file with `mt-sweep copy digits -o digits.yaml`"),
        ("validate", [], "write its file with `mt-sweep copy digits -o digits.yaml`"),
        ("preview", [], "write its file with `mt-sweep copy digits -o digits.yaml`"),
        ("doctor", [], "write its file with `mt-sweep copy digits -o digits.yaml`"),
        ("submit", ["--address", "http://localhost:1"], "write its file with `mt-sweep copy digits -o digits.yaml`"),
        ("train", [], "write its best to one with `mt-sweep export digits -o best.yaml`"),
    ],
)
@pytest.mark.usefixtures("home")
def test_a_sweep_where_a_file_was_meant(command, options, way):
    message = refused(command, "digits", *options)
    assert message.startswith("digits: is a sweep, and a file is needed here; ")
    assert way in message


def test_a_sweep_of_another_home_where_a_file_was_meant(home, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert f"resume digits --home {home.path}`" in refused("run", "digits", "--home", home.path)
    assert "cannot be read: No such file" in refused("run", "digits")


@pytest.mark.parametrize("command", ["status", "trials", "best", "export", "report", "copy", "resume", "rm", "sync"])
@pytest.mark.usefixtures("home")
def test_a_file_where_a_sweep_was_meant(command):
    assert refused(command, DIGITS) == (
        f"{DIGITS}: is a file, and the name of a sweep is needed here; did you mean 'digits'? Known: digits, digits-2; "
        f"to start one with this file: `mt-sweep run {DIGITS}`"
    )


@pytest.mark.usefixtures("home")
def test_the_folder_of_a_sweep_where_its_name_was_meant():
    assert "did you mean 'digits'?" in refused("status", "sweeps/digits/")


@pytest.mark.usefixtures("home")
def test_a_file_where_a_sweep_was_meant_and_there_is_none(tmp_path):
    message = refused("status", "my.yaml", "--home", tmp_path / "empty")
    assert f"holds no sweeps; start one with `mt-sweep run my.yaml --home {tmp_path / 'empty'}`" in message


@pytest.mark.usefixtures("home")
def test_without_a_name_the_newest_sweep_is_read():
    assert json.loads(called("status", "--json").output)["name"] == "digits-2"
    assert json.loads(called("trials", "--json").output)["sweep"] == "digits-2"
    assert "name: digits-2" in called("copy").output
    assert "digits-2: no trial has completed" in refused("best")
    assert refused("compare", "digits").startswith("digits and digits-2 cannot be compared")
    assert "0: digits-2 has no such trial" in refused("show", "0")


@pytest.mark.usefixtures("home")
def test_show_takes_a_sweep_and_a_trial_or_a_trial_of_the_newest():
    assert called("show", "digits", "0").output.startswith("trial 0: complete")
    assert refused("show", "digits") == "digits: is a sweep; name one of its trials, too, by its number: show digits 0"
    assert "name a SWEEP and one TRIAL" in called("show", "digits", "0", "1").output


@pytest.mark.usefixtures("home")
def test_a_best_file_where_a_search_space_was_meant():
    assert called("export", "digits", "-o", "best.yaml").exit_code == 0
    assert "is a best-hyper-parameters file" in refused("run", "best.yaml")
    assert "`mt-sweep train best.yaml`" in refused("plan", "best.yaml")
