"""One driver a sweep, also where two start at the same moment."""

import signal

import pytest

from tests.helpers.chaos import Sweep, check


@pytest.mark.system
def test_of_two_drivers_that_start_at_once_one_drives_and_the_other_is_told(tmp_path, undisturbed):
    sweep = Sweep(tmp_path, trials=4, seconds=0.4)
    first = sweep.drive()
    assert first.until(" step "), first.printed()
    first.kill("driver", signal.SIGKILL)
    first.wait()

    ended = [driver.wait() for driver in (sweep.drive(), sweep.drive())]
    assert sorted(status for status, _ in ended) == [0, 2], ended
    (refused,) = (out for status, out in ended if status == 2)
    assert "another process is driving this sweep" in refused
    check(sweep, undisturbed)
