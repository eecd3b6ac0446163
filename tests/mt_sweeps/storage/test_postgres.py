"""Sweeps whose ledger is in a real PostgreSQL, where there is one."""

import json
import threading
import time

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner

from mt_sweeps.cli import cli
from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.storage import rdb
from mt_sweeps.storage.home import Home
from mt_sweeps.storage.open import open_home
from mt_sweeps.storage.postgres import PostgresHome
from mt_sweeps.study.ledger import Ledger
from tests.helpers.servers.postgres import Postgres
from tests.helpers.sweeps import begun, digits, finish, run_all, swept

pytestmark = pytest.mark.skipif(Postgres.binaries() is None, reason="needs PostgreSQL: apt-get install postgresql")


@pytest.fixture(scope="module")
def server():
    with Postgres() as made:
        yield made


@pytest.fixture
def home(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", server.password)
    monkeypatch.chdir(tmp_path)
    home = open_home(server.address)
    yield home
    for sweep in home.sweeps():
        sweep.delete()


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


def test_names_are_taken_once_however_many_ask_at_a_time(home, tmp_path):
    names = []
    threads = [threading.Thread(target=lambda: names.append(begun(home, shared(tmp_path)).name)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == ["digits", "digits-2", "digits-3", "digits-4"]
    assert [sweep.name for sweep in home.sweeps()] != []
    with pytest.raises(InputError, match="there is a sweep of this name"):
        home.new_sweep("digits", "digits")


def test_one_driver_a_sweep_and_its_lock_is_gone_with_it(home, tmp_path):
    sweep = begun(home, shared(tmp_path))
    other = open_home(home.address).sweep(sweep.name)
    assert not other.is_driven
    with sweep.exclusive("first"):
        assert other.is_driven
        sweep.check_lock()
        with pytest.raises(InputError, match="second"), other.exclusive("second"):
            pass
        another = begun(home, shared(tmp_path))
        with another.exclusive("another sweep"):
            pass
    assert not other.is_driven
    with other.exclusive("third"):
        assert sweep.is_driven


def test_a_driver_is_asked_to_stop_through_the_database(home, tmp_path):
    sweep = begun(home, shared(tmp_path))
    assert not sweep.is_stop_requested()
    open_home(home.address).sweep(sweep.name).request_stop()
    assert sweep.is_stop_requested()
    sweep.clear_stop_request()
    assert not sweep.is_stop_requested()


def test_a_restart_of_the_database_loses_nothing_and_repeats_nothing(home, server, tmp_path):
    sweep = begun(home, shared(tmp_path, "trials=40", "finalists.baselines=[]", "pruner.name=none"))
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    with sweep.exclusive(""):
        again = threading.Timer(0.5, lambda: (server.stop("immediate"), time.sleep(2), server.start()))
        again.start()
        while (trial := ledger.ask_search()) is not None:
            finish(ledger, trial)
            sweep.check_lock()
            time.sleep(0.05)
        again.join()
        sweep.check_lock()
        assert open_home(home.address).sweep(sweep.name).is_driven, "the lock was taken anew"
    told = Ledger(sweep.ledger, sweep.load_spec())
    assert [trial.number for trial in told.trials("search")] == list(range(40))
    assert {trial.state for trial in told.trials("search")} == {"complete"}
    assert [trial.values for trial in told.trials("search")] == [trial.values for trial in ledger.trials("search")]


def test_a_driver_whose_sweep_was_taken_over_meanwhile_ends(home, server, tmp_path):
    sweep = begun(home, shared(tmp_path))
    with sweep.exclusive(""):
        server.stop("immediate")
        server.start()
        with (
            open_home(home.address).sweep(sweep.name).exclusive("taken"),
            pytest.raises(Unfinished, match="another driver"),
        ):
            sweep.check_lock()


@pytest.mark.parametrize("call", ["create_new_trial", "set_trial_state_values"])
def test_what_was_done_before_its_answer_was_lost_is_not_done_again(home, tmp_path, monkeypatch, call):
    sweep = begun(home, shared(tmp_path, "finalists.baselines=[]"))
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    true, lost = getattr(optuna.storages.RDBStorage, call), []

    def loses_its_answer(*arguments, **named):
        answer = true(*arguments, **named)
        if len(lost) < 3:
            lost.append(answer)
            cause = sqlalchemy.exc.OperationalError("", {}, Exception("server closed the connection unexpectedly"))
            raise optuna.exceptions.StorageInternalError("") from cause
        return answer

    monkeypatch.setattr(optuna.storages.RDBStorage, call, loses_its_answer)
    run_all(ledger)
    assert lost
    told = Ledger(sweep.ledger, sweep.load_spec()).trials("search")
    assert [trial.state for trial in told] == ["complete"] * 3


def test_a_sweep_that_is_removed_leaves_nothing_in_the_database(home, tmp_path):
    gone, stays = swept(home, shared(tmp_path)), swept(home, shared(tmp_path))
    gone.trials.delete()
    gone.delete()
    assert [sweep.name for sweep in home.sweeps()] == [stays.name]
    assert begun(home, shared(tmp_path)).name == "digits", "the name is free again"
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_name_that_would_lead_out_of_the_folder_is_no_sweep(home, tmp_path):
    sweep = begun(home, shared(tmp_path))
    storage = rdb.open_storage(home.address)
    study = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], "../../outside")
    for key, value in storage.get_study_user_attrs(sweep._study).items():
        storage.set_study_user_attr(study, key, value)
    assert [found.name for found in home.sweeps()] == [sweep.name]
    with pytest.raises(InputError, match="no such sweep"):
        home.sweep("../../outside")
    storage.delete_study(study)


def test_a_database_that_does_not_let_us_in_is_told_with_what_to_do(server, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "wrong")
    rdb._database.cache_clear()
    with pytest.raises(InputError, match="PGPASSWORD"):
        open_home(server.address).sweeps()
    with pytest.raises(InputError, match="start it, or check the address"):
        open_home("postgresql://postgres@127.0.0.1:1/postgres").sweeps()
    with pytest.raises(InputError, match="holds a password"):
        open_home("postgresql://postgres:sesame@127.0.0.1/postgres")


def test_the_home_is_a_database_where_its_address_says_so(monkeypatch, tmp_path):
    assert type(open_home(str(tmp_path))) is Home
    assert isinstance(open_home("postgresql://a@b/c"), PostgresHome)
    monkeypatch.setenv("MT_SWEEP_HOME", "postgresql://a@b/c")
    assert isinstance(open_home(None), PostgresHome)


def test_all_that_a_shared_sweep_keeps_must_be_shared(home, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("")
    for missing, spec in (
        ("storage", digits("tracking.uri=http://127.0.0.1:1")),
        ("tracking.uri", digits(f"storage={tmp_path}")),
    ):
        from mt_sweeps.execution.preflight import check_storage

        with pytest.raises(InputError, match=f"{missing}: must be set where the home is a database"):
            check_storage(file, home, spec)
