"""A sweep whose hours are clearly too few says it once, when its trials have shown how fast they are."""

import time
from types import SimpleNamespace

import pytest

from mt_sweeps.commands.console import Board
from mt_sweeps.results import time_left
from mt_sweeps.results.short_budget import ShortBudget
from mt_sweeps.results.time_left import TimeLeft
from tests.helpers.sweeps import Sweep, report

SETTINGS = ("trials=4", "pruner.name=none", "points=[]", "finalists.baselines=[supervised]")


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [1000.0]
    monkeypatch.setattr(time_left, "time", SimpleNamespace(monotonic=lambda: now[0], time=time.time))
    return now


def begun(folder, hours, *settings):
    """A sweep of five trainings of 3 s, one after the other, of which the first is at its first report."""
    sweep = Sweep(folder, *SETTINGS, f"budget.hours={hours}", *settings)
    left = TimeLeft(sweep.ledger, concurrent=1)
    trial = sweep.ledger.ask_search()
    left.update(trial)
    left.reported(trial, report(100, 0.5))  # 100 steps per second
    return sweep, left, trial


def test_the_warning_comes_once_when_half_a_training_was_reported(tmp_path, clock):
    sweep, left, trial = begun(tmp_path, 8 / 3600, "finalists.top=0")
    budget = ShortBudget(sweep.directory, sweep.ledger, left)
    assert budget.warning() is None, "the pace of the first steps is no forecast"
    clock[0] += 2.0
    left.reported(trial, report(200, 0.5))
    command = sweep.directory.command("resume", "digits", "--hours", "+0.002")  # 13 s more, and 6 s are left
    assert budget.warning() == (
        "0.00222222 h cut the search and the baselines short: at the speed so far, about 2 of 5 trainings fit; for all "
        f"of them, give it more hours when it has ended: `{command}`"
    )
    assert budget.warning() is None


def test_the_hours_of_the_finalists_are_kept_back(tmp_path):
    settings = ("finalists.top=1", "finalists.seeds=3")  # 3 seeds of two contenders: 18 s after 15 s
    sweep, left, trial = begun(tmp_path, 24 / 3600, *settings)
    left.reported(trial, report(200, 0.5))
    assert "about 2 of 5 trainings fit before the finalists; " in (
        ShortBudget(sweep.directory, sweep.ledger, left).warning() or ""
    )
    sweep, left, trial = begun(tmp_path / "shorter", 15 / 3600, *settings)
    left.reported(trial, report(200, 0.5))
    assert "few of 5 trainings fit, and not all of the 6 finalists; " in (
        ShortBudget(sweep.directory, sweep.ledger, left).warning() or ""
    )


@pytest.mark.parametrize("hours", [13 / 3600, "null"])
def test_hours_that_nearly_suffice_and_no_hours_are_no_warning(tmp_path, hours):
    sweep, left, trial = begun(tmp_path, hours, "finalists.top=0")
    left.reported(trial, report(200, 0.5))
    assert ShortBudget(sweep.directory, sweep.ledger, left).warning() is None


def test_a_sweep_that_becomes_slower_after_half_of_its_hours_is_not_warned_of(tmp_path, clock):
    sweep, left, trial = begun(tmp_path, 24 / 3600, "finalists.top=0")
    left.reported(trial, report(200, 0.5))
    budget = ShortBudget(sweep.directory, sweep.ledger, left)
    assert budget.warning() is None
    clock[0] += 20.0
    assert budget.warning() is None, "what the budget leaves undone is announced when it happens"


def test_the_board_prints_the_warning(tmp_path, capsys):
    sweep = Sweep(tmp_path, *SETTINGS, "finalists.top=0", f"budget.hours={10 / 3600}")
    shown = Board(sweep.ledger, 1, lambda: None, sweep=sweep.directory)
    trial = sweep.ledger.ask_search()
    shown.started(trial)
    for step in (100, 200, 300):
        shown.reported(trial, report(step, 0.5))
    assert capsys.readouterr().out.count("warning: 0.00277778 h cut the search and the baselines short: ") == 1
