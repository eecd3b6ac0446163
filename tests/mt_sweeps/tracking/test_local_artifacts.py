import mlflow
import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.tracking.client import Client

pytestmark = pytest.mark.system  # MLflow's own stores


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder that is neither below the working directory nor below the home directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("MT_SWEEP_ALLOW_PATHS", raising=False)
    monkeypatch.delenv("MT_SWEEP_HOME", raising=False)
    return tmp_path / "elsewhere"


def test_a_database_has_nothing_written_outside_until_its_folder_is_allowed(tmp_path, elsewhere, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'work' / 'theirs.db'}"
    mlflow.MlflowClient(uri).create_experiment("theirs", elsewhere.as_uri())
    client = Client(LocalHome(tmp_path / "work" / "sweeps"), Tracking(uri=uri, experiment="theirs"))
    run = client.create_run({}, "a run", 1_700_000_000.0)
    with pytest.raises(InputError, match=rf"artifacts written to {elsewhere}/.* outside .* MT_SWEEP_ALLOW_PATHS="):
        client.log_text(run, "text", "file.txt")
    assert not [*elsewhere.rglob("*.txt")]
    monkeypatch.setenv("MT_SWEEP_ALLOW_PATHS", str(elsewhere))
    client.log_text(run, "text", "file.txt")
    assert [path.name for path in elsewhere.rglob("*.txt")] == ["file.txt"]


def test_the_store_of_a_home_that_the_user_named_needs_no_permission(elsewhere):
    elsewhere.mkdir()
    client = Client(LocalHome(elsewhere), Tracking())
    run = client.create_run({}, "a run", 1_700_000_000.0)
    client.log_text(run, "text", "file.txt")
    assert [path.name for path in elsewhere.rglob("*.txt")] == ["file.txt"]
