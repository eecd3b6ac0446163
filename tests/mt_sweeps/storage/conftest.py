"""Every implementation of the abstract classes of storage. A new one is added to `HOMES` or to `FILE_STORES`."""

import pytest

from mt_sweeps.storage.optuna_private import study_id
from mt_sweeps.storage.rdb import open_storage
from tests.helpers.servers.postgres import Postgres
from tests.helpers.servers.store import ObjectStore

needs_postgres = pytest.mark.skipif(Postgres.binaries() is None, reason="needs PostgreSQL: apt-get install postgresql")

# Each names a fixture that returns an address, as `open_home` takes it. There are no sweeps yet.
HOMES = [
    pytest.param("home_folder", id="folder"),
    pytest.param("postgres_address", id="PostgreSQL", marks=[pytest.mark.system, needs_postgres]),
]
# Each names a fixture that returns a location, as `open_files` takes it. There are no files yet.
FILE_STORES = [
    pytest.param("files_folder", id="folder"),
    pytest.param("s3_location", id="S3", marks=pytest.mark.system),
]


@pytest.fixture(params=HOMES)
def address(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(params=FILE_STORES)
def location(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def home_folder(tmp_path):
    return str(tmp_path / "home")


@pytest.fixture
def files_folder(tmp_path):
    return str(tmp_path / "trials")


@pytest.fixture(scope="session")
def postgres():
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres_address(postgres, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    monkeypatch.chdir(tmp_path)
    yield postgres.address
    storage = open_storage(postgres.address)
    for study in storage.get_all_studies():
        storage.delete_study(study_id(study))


@pytest.fixture(scope="session")
def object_store(tmp_path_factory):
    with ObjectStore(tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture
def s3_location(object_store, tmp_path, monkeypatch):
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return f"{object_store.location}/{tmp_path.name}"
