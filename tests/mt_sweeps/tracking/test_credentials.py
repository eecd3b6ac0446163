"""Where the credentials of the environment go."""

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.tracking.credentials import check_credentials

PASSWORD = {"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "SECRET"}


@pytest.fixture(autouse=True)
def _no_credentials(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_TOKEN",
        "PGPASSWORD",
        "PGPASSFILE",
        "MT_SWEEP_HOME",
        *PASSWORD,
    ):
        monkeypatch.delenv(name, raising=False)


def check(monkeypatch, uri, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_credentials(Tracking(uri=uri))


@pytest.mark.parametrize(
    "uri", ["https://evil.example.org", "http://mlflow.example.org", "https://mlflow.example.org:81"]
)
@pytest.mark.parametrize("named", ["https://mlflow.example.org", "", "sqlite:///mlflow.db"])
def test_a_password_goes_to_no_server_that_the_environment_does_not_name(monkeypatch, uri, named):
    with pytest.raises(InputError, match="would get MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") as error:
        check(monkeypatch, uri, MLFLOW_TRACKING_URI=named, **PASSWORD)
    assert f"set MLFLOW_TRACKING_URI={uri}" in str(error.value)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize("uri", ["https://mlflow.example.org", "https://MLFLOW.example.org:443/path"])
def test_a_password_goes_to_the_server_that_the_environment_names(monkeypatch, uri):
    check(monkeypatch, uri, MLFLOW_TRACKING_URI="https://mlflow.example.org", **PASSWORD)


@pytest.mark.parametrize("uri", [None, "sqlite:///mlflow.db", "databricks"])
def test_what_is_no_server_gets_no_password(monkeypatch, uri):
    check(monkeypatch, uri, **PASSWORD)


def test_without_credentials_any_server_may_be_named(monkeypatch):
    check(monkeypatch, "https://anywhere.example.org")


def test_a_token_and_the_file_that_mlflow_reads_are_credentials(monkeypatch, tmp_path):
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow/credentials").write_text("[mlflow]")
    with pytest.raises(InputError, match=r"would get MLFLOW_TRACKING_TOKEN and ~/\.mlflow/credentials"):
        check(monkeypatch, "https://evil.example.org", MLFLOW_TRACKING_TOKEN="SECRET")


def test_the_password_of_a_database_goes_to_the_database_that_the_environment_names(monkeypatch):
    uri = "postgresql+psycopg://me@db.example.org/mlflow"
    with pytest.raises(InputError, match="would get PGPASSWORD"):
        check(monkeypatch, uri, PGPASSWORD="SECRET")
    check(monkeypatch, uri, MT_SWEEP_HOME="postgresql://me@db.example.org:5432/sweeps")
