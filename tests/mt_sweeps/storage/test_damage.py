"""A damaged file of a sweep is an error that names the file and says what to do; no other sweep suffers from it."""

import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.storage.local import LocalHome, is_held
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.ledger_view import LedgerView
from tests.helpers.sweeps import ENVIRONMENT, Sweep, finish


@pytest.fixture
def sweep(tmp_path):
    made = Sweep(tmp_path)
    finish(made.ledger, made.ledger.ask_search())
    made.ledger.close()
    return made.directory


REMEDY = "put back what was here (MLflow has a copy with the sweep's run), or remove {}"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("name: x", "trainer: is missing"),
        ("{name: digits", "line 1: "),
        ("- 1\n", "is no specification of a sweep"),
        ("name: 3\n", "name: should be a valid string, not 3"),
    ],
)
def test_a_damaged_specification_is_named_with_what_is_wrong_and_what_to_do(sweep, content, problem):
    file = sweep.path / "spec.yaml"
    file.write_text(content)
    with pytest.raises(InputError) as error:
        sweep.load_spec()
    assert str(error.value).startswith(f"{file}: {problem}")
    assert str(error.value).endswith(REMEDY.format(sweep.path))


@pytest.mark.parametrize("content", [None, "", "\0" * 100, "name: dig", "name: digits\ntrainer:\n"])
def test_a_specification_that_is_lost_or_cut_off_is_read_from_the_ledger_and_written_again(sweep, content, capsys):
    file = sweep.path / "spec.yaml"
    whole, spec = file.read_text(), sweep.load_spec()
    file.unlink() if content is None else file.write_text(content)
    found = LocalHome(sweep.home.path).sweep("digits")
    assert (found.load_spec(), found.spec_text()) == (spec, whole)
    assert file.exists() == (content is not None), "only the holder of the lock writes"
    with found.exclusive("taken"):
        pass
    assert file.read_text() == whole
    printed = f"{file}: was lost, and is written again from its copy in the ledger\n"
    assert capsys.readouterr().err == printed
    with found.exclusive("taken"):
        pass
    assert not capsys.readouterr().err


def test_the_copy_of_a_specification_is_the_one_that_the_last_driver_had(sweep):
    file = sweep.path / "spec.yaml"
    file.write_text(file.read_text().replace("trials: 3", "trials: 5"))
    ledger = Ledger(sweep.ledger, sweep.load_spec())
    ledger.take_over()
    ledger.close()
    file.unlink()
    assert sweep.load_spec().trials == 5


def test_what_a_person_wrote_into_a_specification_is_not_replaced(sweep):
    file = sweep.path / "spec.yaml"
    edited = file.read_text().replace("trials: 3", "trials: three")
    file.write_text(edited)
    with pytest.raises(InputError, match="trials"):
        sweep.load_spec()
    with sweep.exclusive("taken"):
        pass
    assert file.read_text() == edited


def test_a_sweep_that_was_removed_or_has_not_begun_is_none(sweep):
    (sweep.path / "environment.json").unlink()
    (sweep.path / "spec.yaml").unlink()
    assert not sweep.exists, "its environment is written after its ledger"
    assert LocalHome(sweep.home.path).sweeps() == []
    sweep.delete()
    assert not sweep.path.exists()


def test_a_specification_with_a_setting_that_has_been_renamed_names_the_key_and_the_version_to_use(sweep):
    file = sweep.path / "spec.yaml"
    file.write_text(file.read_text().replace("trials: 3", "trials: 3\nmax_trials: 3"))
    with pytest.raises(InputError, match=r"(?s)max_trials: unknown key.*use the version of mt-sweeps that wrote it"):
        sweep.load_spec()


def test_the_specification_of_another_sweep_is_refused(sweep):
    file = sweep.path / "spec.yaml"
    file.write_text(file.read_text().replace("name: digits\n", "name: other\n", 1))
    with pytest.raises(InputError, match=r"spec.yaml: name: is other, and the folder of a sweep is named as the sweep"):
        sweep.load_spec()


def test_a_specification_that_is_gone_with_its_copy_is_named(sweep):
    (sweep.path / "spec.yaml").unlink()
    sweep.ledger.write_bytes(b"")
    with pytest.raises(InputError, match=r"digits/spec.yaml: is missing; put it back"):
        LocalHome(sweep.home.path).sweep("digits")


@pytest.mark.parametrize("content", ["", '{"id": "abc", "star', "{}", "[]", '{"id": "../../x"}', None])
def test_an_environment_that_cannot_be_read_is_taken_from_the_ledger_or_named(sweep, content):
    file = sweep.path / "environment.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(InputError, match=r"environment.json: .*; put back what was here"):
        sweep.load_environment()
    sweep.save_environment(ENVIRONMENT)  # now that there is a ledger, it has a copy
    file.unlink() if content is None else file.write_text(content)
    assert sweep.load_environment() == ENVIRONMENT


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(sweep):
    for name in ("spec.yaml", "environment.json"):
        (sweep.path / name).unlink()
        os.mkfifo(sweep.path / name)
    with pytest.raises(InputError, match=r"spec.yaml: is not a file"):
        sweep.load_spec()
    with pytest.raises(InputError, match=r"environment.json: is not a file"):
        sweep.load_environment()


@pytest.mark.parametrize("opened", [Ledger, LedgerView])
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE trial_user_attributes SET value_json = '{\"values\": ' WHERE key = 'asked'",
        "UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'end'",
        "UPDATE trial_user_attributes SET value_json = '7' WHERE key = 'asked'",
        "DELETE FROM trial_user_attributes WHERE key = 'asked'",
        "UPDATE trials SET number = 5",
        "UPDATE study_user_attributes SET value_json = 'x' WHERE key = 'spec'",
        "DELETE FROM study_user_attributes WHERE key = 'format'",
        "DELETE FROM studies",
        "DROP TABLE trials",
    ],
)
def test_a_damaged_row_of_the_ledger_is_an_error_that_names_the_file(sweep, damage, opened):
    with closing(sqlite3.connect(sweep.ledger)) as store, store:
        store.execute(damage)
    with pytest.raises(InputError, match=r"ledger.db: is no ledger .*put back what was here"):
        opened(sweep.ledger, sweep.load_spec())


@pytest.mark.parametrize("opened", [Ledger, LedgerView])
def test_an_empty_torn_or_foreign_ledger_is_named_and_left_as_it_is(sweep, tmp_path, opened):
    whole = sweep.ledger.read_bytes()
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as store:
        store.execute("CREATE TABLE runs (id)")
    for content in (b"", whole[:5000], b"hello", (tmp_path / "foreign.db").read_bytes()):
        sweep.ledger.write_bytes(content)
        with pytest.raises(InputError, match=r"ledger.db: is "):
            opened(sweep.ledger, sweep.load_spec())
        assert sweep.ledger.read_bytes() == content


def test_looking_whether_a_sweep_is_driven_writes_nothing(sweep):
    lock = sweep.path / "driver.lock"
    assert not is_held(lock)
    assert not lock.exists()
    with sweep.exclusive("taken"):
        assert is_held(lock)
    assert not is_held(lock)


def test_a_lock_that_is_no_file_is_named(sweep):
    (sweep.path / "driver.lock").mkdir()
    assert not sweep.is_driven
    with pytest.raises(InputError, match=r"driver.lock: is not a file"), sweep.exclusive("taken"):
        pass


def test_the_driver_of_a_sweep_that_was_removed_or_moved_is_told_so_and_makes_no_folder(sweep, tmp_path):
    with sweep.exclusive("taken"):
        sweep.check_lock()
        shutil.move(sweep.path, tmp_path / "moved")
        with pytest.raises(Exception, match="was removed or moved while the sweep ran, so the sweep has ended"):
            sweep.check_lock()
    with pytest.raises(InputError, match="was removed meanwhile"), sweep.exclusive("taken"):
        pass
    assert not sweep.path.exists()
