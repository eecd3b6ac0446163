"""One team for all tests: its servers take a while to start."""

import pytest

from tests.helpers.servers.postgres import Postgres
from tests.helpers.team import AT_ONCE, Team


@pytest.fixture(scope="package")
def team(tmp_path_factory):
    if Postgres.binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    with Team(tmp_path_factory.mktemp("team"), seconds=0.2, cores=AT_ONCE // 2) as made:
        yield made
