"""What the disturbed sweeps are compared with, and what they may not leave."""

import pytest

from tests.chaos.support import KILLS, Driver, Sweep


@pytest.fixture(scope="package")
def undisturbed(tmp_path_factory):
    """A sweep that nothing disturbs, of as many trials as any of the others."""
    made = Sweep(tmp_path_factory.mktemp("undisturbed"), trials=max(12, 2 * KILLS), seconds=0.0)
    made.finish()
    return made


@pytest.fixture(autouse=True)
def _no_driver_outlives_its_test():
    yield
    while Driver.started:
        driver = Driver.started.pop()
        if not driver.ended:
            driver.process.kill()
