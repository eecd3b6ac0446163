"""A sweep that the version before the packages were divided into folders began is resumed by this one.

tests/fixtures/interrupted-sweep.tar.xz is what commit 8cbd404 left of the quick start, with 4 trials of 60 steps and a
network of width 4, when its driver got a SIGTERM: two trials had ended, two were running.
"""

import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage import records
from mt_sweeps.storage.open import open_home
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.tracking.embedded_store import embedded_uri
from trainers.checkpoint import load_model

FIXTURE = Path(__file__).parents[1] / "fixtures" / "interrupted-sweep.tar.xz"
TAGS = {"mt.arm", "mt.trial", "mt.state", "mt.attempt", "mt.seed", "mt.rung"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("older")
    with tarfile.open(FIXTURE) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.0 to 3.11.3 have none
        archive.extractall(folder)
    return open_home(str(folder))


def command(home, *arguments):
    done = CliRunner().invoke(cli, [*arguments, "--home", home.address], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_its_status_its_records_and_its_models_are_read(home):
    status = json.loads(command(home, "status", "digits", "--json"))
    assert (status["state"], status["best"]["trial"]) == ("interrupted", 0)
    assert status["arms"]["search"] == {
        "total": 4, "waiting": 3, "running": 0, "complete": 1, "pruned": 0, "failed": 0
    }  # fmt: skip
    files = home.sweep("digits").trials
    assert [report.step for report in files.records(TrialId("search", 1))] == [10, 20]
    with files.model(TrialId("search", 0)) as file:
        assert load_model(file).classes == [str(digit) for digit in range(10)]


def test_it_is_resumed_to_its_end(home):
    sweep = home.sweep("digits")
    before = Ledger(sweep.ledger, sweep.load_spec()).trials("search")
    recorded = records.read(sweep.path / "trials/0001/attempt-1")
    command(home, "resume", "digits", "--in-process")
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    after = ledger.trials("search")
    assert all(trial.finished for trial in ledger.all_trials())
    assert after[0] == before[0]
    assert [(trial.attempt, trial.values) for trial in after[1:3]] == [(2, trial.values) for trial in before[1:3]]
    assert sweep.trials.records(TrialId("search", 1))[: len(recorded)] == recorded
    assert json.loads(command(home, "status", "digits", "--json"))["state"] == "finished"
    assert "data_fingerprint" in command(home, "export", "digits")


def test_its_runs_in_mlflow_have_the_tags_that_they_had(home):
    import mlflow

    client = mlflow.MlflowClient(embedded_uri(home))
    experiment = client.get_experiment_by_name("mt-sweeps")
    runs = {run.info.run_name: run.data.tags for run in client.search_runs([experiment.experiment_id])}
    assert runs["trial 1"].keys() >= TAGS
    assert runs["supervised 0"]["mt.state"] == "complete"
    finalist = next(tags for name, tags in runs.items() if name.endswith("seed 0") and name.startswith("trial"))
    assert finalist["mt.of"].startswith("search-000")
    assert runs["digits"].keys() >= {"mt.sweep", "mt.arm", "mt.state", "mt.best"}
