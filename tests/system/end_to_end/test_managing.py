"""What is done to a sweep from outside: planned, stopped, prolonged, removed. Its trials are scripted."""

import shutil
import subprocess
import time

import mlflow
import pytest

from mt_sweeps.execution.simulated_trainer import VARIABLE, Script
from tests.helpers.command_line import ALONE, DIGITS, IN_PROCESS, MT_SWEEP, as_json, gone, mt_sweep, until_printed
from tests.helpers.servers.common import free_port

METRIC = "validation.student_error"
BARE = ("--set", "finalists.baselines=[]", "--set", "pruner.name=none")


@pytest.fixture(autouse=True)
def _scripted(monkeypatch):
    monkeypatch.setenv(VARIABLE, Script().model_dump_json())


def test_a_plan_tells_trials_arms_rungs_time_and_disk_and_starts_nothing(tmp_path):
    out = mt_sweep("plan", DIGITS, "--trials", 4, "--set", "trainer.steps=200", folder=tmp_path).stdout
    assert "4 search, 1 supervised, 1 published, at most 24 finalists" in out
    assert "ranked and ended at step 60" in out
    assert "ms per step" in out
    assert not (tmp_path / "sweeps").exists()


def test_a_sweep_is_stopped_from_another_terminal_prolonged_and_removed(tmp_path, monkeypatch):
    mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 1, *ALONE, *BARE, folder=tmp_path)
    assert "no process drives" in mt_sweep("stop", "digits", folder=tmp_path, status=2).stderr

    monkeypatch.setenv(VARIABLE, Script(seconds=3.0).model_dump_json())
    command = [MT_SWEEP, "run", DIGITS, "--name", "long", "--trials", "4", *ALONE, *BARE]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as driver:
        until_printed(driver, " step ")
        assert "another process is driving" in mt_sweep("rm", "long", "--yes", folder=tmp_path, status=2).stderr
        stopped = mt_sweep("stop", "long", folder=tmp_path).stdout
        assert "long is stopped; go on with: " in stopped
        assert "mt-sweep resume long" in stopped
        assert "mt-sweep resume long" in driver.stdout.read()
        assert driver.wait(timeout=30) == 130
    assert gone("sweeps/long"), "no worker outlives it"
    assert as_json("status", "long", folder=tmp_path)["state"] == "interrupted"

    monkeypatch.setenv(VARIABLE, Script().model_dump_json())
    mt_sweep("resume", "long", IN_PROCESS, "--trials", "+2", folder=tmp_path)
    search = as_json("status", "long", folder=tmp_path)["arms"]["search"]
    assert (search["total"], search["complete"]) == (6, 6)
    mt_sweep("resume", "long", IN_PROCESS, "--trials", "+1", folder=tmp_path)
    assert as_json("status", "long", folder=tmp_path)["arms"]["search"]["complete"] == 7, "also of a finished one"

    no = subprocess.run([MT_SWEEP, "rm", "long"], cwd=tmp_path, input="n\n", text=True, capture_output=True)
    assert (no.returncode, no.stdout.endswith("nothing removed\n")) == (1, True)
    assert (tmp_path / "sweeps" / "long").exists()
    artifacts = len(list((tmp_path / "sweeps" / "artifacts").iterdir()))
    assert "8 MLflow runs" in mt_sweep("rm", "long", "--yes", folder=tmp_path).stdout
    assert not (tmp_path / "sweeps" / "long").exists()
    assert len(list((tmp_path / "sweeps" / "artifacts").iterdir())) < artifacts
    assert [row["name"] for row in as_json("list", folder=tmp_path)] == ["digits"]


@pytest.mark.parametrize("engine", [(), (IN_PROCESS,)])
def test_a_running_sweep_is_given_a_point_and_has_a_trial_ended_and_so_is_an_interrupted_one(
    engine, tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, Script(seconds=3.0).model_dump_json())
    command = [MT_SWEEP, "run", DIGITS, *engine, "--trials", "12", *ALONE, *BARE, "--set", "points=[]"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as driver:
        until_printed(driver, " step ")
        added = mt_sweep("add", "digits", "ema.decay=0.97", folder=tmp_path).stdout
        assert "tries ema.decay 0.97" in added.replace("  ", " ")
        assert "trial 0 is ended by hand at step" in mt_sweep("end", "digits", "0", folder=tmp_path).stdout
        mt_sweep("stop", "digits", folder=tmp_path)
        assert driver.wait(timeout=60) == 130
    mt_sweep("end", "digits", "0", folder=tmp_path, status=2)
    trials = {row["trial"]: row for row in as_json("trials", "digits", folder=tmp_path)["trials"]}
    point = next(row for row in trials.values() if row["values"]["ema.decay"] == 0.97)
    assert point["origin"] == "point"
    mt_sweep("end", "digits", point["trial"], folder=tmp_path)
    assert "go on with: " in mt_sweep("add", "digits", "ema.decay=0.98", folder=tmp_path).stdout

    monkeypatch.setenv(VARIABLE, Script().model_dump_json())
    out = mt_sweep("resume", "digits", IN_PROCESS, folder=tmp_path).stdout
    assert "2 trials ended by hand: trial 0" in out
    search = as_json("status", "digits", folder=tmp_path)["arms"]["search"]
    assert (search["total"], search["complete"], search["pruned"]) == (12, 10, 2)
    assert "Ended by hand" in (tmp_path / "sweeps" / "digits" / "report.html").read_text()


def test_a_search_that_is_over_before_its_trials_still_has_its_finalists(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, Script(seconds=0.05).model_dump_json())
    few = ("--set", "finalists.top=1", "--set", "finalists.seeds=2", "--set", "budget.patience=3")
    out = mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 300, *few, *BARE, folder=tmp_path).stdout
    assert "has not improved beyond its noise for 3 completed trials: no more trials were started" in out
    status = as_json("status", folder=tmp_path)
    assert status["state"] == "finished"
    assert status["arms"]["finalists"]["complete"] == 2
    assert status["arms"]["search"]["waiting"] > 0


def test_a_specification_that_was_changed_does_not_go_on(tmp_path):
    mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 1, *ALONE, *BARE, folder=tmp_path)
    spec = tmp_path / "sweeps" / "digits" / "spec.yaml"
    spec.write_text(spec.read_text().replace("steps: 300", "steps: 400"))
    told = mt_sweep("resume", "digits", folder=tmp_path, status=2).stderr
    assert "trainer.steps: the sweep was started with 300, now it is 400" in told


def test_a_trial_that_hangs_does_not_keep_the_sweep_from_being_stopped(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, Script(hangs=["0001"]).model_dump_json())
    command = [MT_SWEEP, "run", DIGITS, "--trials", "2", *ALONE, *BARE]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as driver:
        until_printed(driver, "trial 0 complete")
        time.sleep(1)
        mt_sweep("stop", "digits", folder=tmp_path)
        assert driver.wait(timeout=30) == 130
    monkeypatch.setenv(VARIABLE, Script().model_dump_json())
    mt_sweep("resume", "digits", IN_PROCESS, folder=tmp_path)
    assert as_json("status", folder=tmp_path)["arms"]["search"]["complete"] == 2


def runs(folder):
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'sweeps' / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("mt-sweeps").experiment_id])
    keys = ("mt.arm", "mt.trial", "mt.state", "mt.seed", "mlflow.note.content")
    return sorted(
        (
            [run.info.run_name, run.info.status, *(run.data.tags.get(key) for key in keys)],
            run.data.params,
            [(p.step, p.value, p.timestamp) for p in client.get_metric_history(run.info.run_id, METRIC)],
        )
        for run in found
    )


def test_mlflow_is_made_again_from_what_is_on_disk(tmp_path):
    mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 3, *ALONE, folder=tmp_path)
    before = runs(tmp_path)
    assert "digits is complete in MLflow: 6 runs" in mt_sweep("sync", "digits", folder=tmp_path).stdout
    assert runs(tmp_path) == before, "nothing was missing, nothing is there twice"
    (tmp_path / "sweeps" / "mlflow.db").unlink()
    shutil.rmtree(tmp_path / "sweeps" / "artifacts")
    mt_sweep("sync", "digits", folder=tmp_path)
    assert runs(tmp_path) == before
    assert "did you mean 'digits'" in mt_sweep("sync", "digit", folder=tmp_path, status=2).stderr


def test_an_mlflow_that_is_away_for_all_of_a_sweep_is_completed_later(tmp_path):
    port = free_port()
    nowhere = f"tracking.uri=http://127.0.0.1:{port}"
    out = mt_sweep("run", DIGITS, IN_PROCESS, "--trials", 3, *ALONE, "--set", nowhere, folder=tmp_path).stdout
    assert out.count(f"MLflow at http://127.0.0.1:{port} does not answer") == 1
    assert "it is completed when it does" in out
    assert "MLflow is not up to date" in out
    assert "mt-sweep sync digits" in out
    assert as_json("status", folder=tmp_path)["state"] == "finished"
    assert "MLflow is not complete (" in mt_sweep("sync", "digits", folder=tmp_path, status=1).stderr
    spec = tmp_path / "sweeps" / "digits" / "spec.yaml"
    spec.write_text(spec.read_text().replace(f"  uri: http://127.0.0.1:{port}\n", ""))
    assert "6 runs" in mt_sweep("sync", "digits", folder=tmp_path).stdout
    assert len(runs(tmp_path)) == 6
