"""Every test runs on one core, with a cache folder of its own. What is in tests/system is marked `system`."""

import importlib
import os
import tempfile
import time

import pytest
from xdist.scheduler import LoadFileScheduling

UNIT_SECONDS = 2.0  # for a test without the mark, where CI is set: the unit suite is to answer in a minute
LATE_IMPORTS = (
    "torch._dynamo",
    "scipy.stats",
    "mlflow",
    "ray.tune",
    "optuna.storages._rdb.storage",
    "scipy.sparse.csgraph",
    "sklearn.datasets",
    "sklearn.model_selection",
    "timm",
    "torchvision.transforms.v2",
)

# Before anything imports torch, here and in every subprocess: sums must not depend on the number of cores.
os.environ["OMP_NUM_THREADS"] = "1"
# Each of the many processes would compile torch, Ray and MLflow anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items):
    """Run the unit tests first, and of the system tests first those of a team's servers: they take longest."""
    for item in items:
        if "system" in item.path.parts:
            item.add_marker(pytest.mark.system)
    items.sort(key=lambda item: (item.get_closest_marker("system") is not None, "team" not in item.path.parts))


class _ByFile(LoadFileScheduling):
    """The tests of a file run in one process, and all of a team in one, since they share its servers."""

    def _split_scope(self, nodeid):
        team = "tests/system/team"
        return team if nodeid.startswith(f"{team}/") else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    """Distribute the tests over the processes."""
    return _ByFile(config, log)


class SlowUnitTest(Exception):
    """A test without the mark `system` took too long. `.ci/run` tries such a test again: the machine may be busy."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Fail a unit test that takes too long, where CI is set.

    The processor time of the test and of the processes it waited for counts, so that a busy machine fails no test;
    waiting counts a third.
    """
    started, before = time.monotonic(), os.times()
    result = yield
    seconds = max(sum(os.times()[:4]) - sum(before[:4]), (time.monotonic() - started) / 3)
    if os.environ.get("CI") and item.get_closest_marker("system") is None and seconds > UNIT_SECONDS:
        raise SlowUnitTest(
            f"took {seconds:.1f} s, and a unit test may take {UNIT_SECONDS:g} s: make it faster, or mark it with "
            "@pytest.mark.system"
        )
    return result


@pytest.fixture(scope="session", autouse=True)
def _late_imports():
    """Load what the code loads late, where time is limited: it is not the first test that takes these seconds."""
    for name in LATE_IMPORTS if os.environ.get("CI") else ():
        importlib.import_module(name)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_session(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MT_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        # What the tests' own files name, which is not below the working directory.
        allowed = [
            tempfile.gettempdir(),
            str(tmp_path_factory.getbasetemp()),
            os.environ.get("MT_SWEEPS_TEST_DATA", ""),
        ]
        patch.setenv("MT_SWEEP_ALLOW_PATHS", os.pathsep.join(allowed))
        yield
