"""A whole sweep in this process: the same trials, decisions and records as with Ray, and no Ray."""

import json
import sys
from bdb import BdbQuit

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.errors import Unfinished
from mt_sweeps.execution import attempt, in_process
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.resources import Share
from mt_sweeps.execution.simulated_trainer import VARIABLE, Script, SimulatedTrainer
from mt_sweeps.storage.open import open_home
from mt_sweeps.study.ledger import Ledger
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import Silent, Sweep


def run(sweep, ledger=None):
    coordinator = Coordinator(ledger or sweep.ledger, sweep.directory, Share(0.0, 1, 1), Silent())
    in_process.run(coordinator)
    return coordinator.conclude()


@pytest.fixture(autouse=True)
def _simulated(monkeypatch):
    monkeypatch.setenv(VARIABLE, Script(fails={"0001": "diverged"}).model_dump_json())


@pytest.mark.system
def test_every_trial_of_every_arm_is_run_to_its_end(tmp_path):
    sweep = Sweep(tmp_path, "trials=12", "finalists.top=1", "finalists.seeds=2", "finalists.baselines=[supervised]")
    assert run(sweep) is None
    trials = sweep.ledger.all_trials()
    assert all(trial.finished for trial in trials)
    states = [trial.state for trial in sweep.ledger.trials("search")]
    assert states[1] == "failed"
    assert {"complete", "pruned"} <= set(states)
    assert [trial.state for trial in sweep.ledger.trials("finalists")] == ["complete"] * 4
    for trial in trials:
        assert trial.state == "failed" or sweep.directory.trials.records(trial.id)[-1].step == trial.step


@pytest.mark.system
def test_a_sweep_that_is_stopped_is_resumed_to_the_same_result(tmp_path):
    whole = Sweep(tmp_path / "whole", "trials=4", "finalists.baselines=[]")
    run(whole)
    sweep = Sweep(tmp_path / "stopped", "trials=4", "finalists.baselines=[]")

    class Stops(Silent):
        def reported(self, trial, report):
            if trial.number == 3 and report.step == 60:
                sweep.directory.request_stop()

    coordinator = Coordinator(sweep.ledger, sweep.directory, Share(0.0, 1, 1), Stops())
    coordinator._polled = -1e9
    poll = coordinator.poll

    def at_once():
        coordinator._polled = -1e9
        poll()

    coordinator.poll = at_once
    in_process.run(coordinator)
    with pytest.raises(KeyboardInterrupt):
        coordinator.conclude()
    sweep.directory.clear_stop_request()
    ledger = Ledger(sweep.directory.ledger, sweep.spec)
    assert ledger.trials("search")[3].state == "running"
    ledger.take_over()
    run(sweep, ledger)
    results = [[(t.state, t.step, t.values) for t in ledger.trials("search")] for ledger in (whole.ledger, ledger)]
    assert results[0] == results[1]


def test_to_quit_the_debugger_interrupts_the_sweep_and_fails_no_trial(tmp_path, monkeypatch):
    def quits(*_):
        raise BdbQuit

    monkeypatch.setattr(SimulatedTrainer, "_act", quits)
    sweep = Sweep(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(sweep)
    assert [trial.state for trial in sweep.ledger.trials("search")] == ["running"]


def test_where_the_gpu_is_lost_the_sweep_ends_and_the_trial_waits_for_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(attempt, "_is_gpu_lost", lambda: True)
    sweep = Sweep(tmp_path)
    with pytest.raises(Unfinished, match=r"CUDA fails in this process since an error: .*in a new process, `resume`"):
        run(sweep)
    first, second = sweep.ledger.trials("search")
    assert first.state == "complete"  # the second one diverges
    assert (second.state, second.lost_workers) == ("waiting", 1)


@pytest.mark.system
def test_the_command_runs_a_whole_sweep_without_ray(tmp_path):
    before = {name for name in sys.modules if name.partition(".")[0] == "ray"}
    command = ["run", str(DIGITS), "--home", str(tmp_path), "--in-process", "--trials", "4"]
    done = CliRunner().invoke(cli, [*command, "--set", "finalists.seeds=2"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "trials run in this process, one after another, without Ray" in done.output
    assert "verdict" in done.output
    assert {name for name in sys.modules if name.partition(".")[0] == "ray"} == before
    status = CliRunner().invoke(cli, ["status", "digits", "--home", str(tmp_path), "--json"])
    assert json.loads(status.output)["state"] == "finished"
    again = CliRunner().invoke(cli, ["resume", "digits", "--home", str(tmp_path), "--in-process"])
    assert "is finished" in again.output
    assert (open_home(str(tmp_path)).sweep("digits").report).exists()
