"""`add` and `end`: points and ends by hand, of sweeps that a process drives and of those that none does."""

import re
import threading
import time
from pathlib import Path

import pytest

from mt_sweeps.commands import steer
from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.results import trials as tables
from mt_sweeps.spec.points import parse_point
from mt_sweeps.storage import records
from mt_sweeps.storage.file_store import StorageUnavailable
from mt_sweeps.storage.requests import Request, new_id
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.ledger_view import ledger_of
from mt_sweeps.study.requests import take_requests
from tests.helpers.sweeps import Sweep, finish, report

POINT = ("ema.decay=0.97", "consistency.loss=mse", "consistency.weight=12", "labeled_batch_fraction=0.5")


@pytest.fixture
def sweep(tmp_path):
    """An interrupted one with four trials, of which one is complete and one was running; two points are in its file."""
    sweep = Sweep(tmp_path, "trials=5", "finalists.baselines=[]", "points=[{ema.decay: 0.91}, {ema.decay: 0.92}]")
    finish(sweep.ledger, sweep.ledger.ask_search())
    sweep.ledger.report(sweep.ledger.ask_search(), report(30, 0.4))
    sweep.ledger.close()
    return sweep


def trials_of(sweep):
    return ledger_of(sweep.directory).trials("search")


def test_a_point_for_an_interrupted_sweep_waits_as_its_next_trial(sweep):
    text = steer.add(sweep.home, "digits", POINT)
    assert re.match(r"digits: trial 2 tries ema\.decay 0\.97.*; go on with: .*mt-sweep resume digits", text)
    added = trials_of(sweep)[2]
    assert (added.state, added.origin, added.values["consistency.weight"]) == ("waiting", "point", 12)
    assert sweep.directory.requests() == []
    shown = tables.trial_text(tables.find_trial(sweep.directory, "2"), sweep.spec.metric)
    assert "trial 2: waiting, a given point" in shown
    assert "0 attempts" in shown


@pytest.mark.parametrize(
    ("assignments", "problem"),
    [
        (["ema.decay"], "ema.decay: write key=value, the key as in search_space: ema.decay=0.99"),
        (["ema.decay=0.97", "ema.decay=0.98"], "ema.decay: is given twice"),
        (["ema.decoy=0.97"], "digits: ema.decoy is not in search_space; did you mean 'ema.decay'?"),
        (["ema.decay=2"], "digits: ema.decay: 2 is outside 0.8 to 0.999"),
        (["ema.decay=high"], "digits: ema.decay: 'high' is not a number"),
        (["recipe=none_such"], "none_such"),
    ],
)
def test_a_point_that_cannot_be_is_refused_and_nothing_is_left(sweep, assignments, problem):
    with pytest.raises(InputError, match=re.escape(problem)):
        steer.add(sweep.home, "digits", assignments)
    assert sweep.directory.requests() == []
    assert len(trials_of(sweep)) == 2


def test_a_point_is_added_once(sweep):
    first = [f"{key}={value}" for key, value in trials_of(sweep)[0].values.items()]
    with pytest.raises(InputError, match="digits: trial 0 has these values"):
        steer.add(sweep.home, "digits", first)
    steer.add(sweep.home, "digits", POINT)
    with pytest.raises(InputError, match="digits: trial 2 has these values"):
        steer.add(sweep.home, "digits", POINT)


def test_a_point_for_a_search_that_has_ended_is_refused(sweep):
    for decay in (0.93, 0.94, 0.95):
        steer.add(sweep.home, "digits", [f"ema.decay={decay}"])
    with pytest.raises(
        InputError,
        match=r"all 5 trials have started; to try the point, search with .*resume digits --trials .*copy digits -o",
    ):
        steer.add(sweep.home, "digits", POINT)


def test_a_point_does_not_take_the_place_of_a_point_of_the_file(tmp_path):
    sweep = Sweep(tmp_path, "trials=2", "finalists.baselines=[]", "points=[{ema.decay: 0.91}, {ema.decay: 0.92}]")
    with pytest.raises(InputError, match="the trials that are left are for the points of its file"):
        steer.add(sweep.home, "digits", POINT)
    with pytest.raises(InputError, match="its search has ended"):
        sweep.ledger.ask_search()
        finish(sweep.ledger, sweep.ledger.ask_search())
        steer.add(sweep.home, "digits", POINT)


def test_a_point_for_a_sweep_whose_patience_is_over_is_refused(tmp_path):
    sweep = Sweep(tmp_path, "trials=9", "finalists.baselines=[]", "budget.patience=1")
    for error in (0.1, 0.2):
        finish(sweep.ledger, sweep.ledger.ask_search(), error)
    with pytest.raises(InputError, match="its search has ended: the best has not improved"):
        steer.add(sweep.home, "digits", POINT)


def test_a_trial_that_was_running_when_the_driver_died_is_ended_by_hand(sweep):
    assert steer.end(sweep.home, "digits", "1") == "digits: trial 1 is ended by hand before its first evaluation"
    ended = trials_of(sweep)[1]
    assert (ended.state, ended.reason) == ("pruned", "ended_by_hand")
    row = next(row for row in tables.trial_rows(sweep.directory) if row.trial == 1)
    assert "ended_by_hand" in tables.table_text([row])
    shown = tables.trial_text(tables.find_trial(sweep.directory, "1"), sweep.spec.metric)
    assert "reason     ended_by_hand: ended by hand before its first evaluation" in shown
    assert steer.add(sweep.home, "digits", [f"{key}={value}" for key, value in ended.values.items()])


def test_what_a_worker_records_after_its_trial_was_ended_by_hand_is_not_read(sweep):
    trial = trials_of(sweep)[1]
    sweep.train(trial, 0.4)
    steer.end(sweep.home, "digits", "1")
    records.append(Path(sweep.directory.trials.address(trial.id, trial.attempt)), report(60, 0.3))
    assert trials_of(sweep)[1].step == 30
    assert [one.step for one in sweep.directory.trials.records(trial.id)] == [30]


def test_a_trial_whose_storage_is_away_is_ended_later(sweep, monkeypatch):
    def is_away(*_):
        raise StorageUnavailable("s3://bucket: no answer")

    with monkeypatch.context() as patch:
        patch.setattr("mt_sweeps.storage.trial_files.TrialFiles.records", is_away)
        with pytest.raises(
            Unfinished, match=r"storage is away .*; what was asked for waits, and is done first by `.*res"
        ):
            steer.end(sweep.home, "digits", "1")
    steer.add(sweep.home, "digits", POINT)
    assert trials_of(sweep)[1].is_ended_by_hand


@pytest.mark.parametrize(
    ("trial", "problem"),
    [("0", "trial 0 is complete; only a trial that runs or waits"), ("7", "7: digits has no such trial")],
)
def test_a_trial_that_has_ended_or_is_none_is_refused(sweep, trial, problem):
    with pytest.raises(InputError, match=problem):
        steer.end(sweep.home, "digits", trial)
    assert sweep.directory.requests() == []


def test_a_finalist_is_not_ended_by_hand(tmp_path):
    sweep = Sweep(tmp_path, "trials=1", "finalists.baselines=[]", "finalists.top=1", "finalists.seeds=2")
    finish(sweep.ledger, sweep.ledger.ask_search())
    sweep.ledger.plan_finalists([{"values": sweep.ledger.trials("search")[0].values, "of": ["search", 0]}])
    sweep.ledger.ask_finalist()
    with pytest.raises(InputError, match="one of those that the verdict compares"):
        steer.end(sweep.home, "digits", "finalists-0")


@pytest.fixture
def driven(sweep):
    """The same sweep with a driver that takes requests up, and runs trial 1."""
    is_over = threading.Event()

    def drive():
        with sweep.directory.exclusive("driven"):
            ledger = type(sweep.ledger)(sweep.directory.ledger, sweep.spec)
            ledger.take_over()
            running = ledger.ask_search()
            while not is_over.is_set():
                changes = take_requests(sweep.directory, ledger, {running.id}, lambda: False)
                for trial_id in changes.to_end:
                    assert trial_id == running.id
                    ledger.end_by_hand(running, [report(60, 0.3)])
                time.sleep(0.05)
            ledger.close()

    thread = threading.Thread(target=drive)
    thread.start()
    while not sweep.directory.is_driven or trials_of(sweep)[1].attempt != 2:
        time.sleep(0.05)
    yield sweep
    is_over.set()
    thread.join()


def test_a_living_driver_takes_a_point_up_and_ends_a_trial(driven):
    assert steer.add(driven.home, "digits", POINT).endswith("it comes next")
    assert trials_of(driven)[2].values["ema.decay"] == 0.97
    assert steer.end(driven.home, "digits", "1") == "digits: trial 1 is ended by hand at step 60"
    assert steer.end(driven.home, "digits", "2") == "digits: trial 2 is ended by hand before its first evaluation"
    assert driven.directory.requests() == []


def test_a_driver_that_is_busy_finds_the_requests_later(sweep, monkeypatch):
    monkeypatch.setattr(steer, "ANSWER_SECONDS", 0.1)
    with sweep.directory.exclusive("driven"):
        assert steer.add(sweep.home, "digits", POINT).startswith("digits: the point waits for the driver")
        assert steer.end(sweep.home, "digits", "1") == "digits: trial 1 ends at its next evaluation"
        with pytest.raises(InputError, match="a point that was added before has these values"):
            steer.add(sweep.home, "digits", POINT)
    steer.add(sweep.home, "digits", ["ema.decay=0.95"])  # of a sweep that nobody drives: it takes up all three
    assert [trial.state for trial in trials_of(sweep)] == ["complete", "pruned", "waiting", "waiting"]
    assert sweep.directory.requests() == []


def test_a_point_that_two_commands_ask_for_at_once_is_tried_once(sweep, monkeypatch):
    values = parse_point(POINT)

    def also_asked(left):
        """Another command looks at the same moment, and leaves its request first."""
        left.add_request(Request(new_id(), "add", values))

    looked = steer.new_id
    monkeypatch.setattr(steer, "new_id", lambda: (also_asked(sweep.directory), looked())[1])
    with pytest.raises(InputError, match="digits: the point was not taken up: trial 2 has these values"):
        steer.add(sweep.home, "digits", POINT)
    assert [trial.values["ema.decay"] for trial in trials_of(sweep)[2:]] == [0.97]
    assert sweep.directory.requests() == []


def test_a_driver_that_was_replaced_removes_no_request(sweep):
    replaced = Ledger(sweep.directory.ledger, sweep.spec)
    replaced.take_over()
    other = Ledger(sweep.directory.ledger, sweep.spec)
    other.take_over()
    other.ask_search()
    begun = other.ask_search()  # the driver that was replaced does not know it
    sweep.directory.add_request(Request(new_id(), "end", arm=begun.arm, number=begun.number))
    with pytest.raises(Unfinished, match="another process has taken the sweep over"):
        take_requests(sweep.directory, replaced, set(), lambda: False)
    assert len(sweep.directory.requests()) == 1
