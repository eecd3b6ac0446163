"""Checkpoints that are torn or gone cost steps, and change no result."""

import time

import pytest

from tests.helpers.chaos import INTERVAL, STEPS, Sweep, check
from trainers.files import CHECKPOINT, PREVIOUS_CHECKPOINT


@pytest.mark.system
def test_trials_whose_checkpoints_are_torn_or_gone_come_to_the_same_result(tmp_path, undisturbed):
    sweep = Sweep(tmp_path, trials=4, seconds=0.8)  # long enough to be seen half-way on a busy machine
    driver = sweep.drive()
    until = time.monotonic() + 120
    while not all(has_both(sweep, number) for number in (0, 1)):
        assert not driver.ended, driver.printed()
        assert time.monotonic() < until, driver.printed()
        time.sleep(0.02)
    driver.kill("driver")
    driver.wait()
    assert driver.left_behind(10, "ray::TrialWorker") == []

    torn, gone = (sweep.attempts(number)[-1] for number in (0, 1))
    content = (torn / CHECKPOINT).read_bytes() if (torn / CHECKPOINT).exists() else b"{}"
    (torn / CHECKPOINT).write_bytes(content[: len(content) // 2])
    for name in (CHECKPOINT, PREVIOUS_CHECKPOINT):
        (gone / name).unlink(missing_ok=True)

    sweep.finish()
    assert check(sweep, undisturbed, lost=STEPS // INTERVAL) >= 2, "the lost intervals were computed again"
    of_torn = sum(count for (number, _), count in sweep.computed().items() if number == 0)
    assert of_torn <= STEPS // INTERVAL + 2, "the last one and the one under way: the one before the torn one was used"


def has_both(sweep, number):
    attempts = sweep.attempts(number)
    return bool(attempts) and all((attempts[-1] / name).exists() for name in (CHECKPOINT, PREVIOUS_CHECKPOINT))
