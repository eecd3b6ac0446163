"""One sweep, killed again and again at random moments, and what it must still come to.

`MT_SWEEPS_KILLS` says how often (3 if it does not), `MT_SWEEPS_PAUSES` how often a process is stopped for half a minute
besides (never), `MT_SWEEPS_SEED` at which moments.
"""

import os
import random
import signal
import time
from collections import Counter

import pytest

from mt_sweeps.study.ledger import LOSSES
from tests.helpers.chaos import KILLS, PAUSES, Sweep, check

SEED = int(os.environ.get("MT_SWEEPS_SEED", "0"))
SHARES = {("driver", "SIGKILL"): 3, ("worker", "SIGKILL"): 3, ("raylet", "SIGKILL"): 1, ("gcs_server", "SIGKILL"): 1}
SHARES |= {("driver", "SIGTERM"): 1, ("driver", "SIGINT"): 1}
PAUSED = [("driver", "SIGSTOP"), ("worker", "SIGSTOP"), ("raylet", "SIGSTOP")]
AFTER = {"the first report": " step ", "the first trial's start": " starts", "the command": ""}  # what it prints then
EXPECTED = {"raylet": (1, "Ray's raylet has died"), "gcs_server": (1, "Ray's gcs_server has died")}


@pytest.mark.system
def test_a_sweep_that_is_killed_at_random_moments_comes_to_what_an_undisturbed_one_does(tmp_path, undisturbed):
    rng = random.Random(SEED)
    # Each of the kinds as often as its share says, in a random order.
    kinds = [kind for kind, share in SHARES.items() for _ in range(share)]
    kinds = [kinds[i % len(kinds)] for i in range(KILLS)] + [PAUSED[i % len(PAUSED)] for i in range(PAUSES)]
    rng.shuffle(kinds)
    sweep = Sweep(tmp_path, len(undisturbed), seconds=0.3)  # work enough that the last kill still finds some
    began, starts, done, slowest = time.monotonic(), 0, Counter(), 0.0
    driver, drivers = None, []
    while kinds:
        if driver is None or driver.ended:
            driver, starts = sweep.drive(), starts + 1
            assert starts < 10 + 3 * (KILLS + PAUSES), driver.printed()
            drivers.append(driver)
        what, how = kinds[-1]
        since = rng.choices(["the first report", "the first trial's start", "the command"], [6, 2, 2])[0]
        if not driver.until(AFTER[since]):
            if driver.wait()[0] == 0:
                break  # the sweep is finished
            continue  # of what was done to it before
        wait = rng.uniform(0.0, 3.0)
        time.sleep(wait)
        if what == "worker" and most_lost(sweep) >= LOSSES - 1:
            kinds.insert(0, kinds.pop())  # later: a third loss would fail the trial, as it should
            continue
        which = rng.random()
        no_trial = AFTER["the first trial's start"] not in driver.printed()
        if not (driver.pause(what, which) if how == "SIGSTOP" else driver.kill(what, signal.Signals[how], which)):
            continue  # it has not begun, or has ended
        kinds.pop()
        done[f"{how} of the {what}"] += 1
        print(f"{how} of the {what}, {wait:.1f} s after {since}", flush=True)
        if how == "SIGSTOP":
            time.sleep(5)  # for those who took it for dead
        if what == "worker" or (how == "SIGSTOP" and not driver.ended):
            continue  # the driver goes on
        if no_trial and what != "driver" and driver.until(AFTER["the first trial's start"]):
            continue  # it started Ray once more
        at = time.monotonic()
        status, out = driver.wait(120)
        slowest = max(slowest, time.monotonic() - at)
        if how == "SIGKILL" and what == "driver":
            assert status == -signal.SIGKILL
        elif status != 0:  # the kill may have come when all was done
            ray = (1, "nothing is lost") if no_trial else EXPECTED.get(what)
            expected = (1, "resume") if how == "SIGSTOP" else ray if what != "driver" else (130, "")
            assert (status, expected[1] in out) == (expected[0], True), out
        assert driver.left_behind(10, "ray::TrialWorker") == [], "no trial outlives its driver"
    if driver is not None and not driver.ended:
        status, out = driver.wait(240 + 3 * sweep.trials)
        assert status == 0, out
    assert not kinds, f"the sweep was finished before {len(kinds)} more disturbances: give it more trials"
    sweep.finish()  # what is left, or nothing but MLflow
    # Ray's own agents take a minute to notice.
    assert [title for driver in drivers for title in driver.left_behind(120)] == []
    again = check(sweep, undisturbed)
    print(
        f"\n{KILLS} kills and {PAUSES} pauses of one sweep of {sweep.trials} trials, seed {SEED}\n"
        + "\n".join(f"  {count:3} {kind}" for kind, count in sorted(done.items()))
        + f"\n  {starts:3} starts of a driver before the last\n"
        f"  {sum(len(sweep.attempts(number)) > 1 for number in range(sweep.trials)):3} trials of several attempts\n"
        f"  {again:3} evaluation intervals computed again\n"
        f"  {slowest:3.0f} s at most from a kill to the end of the driver\n"
        f"  {time.monotonic() - began:3.0f} s in all",
        flush=True,
    )


def most_lost(sweep):
    """The most workers that one unfinished trial has lost: one more may fail it."""
    if not (sweep.path / "ledger.db").exists():
        return 0
    open_ones = [trial for trial in sweep.study() if not trial.state.is_finished()]
    return max((trial.user_attrs.get("lost", {}).get("workers", 0) for trial in open_ones), default=0)
