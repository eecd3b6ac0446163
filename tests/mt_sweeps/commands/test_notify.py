"""Who is told of a sweep, when, and that nothing of it gets in the sweep's way."""

import json
import time

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.commands import notify
from mt_sweeps.commands.console import Board
from mt_sweeps.commands.notify import Notifier
from mt_sweeps.commands.resume import resume_sweep
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.execution.simulated_trainer import VARIABLE
from tests.helpers.sweeps import Sweep, begun, digits


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path, "finalists.baselines=[]", "finalists.top=0")


def received(folder, seconds=10):
    file, until = folder / "status.json", time.monotonic() + seconds
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return json.loads(file.read_text())


def writing(folder):
    """A command that keeps what it is told, whole or not at all."""
    return f"cat > {folder}/part && mv {folder}/part {folder}/status.json"


def test_the_end_is_told_with_the_status(sweep, tmp_path):
    with Notifier(writing(tmp_path), sweep.directory).at_the_end():
        trial = sweep.ledger.ask_search()
        sweep.ledger.complete(trial, sweep.train(trial, 0.2))
    content = received(tmp_path)
    assert (content["event"], content["format"], content["name"]) == ("ended", "mt-sweeps-status/1", "digits")
    assert content["best"]["error"] == 0.2


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SweepError("no trial completed")])
def test_an_end_that_is_none_is_told_too(sweep, tmp_path, error):
    with pytest.raises(type(error)), Notifier(writing(tmp_path), sweep.directory).at_the_end():
        raise error
    assert received(tmp_path)["state"] == "interrupted"


def test_what_is_refused_has_not_ended(sweep, tmp_path):
    with pytest.raises(InputError), Notifier(writing(tmp_path), sweep.directory).at_the_end():
        raise InputError("another process drives it")
    assert not (tmp_path / "status.json").exists()


def test_the_first_failed_trial_is_told_and_no_other(sweep, tmp_path):
    notifier = Notifier(
        f"cat >> {tmp_path}/all && {writing(tmp_path).replace('cat >', 'cp /dev/null')}", sweep.directory
    )
    board = Board(sweep.ledger, 1, lambda: None, notifier.trial_failed, is_live=False)
    for _ in range(3):
        board.ended(sweep.ledger.fail(sweep.ledger.ask_search(), "diverged", "nan", None))
    time.sleep(1)
    content = (tmp_path / "all").read_text()
    assert content.count("trial_failed") == 1
    assert json.loads(content)["arms"]["search"]["failed"] >= 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo no network >&2; exit 7", "--notify: the command ended with status 7: no network"),
        ("no-such-command", "--notify: the command ended with status 127: "),
        ("sleep 60", "--notify: the command did not end within 1 s, and was ended"),
    ],
)
def test_a_command_that_fails_or_hangs_is_told_and_changes_nothing(sweep, command, message, capsys, monkeypatch):
    monkeypatch.setattr(notify, "SECONDS", 1)
    with Notifier(command, sweep.directory).at_the_end():
        pass
    assert message in capsys.readouterr().out


def test_without_a_command_nobody_is_received(sweep, capsys):
    with Notifier(None, sweep.directory).at_the_end():
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.system
def test_a_sweep_that_is_resumed_to_its_end_is_told_as_finished(tmp_path, monkeypatch):
    from mt_sweeps.storage.local import LocalHome

    monkeypatch.setenv(VARIABLE, "{}")
    home = LocalHome(tmp_path / "sweeps")
    begun(home, digits("trials=2", "finalists.baselines=[]", "finalists.top=0"))
    resume_sweep(home, "digits", in_process=True, notify=writing(tmp_path))
    content = received(tmp_path)
    assert (content["state"], content["arms"]["search"]["complete"]) == ("finished", 2)


def test_a_cluster_runs_no_command_of_this_machine():
    result = CliRunner().invoke(cli, ["resume", "any", "--address", "http://host:8265", "--notify", "true"])
    assert result.exit_code == 2
    assert "--notify runs a command on this machine" in result.output
