import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mt_sweeps.results import time_left
from mt_sweeps.results.time_left import TimeLeft, expected_share
from tests.helpers.sweeps import digits, new_ledger, report


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(time_left, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    return now


def ledger_of(folder, *overrides):
    return new_ledger(folder / "ledger.db", digits(*overrides))


def timed(seconds):
    """A report of step 100 that took so long."""
    steps = report(100, 0.5)
    return replace(steps, metrics=steps.metrics | {"time.step_seconds": seconds})


def begun(ledger, left):
    trial = ledger.ask_search()
    left.update(trial)
    return trial


def prune_four(ledger, left):
    for _ in range(4):
        trial = begun(ledger, left)
        left.reported(trial, report(90, 0.5))
        ledger.report(trial, report(90, 0.5))
        left.update(ledger.prune(trial, report(90, 0.5)))


def test_what_is_to_come_takes_as_long_per_step_as_what_was(tmp_path):
    ledger = ledger_of(tmp_path, "trials=4", "pruner.name=none")
    left = TimeLeft(ledger, concurrent=2)
    trial = begun(ledger, left)
    assert left.seconds() is None
    left.reported(trial, report(100, 0.5))  # 100 steps a second, two trials at once
    assert left.seconds() == pytest.approx((200 + 5 * 300) / 100 / 2)


def test_the_settings_of_a_trial_are_checked_once_however_often_the_time_is_asked_for(tmp_path, monkeypatch):
    ledger, checked = ledger_of(tmp_path, "trials=8", "pruner.name=none"), []
    left = TimeLeft(ledger, concurrent=2)
    config = type(ledger.spec).config
    monkeypatch.setattr(type(ledger.spec), "config", lambda *args: checked.append(args) or config(*args))
    for number in range(1, 9):
        trial = begun(ledger, left)
        left.reported(trial, report(100, 0.5))
        left.seconds()
        assert len(checked) == number, "else thousands of trials take minutes of the driver"


def test_an_arm_that_was_measured_has_its_own_pace(tmp_path):
    ledger = ledger_of(tmp_path, "trials=2", "pruner.name=none", "finalists.top=0")
    left = TimeLeft(ledger, concurrent=1)
    trials = [begun(ledger, left) for _ in range(3)]
    (slow,) = (trial for trial in trials if trial.arm == "published")
    left.reported(slow, timed(10.0))
    assert left.seconds() == pytest.approx((4 * 300 - 100) / 10), "all take as long as the one that is known"
    (quick,) = (trial for trial in trials if trial.arm == "supervised")
    left.reported(quick, timed(1.0))
    rest = 2 * 300 if slow.arm != "search" else 0
    assert left.seconds() == pytest.approx(200 / 10 + 200 / 100 + rest * 11 / 200)


def test_what_a_trial_takes_beyond_its_training_counts_but_not_the_start_of_the_worker(tmp_path, clock):
    ledger = ledger_of(tmp_path, "trials=4", "pruner.name=none")
    left = TimeLeft(ledger, concurrent=1)
    for seconds, expected in ((20.0, 5 * 3.0), (5.0, 4 * (3.0 + 2.0))):  # 3 s of training each
        trial = begun(ledger, left)
        left.reported(trial, report(300, 0.5))
        clock[0] += seconds
        left.update(ledger.complete(trial, report(300, 0.5)))
        assert left.seconds() == pytest.approx(expected)


def test_trials_that_failed_say_nothing_of_how_far_others_go(tmp_path):
    ledger = ledger_of(tmp_path, "trials=4", "pruner.name=none")
    left = TimeLeft(ledger, concurrent=2)
    for _ in range(5):
        trial = begun(ledger, left)
        left.reported(trial, report(10, 0.5))
        left.update(ledger.fail(trial, "diverged", "Diverged", None))
    assert left.seconds() == pytest.approx(1 * 300 / 100 / 2)


@pytest.mark.parametrize(
    ("pruner", "done", "share"),
    [
        ("none", 0.0, 1.0),
        ("asha", 0.0, 0.3 + 0.7 * 2 / 3),  # one rung, at 90 of 300 steps
        ("asha", 0.2, 0.1 + 0.7 * 2 / 3),
        ("asha", 0.5, 0.5),
        ("median", 0.0, 0.3 + 0.7 * 3 / 4),
    ],
)
def test_a_pruner_is_expected_to_end_as_many_as_it_may(pruner, done, share):
    spec = digits(
        "trials=16", f"pruner.name={pruner}", "trainer.consistency.ramp_up_steps=30", "trainer.evaluate_every=30"
    )
    assert expected_share(spec, done) == pytest.approx(share)


def test_the_expectation_gives_way_to_what_was_seen(tmp_path):
    ledger = ledger_of(tmp_path, "trials=16", "finalists.baselines=[]", "finalists.top=0")
    left = TimeLeft(ledger, concurrent=1)
    prune_four(ledger, left)
    expected = 300 * expected_share(ledger.spec)
    assert left.seconds() == pytest.approx(12 * (4 * expected + 4 * 90) / 8 / 100)


def test_finalists_are_not_expected_to_be_pruned(tmp_path):
    ledger = ledger_of(tmp_path, "trials=4", "finalists.baselines=[]", "finalists.top=1")
    left = TimeLeft(ledger, concurrent=2)
    prune_four(ledger, left)
    assert left.seconds() == pytest.approx(ledger.total("finalists") * 300 / 100 / 2)


def test_half_of_the_seeds_after_the_first_look_are_expected(tmp_path):
    ledger = ledger_of(tmp_path, "trials=4", "finalists.top=1", "finalists.seeds=7", "finalists.baselines=[supervised]")
    left = TimeLeft(ledger, concurrent=2)
    for _ in range(5):  # and the baseline
        trial = begun(ledger, left)
        left.reported(trial, report(300, 0.5))
        left.update(ledger.complete(trial, report(300, 0.5)))
    assert left.seconds() == pytest.approx(2 * (3 + 4 / 2) * 300 / 100 / 2)


def test_finalists_take_as_long_as_what_they_train_again(tmp_path):
    words = ("trials=1", "finalists.top=1", "finalists.seeds=3", "finalists.baselines=[supervised]")
    ledger = ledger_of(tmp_path, *words)
    left = TimeLeft(ledger, concurrent=1)
    for seconds in (9.0, 1.0):  # of the search, and of the baseline
        trial = begun(ledger, left)
        left.reported(trial, timed(seconds))
        left.update(ledger.complete(trial, timed(seconds)))
    assert left.seconds() == pytest.approx(3 * 3 * (9.0 + 1.0))


def test_the_ledger_alone_says_how_long_it_takes_still(tmp_path):
    ledger = ledger_of(tmp_path, "trials=4", "pruner.name=none", "finalists.baselines=[]", "finalists.top=0")
    assert TimeLeft(ledger, concurrent=1).seconds() is None
    first, second = ledger.ask_search(), ledger.ask_search()
    ledger.complete(first, report(300, 0.5))  # 3 s of training
    spent = next(trial for trial in ledger.trials("search")).seconds
    extra = max(0.0, spent - 3.0)
    assert TimeLeft(ledger, concurrent=1).seconds() == pytest.approx(3 * (3.0 + extra))
    ledger.report(second, report(100, 0.5))
    assert TimeLeft(ledger, concurrent=1).seconds() == pytest.approx(2.0 + extra + 2 * (3.0 + extra))
    assert TimeLeft(ledger, concurrent=2).seconds() == pytest.approx((2.0 + extra + 2 * (3.0 + extra)) / 2)


def test_no_trial_begins_after_the_budget(tmp_path):
    words = ("trials=100", "pruner.name=none", "finalists.baselines=[]", "finalists.top=0", "budget.hours=0.01")
    ledger = ledger_of(tmp_path, *words)
    left = TimeLeft(ledger, concurrent=1)
    trial = begun(ledger, left)
    left.reported(trial, report(100, 0.5))
    assert left.seconds() == pytest.approx(36.0)
    ledger.record_active_seconds(40.0)
    assert left.seconds() == pytest.approx(2.0), "what has begun goes to its end"


def test_after_the_budget_only_the_longest_of_the_running_trials_counts_and_no_report_is_needed_to_notice(
    tmp_path, clock
):
    words = ("trials=100", "pruner.name=none", "finalists.baselines=[]", "finalists.top=0", "budget.hours=0.01")
    ledger = ledger_of(tmp_path, *words)
    left = TimeLeft(ledger, concurrent=2)
    for trial, step in zip([begun(ledger, left) for _ in range(3)], (100, 250, 50), strict=True):
        left.reported(trial, replace(report(step, 0.5), metrics=timed(step / 100).metrics))
        last = trial
    left.update(ledger.worker_lost(last, "its node died"))
    assert left.seconds() == pytest.approx(36.0)
    clock[0] += 30.0
    assert left.seconds() == pytest.approx(6.0)
    clock[0] += 7.0
    assert left.seconds() == pytest.approx(2.0), "not the mean of the two, nor the one that waits"
