"""The tables of a ledger, read without Optuna: they are what Optuna says they are."""

import sqlite3
from contextlib import closing

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.storage.ledger_rows import TABLES, rows_of_file
from mt_sweeps.storage.rdb import open_storage, rows_of_storage
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.ledger_view import LedgerView
from tests.helpers.sweeps import digits, finish, new_ledger, report


@pytest.fixture
def ledger(tmp_path):
    """A trial in every state, one of them with two attempts, and a baseline."""
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=6", "points=[]", "finalists.baselines=[supervised]"))
    complete, supervised, pruned, failed, lost, running = (ledger.ask_search() for _ in range(6))
    assert supervised.arm == "supervised"
    for trial in (complete, supervised):
        finish(ledger, trial, 0.25)
    for step in (30, 90):
        ledger.report(pruned, report(step, 0.5))
    ledger.prune(pruned, report(90, 0.5))
    ledger.report(failed, report(30, 0.5))
    ledger.fail(failed, "diverged", "the loss is ∞", None)
    ledger.worker_lost(lost, "killed")
    ledger.report(running, report(60, 0.5))
    ledger.save_time()
    return ledger


@pytest.mark.usefixtures("ledger")
def test_the_rows_of_a_file_are_those_that_optuna_reads(tmp_path):
    names = ["digits", "digits/supervised"]
    by_optuna = rows_of_storage(open_storage(tmp_path / "ledger.db"), names)
    for study, expected in zip(rows_of_file(tmp_path / "ledger.db", names), by_optuna, strict=True):
        assert (study.id, study.attributes) == (expected.id, expected.attributes)
        assert [(row.id, row.number, row.state, row.step) for row in study.trials] == [
            (row.id, row.number, row.state, row.step) for row in expected.trials
        ]
    states = {row.state for study in by_optuna for row in study.trials}
    assert states == {"COMPLETE", "PRUNED", "FAIL", "WAITING", "RUNNING"}


def test_a_view_shows_what_the_ledger_holds(ledger, tmp_path):
    view, again = LedgerView(tmp_path / "ledger.db", ledger.spec), Ledger(tmp_path / "ledger.db", ledger.spec)
    assert view.all_trials() == again.all_trials()
    assert view.best() == ledger.best()
    arms = ledger.spec.arms()
    assert [*map(view.total, arms), *map(view.remaining, arms)] == [
        *map(again.total, arms),
        *map(again.remaining, arms),
    ]
    for name in ("steps_done", "seconds_done", "active_seconds"):
        assert getattr(view, name) == getattr(again, name)


def test_optuna_makes_the_tables_that_are_read_here(tmp_path):
    storage = open_storage(tmp_path / "new.db")
    assert storage.get_current_version() == TABLES, "Optuna has other tables now: see ledger_rows.py"


def test_tables_of_another_version_are_refused(ledger, tmp_path):
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = 'v9'")
    with pytest.raises(InputError, match=rf"its tables are of version v9, this version of mt-sweeps reads {TABLES}"):
        LedgerView(tmp_path / "ledger.db", ledger.spec)


def test_reading_makes_no_file_and_takes_any_path(ledger, tmp_path):
    folder = tmp_path / "50 % of ?, #1"
    folder.mkdir()
    (folder / "ledger.db").write_bytes((tmp_path / "ledger.db").read_bytes())
    assert len(LedgerView(folder / "ledger.db", ledger.spec).all_trials()) == 6
    assert [file.name for file in folder.iterdir()] == ["ledger.db"]
