"""What the disturbed sweeps are compared with, and what they may not leave."""

import pytest

from tests.helpers import chaos
from tests.helpers.chaos import KILLS, PAUSES, Driver


@pytest.fixture(scope="package")
def undisturbed(tmp_path_factory):
    """The trials of a sweep that nothing disturbs, as many as any of the others has."""
    return chaos.undisturbed(tmp_path_factory.mktemp("undisturbed"), trials=max(12, 3 * KILLS + 6 * PAUSES))


@pytest.fixture(autouse=True)
def _no_driver_outlives_its_test():
    yield
    while Driver.started:
        driver = Driver.started.pop()
        if not driver.ended:
            driver.process.kill()
