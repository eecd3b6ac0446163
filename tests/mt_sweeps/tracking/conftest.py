"""MLflow's embedded store takes seconds to create, so it is created once and copied."""

import shutil

import mlflow
import pytest

from mt_sweeps.storage.local import LocalHome
from tests.helpers.sweeps import Sweep


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory):
    """The database of an embedded MLflow without runs."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments(max_results=1)
    return file


@pytest.fixture
def home(tmp_path, empty_mlflow):
    """A home with an embedded MLflow without runs."""
    shutil.copy(empty_mlflow, tmp_path / "mlflow.db")
    return LocalHome(tmp_path)


@pytest.fixture
def new_sweep(home, request):
    """A sweep without trials, in a home whose embedded MLflow has no runs; a parameter overrides its settings."""
    return Sweep(home.path, *getattr(request, "param", ()))
