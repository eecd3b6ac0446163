"""Sweeps that are handed to a cluster: by whom, who reads them, and what is refused."""

import json

import mlflow
import pytest

from tests.servers import Postgres
from tests.team.support import Team

pytestmark = pytest.mark.skipif(Postgres.binaries() is None, reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def team(tmp_path_factory):
    with Team(tmp_path_factory.mktemp("team")) as made:
        yield made


def test_a_sweep_goes_on_without_its_client_and_is_read_from_anywhere(team, monkeypatch):
    client = team.start(team.submission("alone", 6), team.cluster.secrets)
    for line in client.stdout:
        if "trial" in line:
            break
    client.kill()
    told = team.until("alone", "finished")
    assert told["arms"]["search"]["complete"] == 6
    assert "alone" in team.read("list")
    assert json.loads(team.read("best", "alone", "--json"))["trial"] == told["best"]["trial"]
    exported = team.read("export", "alone")
    assert "mt-sweeps-best" in exported
    for name, value in team.mlflow.credentials.items():
        monkeypatch.setenv(name, value)
    client = mlflow.MlflowClient(team.mlflow.uri)
    experiment = client.get_experiment_by_name("mt-sweeps")
    runs = client.search_runs([experiment.experiment_id], "tags.`mt.arm` = 'search'")
    assert len(runs) == 6
