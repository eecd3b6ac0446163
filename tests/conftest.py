"""Every test runs on one core and with a cache folder of its own."""

import os

import pytest

# Before anything imports torch, here and in every subprocess: sums must not depend on the number of cores.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
