"""What the disturbed sweeps are compared with."""

import pytest

from tests.chaos.support import Sweep


@pytest.fixture(scope="package")
def undisturbed(tmp_path_factory):
    """A sweep of so many trials that nothing disturbs; each is run once."""
    made = {}

    def of(trials):
        if trials not in made:
            made[trials] = Sweep(tmp_path_factory.mktemp("undisturbed"), trials, seconds=0.0)
            made[trials].finish()
        return made[trials]

    return of
