"""Every test runs on one core and with a cache folder of its own."""

import os

import pytest

# Before anything imports torch, here and in every subprocess: sums must not depend on the number of cores.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items):
    """The tests of a file run in one process, those of a team's servers in one, too, and first: they take longest."""
    for item in items:
        team = item.path.parent.name == "team"
        item.add_marker(pytest.mark.xdist_group("team" if team else str(item.path)))
    items.sort(key=lambda item: item.path.parent.name != "team")


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
