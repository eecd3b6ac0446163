"""What belongs to a home is found where the home is now, whatever it is called, and nothing is written elsewhere."""

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import mlflow
import mlflow.store.db_migrations
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.tracking.client import Client
from mt_sweeps.tracking.embedded_store import embedded_uri

pytestmark = pytest.mark.system  # MLflow's own store

NAMES = ("my%20project", "what?", "a#b", "two words", 'it\'s "quoted"', "日本語", "{x}", "50%", "a&b;c")


def used(home):
    """Make a run with a file and a model, as sweeps and final trainings do; return the id of the run."""
    client = Client(home, Tracking())
    run = client.create_run({"mt.sweep": "abc"}, "a run", 1_700_000_000.0)
    client.log_text(run, "text", "note.txt")
    own = mlflow.MlflowClient(embedded_uri(home))
    logged = own.create_logged_model(client.experiment, "model", source_run_id=run)
    if not own.search_registered_models():
        own.create_registered_model("model")
    own.create_model_version("model", logged.artifact_location, run, model_id=logged.model_id)
    return run


def addresses(home):
    """Every text in the store that has an address of a file."""
    with closing(sqlite3.connect(home.mlflow_db)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        values = [value for table in tables for row in store.execute(f'SELECT * FROM "{table}"') for value in row]
    return {value for value in values if isinstance(value, str) and value.startswith("file:")}


def test_no_address_of_a_home_that_was_moved_names_its_old_place(home, tmp_path):
    old = LocalHome(shutil.move(home.path, tmp_path.with_name(f"{tmp_path.name}-old")))
    used(old)
    new = LocalHome(shutil.move(old.path, tmp_path / "new %20 place"))
    before = len(addresses(new))
    run = Client(new, Tracking()).get_or_create_run({"mt.sweep": "abc"}, "a run", 0)[0]
    assert mlflow.MlflowClient(embedded_uri(new)).get_run(run).info.artifact_uri.startswith(new.artifacts.as_uri())
    assert len(addresses(new)) == before
    assert all(address.startswith(new.artifacts.as_uri()) for address in addresses(new))
    assert not old.path.exists()


def test_a_copy_of_a_home_has_its_own_addresses_and_the_original_keeps_its_own(home, tmp_path):
    used(home)
    before = addresses(home)
    copy = LocalHome(shutil.copytree(home.path, tmp_path.with_name(f"{tmp_path.name}-copy")))
    client = Client(copy, Tracking())
    (run,) = client.runs({"mt.sweep": "abc"})
    client.remove(run.id)
    assert all(address.startswith(copy.artifacts.as_uri()) for address in addresses(copy))
    assert addresses(home) == before
    assert (home.artifacts / run.id / "artifacts" / "note.txt").exists()


def test_a_home_that_is_opened_by_a_link_keeps_its_addresses(home, tmp_path):
    used(home)
    before = addresses(home)
    link = tmp_path.with_name(f"{tmp_path.name}-link")
    link.symlink_to(home.path)
    Client(LocalHome(link), Tracking())
    assert addresses(home) == before


def test_an_experiment_of_somebody_else_keeps_its_addresses(home, tmp_path):
    own = mlflow.MlflowClient(embedded_uri(home))
    theirs = (tmp_path / "elsewhere" / "artifacts").as_uri()
    run = own.create_run(own.create_experiment("theirs", theirs)).info
    Client(home, Tracking())
    assert own.get_run(run.run_id).info.artifact_uri == run.artifact_uri


def test_a_home_can_be_called_anything(empty_mlflow, tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    homes = tmp_path / "homes"
    for name in NAMES:
        (homes / name).mkdir(parents=True)
        shutil.copy(empty_mlflow, homes / name / "mlflow.db")
        run = used(LocalHome(homes / name))
        assert (homes / name / "artifacts" / run / "artifacts" / "note.txt").read_text() == "text", name
    assert {path.name for path in homes.iterdir()} == {*NAMES}
    assert all({path.name for path in homes.glob(f"{name}/*")} >= {"mlflow.db", "artifacts"} for name in ("a#b", "50%"))


def test_a_damaged_store_is_named_at_once(home):
    for content in (b"", b"hello", home.mlflow_db.read_bytes()[:8000]):
        home.mlflow_db.write_bytes(content)
        started = time.monotonic()
        with pytest.raises(InputError, match=r"mlflow.db: is no MLflow store that can be used .*move it away"):
            Client(home, Tracking())
        assert time.monotonic() - started < 5


def test_a_store_of_a_newer_mlflow_is_left_as_it_is(home):
    with closing(sqlite3.connect(home.mlflow_db)) as store, store:
        store.execute("UPDATE alembic_version SET version_num = 'of-the-future'")
    before = home.mlflow_db.read_bytes()
    with pytest.raises(InputError, match=r"schema of-the-future is not one that MLflow .* knows; use the version"):
        Client(home, Tracking())
    assert home.mlflow_db.read_bytes() == before


def test_a_store_of_an_older_mlflow_is_upgraded_after_a_copy_was_kept(home, capsys):
    migrations = str(Path(mlflow.store.db_migrations.__file__).parent)
    newest = ScriptDirectory(migrations).get_revision("head")
    used(home)
    config = Config()
    config.set_main_option("script_location", migrations)
    config.set_main_option("sqlalchemy.url", embedded_uri(home))
    command.downgrade(config, "-1")
    client = Client(home, Tracking())
    assert len(list(client.runs({"mt.sweep": "abc"}))) == 1
    kept = home.path / f"mlflow.db.{newest.down_revision}"
    assert f"as it was: {kept}" in capsys.readouterr().out
    for file, revision in ((kept, newest.down_revision), (home.mlflow_db, newest.revision)):
        with closing(sqlite3.connect(file)) as store:
            assert store.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)


def test_a_home_that_is_gone_is_not_made_again(tmp_path):
    with pytest.raises(InputError, match="the home is gone"):
        Client(LocalHome(tmp_path / "gone"), Tracking())
    assert not (tmp_path / "gone").exists()
