import json
import subprocess
import sys

import mlflow
import pytest

from mt_sweeps import records, yaml_file
from mt_sweeps.home import Home
from mt_sweeps.spec import Tracking
from mt_sweeps.tracking import BackgroundWriter, Client, SweepWindow, embedded_uri
from tests.mt_sweeps.support import digits, new_ledger, report, supervised_report
from trainers.files import BEST_MODEL


class Sweep:
    """A sweep whose trials are told by hand."""

    def __init__(self, folder):
        self.home = Home(folder)
        self.directory = self.home.new_sweep(None, "digits")
        self.directory.path.mkdir(parents=True)
        self.spec = digits("trials=3")
        self.directory.spec.write_text(yaml_file.dump(self.spec.model_dump(exclude_none=True)))
        self.directory.environment.write_text(json.dumps({"id": "abc", "started": 1_700_000_000.0}))
        self.ledger = new_ledger(self.directory.ledger, self.spec)

    def train(self, trial, *errors):
        folder = self.directory.attempt(trial.arm, trial.number, trial.attempt)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BEST_MODEL).write_bytes(b"weights")
        for i, error in enumerate(errors):
            told = supervised_report if trial.arm == "supervised" else report
            one = told(30 * (i + 1), error)
            records.append(folder, one)
            self.ledger.report(trial, one)
        return one

    def runs(self):
        client = mlflow.MlflowClient(embedded_uri(self.home))
        experiment = client.get_experiment_by_name("mt-sweeps")
        found = client.search_runs([experiment.experiment_id])
        return client, {run.info.run_name: run for run in found}, len(found)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Two complete, one pruned, one failed, one running trial; shown twice by two windows, as after a restart."""
    made = Sweep(tmp_path_factory.mktemp("home"))
    ledger = made.ledger
    first = ledger.ask()
    last = made.train(first, 0.5, 0.25)
    SweepWindow(made.home, made.directory, ledger).catch_up()
    ledger.complete(first, last)
    running = ledger.ask()
    assert running.arm == "supervised"
    published = ledger.ask()
    ledger.complete(published, made.train(published, 0.4))
    second = ledger.ask()
    ledger.prune(second, made.train(second, 0.7))
    third = ledger.ask()
    ledger.fail(third, "diverged", "Diverged: nan", None)
    window = SweepWindow(made.home, made.directory, ledger)
    window.catch_up()
    made.train(running, 0.6)
    window.catch_up()
    SweepWindow(made.home, made.directory, ledger).finish("FINISHED", "best: trial 0")
    return made


def test_there_is_one_parent_run_and_one_child_a_trial_however_often_it_is_shown(sweep):
    _, runs, count = sweep.runs()
    assert sorted(runs) == ["digits", "published-0000", "supervised-0000", "trial-0000", "trial-0001", "trial-0002"]
    assert count == 6
    parent = runs["digits"].info.run_id
    assert all(run.data.tags["mlflow.parentRunId"] == parent for name, run in runs.items() if name != "digits")


def test_states_are_those_of_the_ledger(sweep):
    _, runs, _ = sweep.runs()
    status = {name: run.info.status for name, run in runs.items()}
    assert status == {
        "digits": "FINISHED",
        "trial-0000": "FINISHED",
        "trial-0001": "KILLED",
        "trial-0002": "FAILED",
        "published-0000": "FINISHED",
        "supervised-0000": "RUNNING",
    }
    assert runs["trial-0002"].data.tags["mt.reason"] == "diverged"


def test_every_metric_is_there_once_at_its_step_and_with_its_records_time(sweep):
    client, runs, _ = sweep.runs()
    history = client.get_metric_history(runs["trial-0000"].info.run_id, "validation.teacher_error")
    assert [(point.step, point.value, point.timestamp) for point in history] == [
        (30, 0.5, 1_700_000_030_000),
        (60, 0.25, 1_700_000_060_000),
    ]


def test_parameters_are_flat_under_the_keys_of_the_space_and_the_parent_has_the_winners(sweep):
    _, runs, _ = sweep.runs()
    wanted = {key: str(value) for key, value in sweep.spec.points[0].items()}
    assert runs["trial-0000"].data.params == wanted
    assert runs["digits"].data.params == wanted
    assert runs["digits"].data.metrics["validation.teacher_error"] == 0.25
    assert "best: trial 0" in runs["digits"].data.tags["mlflow.note.content"]


def test_the_published_baseline_is_a_run_with_all_its_settings_as_parameters(sweep):
    _, runs, _ = sweep.runs()
    run = runs["published-0000"]
    assert run.data.tags["mt.arm"] == "published"
    wanted = {"ema.decay": "0.999", "consistency.loss": "mse", "augmentation.translate": "1", "batch_size": "100"}
    assert run.data.params.items() >= wanted.items()


def test_the_teacher_is_kept_once_as_an_artifact(sweep):
    client, runs, _ = sweep.runs()
    for name, arm, number in (("trial-0000", "search", 0), ("trial-0001", "search", 1)):
        stored = client.list_artifacts(runs[name].info.run_id, "teacher")
        assert [file.path for file in stored] == [f"teacher/{BEST_MODEL}"]
        assert not (sweep.directory.attempt(arm, number, 1) / BEST_MODEL).exists()


def test_the_artifacts_lie_in_the_home_directory(sweep):
    assert list(sweep.home.artifacts.glob(f"*/artifacts/teacher/{BEST_MODEL}"))


def test_a_window_that_fails_stops_nobody_and_tells_why():
    calls = []

    def broken():
        calls.append(1)
        raise ConnectionError("no server there\nand more")

    writer = BackgroundWriter(broken, every=0.01)
    writer.start()
    while len(calls) < 3:
        pass
    assert writer.stop(10)
    assert writer.trouble == "ConnectionError: no server there"


def test_a_writer_that_was_never_started_can_be_stopped():
    assert BackgroundWriter(lambda: None).stop(0.1)


DIES = """
import os, sys
from pathlib import Path
from alembic.runtime.migration import HeadMaintainer
from mt_sweeps.home import Home
from mt_sweeps.spec import Tracking
from mt_sweeps.tracking import Client
HeadMaintainer.update_to_step = lambda *_: os._exit(9)  # a change is made, and not yet written down
Client(Home(Path(sys.argv[1])), Tracking())
"""


def test_a_process_that_is_killed_as_it_makes_the_embedded_store_leaves_none_that_cannot_be_opened(tmp_path):
    assert subprocess.run([sys.executable, "-c", DIES, tmp_path], check=False).returncode == 9
    assert Client(Home(tmp_path), Tracking()).new_run({}, "a run", 1_700_000_000.0)
