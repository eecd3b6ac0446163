"""Sweeps in a real PostgreSQL, if it is installed: outages, and what only a database can meet."""

import json
import threading
import time

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner
from sqlalchemy.orm import Session

from mt_sweeps.cli import cli
from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.execution.preflight import check_storage
from mt_sweeps.storage import rdb
from mt_sweeps.storage.open import open_home
from mt_sweeps.study.ledger import Ledger
from tests.helpers.sweeps import begun, digits, finish, report, run_all, swept
from tests.mt_sweeps.storage.conftest import needs_postgres

pytestmark = [pytest.mark.system, needs_postgres]


@pytest.fixture
def home(postgres_address):
    return open_home(postgres_address)


def shared(tmp_path, *overrides):
    return digits("trials=3", f"storage={tmp_path / 'kept'}", "tracking.uri=http://127.0.0.1:1", *overrides)


def test_a_sweep_in_a_database_is_read_by_the_same_commands(home, tmp_path):
    swept(home, shared(tmp_path))
    command = CliRunner()
    (row,) = json.loads(command.invoke(cli, ["list", "--home", home.address, "--json"]).output)
    assert row["name"] == "digits"
    assert row["arms"]["search"]["complete"] + row["arms"]["search"]["pruned"] == 3
    status = command.invoke(cli, ["status", "--home", home.address])
    assert "digits: finished" in status.output
    best = json.loads(command.invoke(cli, ["best", "digits", "--home", home.address, "--json"]).output)
    assert best["trial"] == row["best"]["trial"]
    exported = command.invoke(cli, ["export", "digits", "--home", home.address, "-o", str(tmp_path / "best.yaml")])
    assert exported.exit_code == 0
    assert (tmp_path / "best.yaml").read_text().count("ema")
    report = command.invoke(cli, ["report", "digits", "--home", home.address, "--json"])
    assert json.loads(report.output)["sweep"]["name"] == "digits"
    assert not list(tmp_path.glob("sweeps/*/ledger.db")), "nothing of it is only on this machine"


def test_a_restart_of_the_database_loses_nothing_and_repeats_nothing(home, postgres, tmp_path):
    sweep = begun(home, shared(tmp_path, "trials=40", "finalists.baselines=[]", "pruner.name=none"))
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    with sweep.exclusive(""):
        restart = threading.Timer(0.5, lambda: (postgres.stop("immediate"), time.sleep(2), postgres.start()))
        restart.start()
        while (trial := ledger.ask_search()) is not None:
            finish(ledger, trial)
            sweep.check_lock()
            time.sleep(0.05)
        restart.join()
        sweep.check_lock()
        assert open_home(home.address).sweep(sweep.name).is_driven, "the lock was taken again"
    trials = Ledger(sweep.ledger, sweep.load_spec()).trials("search")
    assert [trial.number for trial in trials] == list(range(40))
    assert {trial.state for trial in trials} == {"complete"}
    assert [trial.values for trial in trials] == [trial.values for trial in ledger.trials("search")]


def test_optuna_itself_creates_no_second_trial_when_the_answer_to_the_first_is_lost(home, tmp_path, monkeypatch):
    sweep = begun(home, shared(tmp_path, "finalists.baselines=[]"))
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    commit, lost = Session.commit, []

    def loses_its_answer(session):
        is_creation = any(type(row).__name__ == "TrialModel" for row in session.identity_map.values())
        commit(session)
        if is_creation and not lost:
            lost.append(session)
            raise sqlalchemy.exc.OperationalError("", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(Session, "commit", loses_its_answer)
    assert ledger.ask_search() is not None
    assert lost
    assert [trial.number for trial in Ledger(sweep.ledger, sweep.load_spec()).trials("search")] == [0]


def test_a_driver_whose_sweep_was_taken_over_meanwhile_ends(home, postgres, tmp_path):
    sweep = begun(home, shared(tmp_path))
    with sweep.exclusive(""):
        postgres.stop("immediate")
        postgres.start()
        with (
            open_home(home.address).sweep(sweep.name).exclusive("taken"),
            pytest.raises(Unfinished, match="another driver"),
        ):
            sweep.check_lock()


@pytest.mark.parametrize("method", ["create_new_trial", "set_trial_state_values"])
def test_what_was_done_before_its_answer_was_lost_is_not_done_again(home, tmp_path, monkeypatch, method):
    sweep = begun(home, shared(tmp_path, "finalists.baselines=[]"))
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    call, lost = getattr(optuna.storages.RDBStorage, method), []

    def loses_its_answer(*arguments, **named):
        answer = call(*arguments, **named)
        if len(lost) < 3:
            lost.append(answer)
            cause = sqlalchemy.exc.OperationalError("", {}, Exception("server closed the connection unexpectedly"))
            raise optuna.exceptions.StorageInternalError("") from cause
        return answer

    monkeypatch.setattr(optuna.storages.RDBStorage, method, loses_its_answer)
    run_all(ledger)
    assert lost
    trials = Ledger(sweep.ledger, sweep.load_spec()).trials("search")
    assert [trial.state for trial in trials] == ["complete"] * 3


def test_a_name_that_would_lead_out_of_the_folder_is_no_sweep(home, tmp_path):
    sweep = begun(home, shared(tmp_path))
    storage = rdb.open_storage(home.address)
    outside = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "../../outside")
    for key, value in storage.get_study_user_attrs(storage.get_study_id_from_name(sweep.name)).items():
        storage.set_study_user_attr(outside, key, value)
    assert [found.name for found in home.sweeps()] == [sweep.name]
    with pytest.raises(InputError, match="no such sweep"):
        home.sweep("../../outside")


def test_a_database_that_cannot_be_used_is_an_error_with_what_to_do(postgres, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong")
    rdb._open_postgres.cache_clear()
    with pytest.raises(InputError, match="PGPASSWORD"):
        open_home(postgres.address).sweeps()
    with pytest.raises(InputError, match="start it, or check the address"):
        open_home("postgresql://postgres@127.0.0.1:1/postgres").sweeps()


def test_all_that_a_shared_sweep_keeps_must_be_shared(home, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("")
    for missing, spec in (
        ("storage", digits("tracking.uri=http://127.0.0.1:1")),
        ("tracking.uri", digits(f"storage={tmp_path}")),
    ):
        with pytest.raises(InputError, match=f"{missing}: must be set if the home is a database"):
            check_storage(file, home, spec)


@pytest.fixture
def stopped(home, tmp_path):
    """A driver with a running trial; another takes over, in its own connection, after the statement that is named."""
    sweep = begun(home, shared(tmp_path))
    driver, other = (Ledger(sweep.ledger, sweep.load_spec()) for _ in range(2))
    driver.take_over()
    trial, main, statements = driver.ask_search(), threading.current_thread(), []
    thread = threading.Thread(target=other.take_over)

    def stop(*arguments):
        if threading.current_thread() is main and statements and statements[0] in arguments[2]:
            is_locked = "FOR SHARE" in statements.pop()
            thread.start()
            thread.join(2 if is_locked else None)

    sqlalchemy.event.listen(driver._storage.engine, "after_cursor_execute", stop)
    yield driver, other, trial, statements, thread
    sqlalchemy.event.remove(driver._storage.engine, "after_cursor_execute", stop)


def test_a_driver_that_is_replaced_within_its_transaction_does_not_write(stopped):
    driver, other, trial, statements, thread = stopped
    statements.append("SELECT trials.")  # that Optuna reads before it writes
    with pytest.raises(Unfinished, match="another process has taken the sweep over"):
        driver.report(trial, report(30, 0.5))
    thread.join()
    assert other.trials("search")[0].step == 0
    assert Ledger(driver._where, driver.spec).all_trials() == other.all_trials()


def test_a_driver_that_takes_over_waits_for_a_write_that_has_looked_who_drives_and_reads_it(stopped):
    driver, other, trial, statements, thread = stopped
    statements.append("FOR SHARE")
    driver.report(trial, report(30, 0.5))
    thread.join()
    assert other.trials("search")[0].step == 30
    with pytest.raises(Unfinished, match="another process has taken the sweep over"):
        driver.report(trial, report(60, 0.5))
