"""Which home is opened, and what commands look like for its user. `test_home_contract.py` has what homes do."""

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.storage.home import command_line
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.storage.open import open_home
from mt_sweeps.storage.postgres import PostgresHome


def test_a_local_home_is_as_typed_then_as_in_the_environment_then_a_folder_of_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MT_SWEEP_HOME", raising=False)
    assert open_home(None).path == tmp_path / "sweeps"
    monkeypatch.setenv("MT_SWEEP_HOME", str(tmp_path / "elsewhere"))
    assert open_home(None).path == tmp_path / "elsewhere"
    assert open_home(str(tmp_path / "given")).path == tmp_path / "given"


def test_the_home_is_a_database_if_its_address_is_one(monkeypatch, tmp_path):
    assert isinstance(open_home(str(tmp_path)), LocalHome)
    assert isinstance(open_home("postgresql://a@b/c"), PostgresHome)
    monkeypatch.setenv("MT_SWEEP_HOME", "postgresql://a@b/c")
    assert isinstance(open_home(None), PostgresHome)


def test_an_address_with_a_password_is_refused():
    with pytest.raises(InputError, match="holds a password"):
        open_home("postgresql://postgres:sesame@127.0.0.1/postgres")


def test_a_command_is_shown_as_its_user_types_it(tmp_path, monkeypatch):
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.setenv("MT_SWEEP_HOME", str(tmp_path))
    assert command_line(LocalHome(), "resume", "digits") == "mt-sweep resume digits"
    other = LocalHome(tmp_path / "other")
    assert command_line(other, "dashboard") == f"mt-sweep dashboard --home {tmp_path / 'other'}"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert command_line(LocalHome(), "resume", "digits") == "uv run mt-sweep resume digits"


def test_a_specification_of_another_version_is_refused(tmp_path):
    sweep = LocalHome(tmp_path).create_sweep(None, "old")
    (sweep.path / "spec.yaml").write_text("name: old\n")
    with pytest.raises(InputError, match="does not fit this version: use the version"):
        sweep.load_spec()
