import subprocess
import sys

import mlflow
import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from pydantic import ValidationError

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.tracking import client
from mt_sweeps.tracking.client import Client, connection_problem
from mt_sweeps.tracking.embedded_store import embedded_uri
from tests.helpers.servers.common import free_port
from tests.helpers.servers.proxy import Proxy

pytestmark = pytest.mark.system  # MLflow's own store

DIES = """
import os, sys
from pathlib import Path
from alembic.runtime.migration import HeadMaintainer
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.tracking.client import Client
HeadMaintainer.update_to_step = lambda *_: os._exit(9)  # a table is changed, and its version not yet written
Client(LocalHome(Path(sys.argv[1])), Tracking())
"""


def test_a_process_that_is_killed_while_it_creates_the_embedded_store_leaves_none_that_cannot_be_opened(tmp_path):
    assert subprocess.run([sys.executable, "-c", DIES, tmp_path], check=False).returncode == 9
    assert Client(LocalHome(tmp_path), Tracking()).create_run({}, "a run", 1_700_000_000.0)


def test_a_file_of_a_new_run_is_stored_without_asking_for_the_run(tmp_path, monkeypatch):
    client = Client(LocalHome(tmp_path), Tracking())
    run = client.create_run({}, "a run", 1_700_000_000.0)
    with monkeypatch.context() as patch:
        patch.setattr(SqlAlchemyStore, "get_run", lambda *_: pytest.fail("MLflow is asked for the run"))
        client.log_text(run, "{}", "config.json")
    client.log_text(run, "later", "note.txt")
    store = mlflow.MlflowClient(embedded_uri(LocalHome(tmp_path)))
    assert {file.path for file in store.list_artifacts(run)} == {"config.json", "note.txt"}


@pytest.fixture
def proxy():
    server = Proxy(free_port())  # nobody is behind it
    yield server
    server.close()


def problem(folder, **settings):
    return connection_problem(LocalHome(folder), Tracking(**settings))


def test_a_server_that_does_not_answer_now_may_do_so_later(tmp_path, proxy, monkeypatch):
    for mode in ("error", "refuse"):
        proxy.mode = mode
        assert problem(tmp_path, uri=proxy.uri), mode
    monkeypatch.setattr(client, "CHECK_SECONDS", 1)
    proxy.mode = "stall"
    proxy.seconds = 60
    assert problem(tmp_path, uri=proxy.uri) == "TimeoutError: no answer within 1 seconds"


def test_credentials_that_are_refused_are_an_error_at_once_and_never_printed(tmp_path, proxy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "somebody")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    proxy.mode = "unauthorized"
    with pytest.raises(InputError, match=r"refuses the credentials.*MLFLOW_TRACKING_PASSWORD") as error:
        problem(tmp_path, uri=proxy.uri)
    assert "hunter2" not in str(error.value)


def test_an_address_that_is_no_store_is_an_error_at_once(tmp_path):
    with pytest.raises(InputError, match=r"tracking.uri: ftp://here is no MLflow store that can be used: "):
        problem(tmp_path, uri="ftp://here")


def test_a_store_that_answers_has_no_problem(home):
    assert problem(home.path) is None


def test_a_deleted_experiment_is_an_error_at_once(home):
    mlflow.MlflowClient(embedded_uri(home)).delete_experiment(Client(home, Tracking(experiment="gone")).experiment)
    with pytest.raises(InputError, match="'gone' was deleted in MLflow; restore it there, or name another"):
        problem(home.path, experiment="gone")


def test_two_sweeps_that_create_the_experiment_at_once_share_it(home, monkeypatch):
    experiment = Client(home, Tracking()).experiment
    find, first = mlflow.MlflowClient.get_experiment_by_name, []

    def not_there_yet(client, name):
        if not first:
            first.append(name)
            return None
        return find(client, name)

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", not_there_yet)
    assert Client(home, Tracking()).experiment == experiment
    assert first


@pytest.mark.parametrize(
    "uri",
    ["http://user:secret@host", "https://token@host/mlflow", "postgresql://user:secret@host/mlflow"],
)
def test_an_address_with_a_secret_in_it_is_refused(uri):
    with pytest.raises(ValidationError, match="holds credentials"):
        Tracking(uri=uri)


def test_a_database_user_is_no_secret():
    assert Tracking(uri="postgresql://user@host/mlflow").uri
