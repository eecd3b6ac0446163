"""What every home and every store of a sweep promises, whatever it keeps them in."""

import multiprocessing
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec import yaml_file
from mt_sweeps.storage import home as homes
from mt_sweeps.storage.home import Home
from mt_sweeps.storage.open import open_home
from mt_sweeps.storage.requests import Request, new_id
from mt_sweeps.study.ledger import Ledger
from tests.helpers.sweeps import ENVIRONMENT, digits

SPEC = digits("trials=3", "finalists.baselines=[]")


@pytest.fixture
def home(address):
    return open_home(address)


def reopened(sweep):
    """The store of the same sweep, as another command opens it."""
    return open_home(sweep.home.address).sweep(sweep.name)


def saved(home, name="digits", **environment):
    """A new sweep, with all that `run` saves before the first trial."""
    sweep = home.create_sweep(None, name)
    spec = SPEC.model_copy(update={"name": sweep.name})
    Ledger.create(sweep.ledger, spec, {}).close()
    sweep.save_environment(replace(ENVIRONMENT, **environment))
    sweep.save_spec(spec)
    return sweep


@contextmanager
def locked_by_another_process(sweep):
    """A process that holds the lock of a sweep within the block, and is killed at its end."""
    processes = multiprocessing.get_context("fork")
    is_locked = processes.Event()

    def hold():
        with sweep.exclusive("the other process is refused"):
            is_locked.set()
            time.sleep(60)

    process = processes.Process(target=hold, daemon=True)
    process.start()
    try:
        assert is_locked.wait(10)
        yield
    finally:
        process.kill()
        process.join()


def test_a_sweep_exists_from_the_moment_its_specification_is_saved(home):
    sweep = home.create_sweep(None, "digits")
    sweep.save_environment(ENVIRONMENT)
    assert not sweep.exists
    assert list(home.sweeps()) == []
    sweep.save_spec(SPEC)
    assert sweep.exists
    assert reopened(sweep).exists
    assert [found.name for found in home.sweeps()] == ["digits"]


def test_the_specification_is_loaded_as_it_was_saved_and_can_be_replaced(home):
    sweep = saved(home)
    assert reopened(sweep).load_spec() == SPEC
    assert yaml_file.parse(reopened(sweep).spec_text(), "spec") == SPEC.model_dump(exclude_none=True)
    more = SPEC.model_copy(update={"trials": 5})
    sweep.save_spec(more)
    assert reopened(sweep).load_spec() == more


def test_the_environment_is_loaded_as_it_was_saved(home):
    assert reopened(saved(home)).load_environment() == ENVIRONMENT


def test_the_ledger_is_where_the_store_says(home):
    sweep = saved(home)
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    values = ledger.ask_search().values
    ledger.close()
    again = reopened(sweep)
    assert [trial.values for trial in Ledger(again.ledger, again.load_spec()).all_trials()] == [values]


def test_the_files_of_trials_are_beside_the_sweep_or_in_its_storage_under_its_name_and_id(home, tmp_path):
    sweep = saved(home)
    assert sweep.trials.location == str(sweep.path / "trials")
    shared = home.create_sweep(None, "digits")
    shared.save_environment(replace(ENVIRONMENT, id="0123456789abcdef"))
    shared.save_spec(SPEC.model_copy(update={"name": shared.name, "storage": str(tmp_path / "kept")}))
    assert shared.trials.location == str(tmp_path / "kept" / "digits-2-01234567")


def test_what_people_are_shown_names_the_sweep_and_its_home(home, monkeypatch):
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    sweep = saved(home)
    assert sweep.resume_command.startswith(f"mt-sweep resume digits --home {home.address}")
    assert "digits" in sweep.location
    assert home.address in sweep.location


def test_no_other_process_gets_the_lock_until_its_holder_dies(home, monkeypatch):
    sweep, other_sweep = saved(home), saved(home)
    with locked_by_another_process(sweep):
        assert sweep.is_driven
        assert not other_sweep.is_driven
        with other_sweep.exclusive("of another sweep"):
            pass
        with monkeypatch.context() as patch:
            patch.setattr(homes, "LOCK_SECONDS", 0.1)
            with pytest.raises(InputError, match="digits is driven"), sweep.exclusive("digits is driven"):
                pass
    with sweep.exclusive("its holder is gone"):
        sweep.check_lock()
    assert not sweep.is_driven


def test_the_lock_ends_with_its_block_also_when_an_error_leaves_it(home):
    sweep, other = saved(home), open_home(home.address).sweep("digits")
    with pytest.raises(KeyboardInterrupt), sweep.exclusive("first"):
        assert other.is_driven
        raise KeyboardInterrupt
    assert not other.is_driven
    with other.exclusive("second"):
        assert sweep.is_driven


def test_looking_whether_a_sweep_is_driven_does_not_take_its_lock(home):
    sweep = saved(home)
    assert not sweep.is_driven
    with sweep.exclusive("refused"):
        assert reopened(sweep).is_driven
        assert reopened(sweep).is_driven


def test_a_request_to_stop_reaches_the_driver_and_can_be_cleared(home):
    sweep = saved(home)
    assert not sweep.is_stop_requested()
    sweep.clear_stop_request()
    reopened(sweep).request_stop()
    reopened(sweep).request_stop()
    assert sweep.is_stop_requested()
    sweep.clear_stop_request()
    assert not sweep.is_stop_requested()
    assert not reopened(sweep).is_stop_requested()


def test_requests_reach_the_driver_in_their_order_and_stay_until_they_are_removed(home):
    sweep = saved(home)
    assert sweep.requests() == []
    first = Request(new_id(), "add", {"ema.decay": 0.99, "consistency.loss": "kl"})
    second = Request(new_id(), "end", arm="supervised", number=3)
    reopened(sweep).add_request(second)
    reopened(sweep).add_request(first)
    reopened(sweep).add_request(first)
    assert sweep.requests() == [first, second]
    for _ in range(2):
        sweep.remove_request(first)
    assert reopened(sweep).requests() == [second]


def test_choosing_a_name_creates_nothing(home):
    assert [home.new_sweep(None, "digits").name for _ in range(2)] == ["digits", "digits"]
    assert list(home.sweeps()) == []


def test_a_name_from_the_file_gets_a_number_until_it_is_free(home):
    assert [home.create_sweep(None, "digits").name for _ in range(3)] == ["digits", "digits-2", "digits-3"]
    assert home.create_sweep(None, "artifacts").name == "artifacts-2", "the first is reserved"


def test_a_typed_name_is_used_as_it_is(home):
    assert home.create_sweep("mine", "digits").name == "mine"


def test_a_typed_name_that_is_taken_is_refused_with_what_to_do(home):
    saved(home, "mine")
    home.create_sweep("claimed", "digits")
    with pytest.raises(
        InputError, match=r"resume it with `(uv run )?mt-sweep resume mine --home .*`, or choose another name"
    ):
        home.create_sweep("mine", "digits")
    with pytest.raises(InputError, match="is no sweep, or one that ended before it began"):
        home.create_sweep("claimed", "digits")


@pytest.mark.parametrize("name", ["../up", "a b", "", "artifacts", "trained", "-x"])
def test_a_typed_name_that_is_no_plain_name_is_refused(home, name):
    with pytest.raises(InputError, match="no plain name"):
        home.create_sweep(name, "digits")


def test_commands_that_start_at_once_get_different_names(home):
    names = []
    threads = [threading.Thread(target=lambda: names.append(home.create_sweep(None, "digits").name)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == ["digits", "digits-2", "digits-3", "digits-4"]


def test_a_name_that_another_command_takes_first_is_chosen_again(home, monkeypatch):
    stale, _ = home.new_sweep(None, "digits"), home.create_sweep(None, "digits")
    choices = iter([stale, home.new_sweep(None, "digits")])
    monkeypatch.setattr(Home, "new_sweep", lambda *_: next(choices))
    assert home.create_sweep(None, "digits").name == "digits-2"


def test_sweeps_are_in_the_order_in_which_they_began(home):
    for number, name in enumerate(("second", "first", "third")):
        saved(home, name, started=ENVIRONMENT.started + number)
        time.sleep(0.02)  # a folder's clock is coarse
    assert [sweep.name for sweep in home.sweeps()] == ["second", "first", "third"]
    assert home.sweep(None).name == "third"
    assert home.sweep("first").name == "first"


def test_a_sweep_that_is_not_there_is_an_error_with_what_is(home):
    with pytest.raises(InputError, match="holds no sweeps; start one"):
        home.sweep(None)
    saved(home)
    with pytest.raises(InputError, match=r"digit: no such sweep in .*; did you mean 'digits'"):
        home.sweep("digit")


def test_a_sweep_that_is_deleted_leaves_nothing_and_others_stay(home):
    first, second = saved(home), saved(home)
    first.path.mkdir(parents=True, exist_ok=True)
    first.report.write_text("a page")
    first.delete()
    assert not first.path.exists()
    assert [sweep.name for sweep in home.sweeps()] == ["digits-2"]
    assert second.load_environment() == ENVIRONMENT
    Ledger(second.ledger, second.load_spec()).close()
    anew = saved(home)
    assert anew.name == "digits", "the name is free again"
    assert Ledger(anew.ledger, anew.load_spec()).all_trials() == []


def test_the_folder_for_people_is_made_where_it_can_be_written(home):
    home.check_writable()
    assert home.path.is_dir()
    assert list(home.path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error_with_what_to_do(home):
    home.path.parent.mkdir(parents=True, exist_ok=True)
    home.path.write_text("a file")
    with pytest.raises(InputError, match=r"cannot be written: .*; choose another with --home DIR"):
        home.check_writable()
