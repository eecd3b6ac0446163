import logging

import optuna
import pytest
import sqlalchemy

from mt_sweeps.storage.optuna_private import study_id
from mt_sweeps.storage.rdb import DRIVER, open_storage
from tests.helpers.sweeps import digits, new_ledger


class Broken:
    """A cursor whose connection an interrupt has closed."""

    def close(self):
        raise RuntimeError("cannot operate on a closed database")


def test_a_query_that_an_interrupt_broke_is_told_without_a_traceback(tmp_path, caplog):
    new_ledger(tmp_path / "ledger.db", digits()).close()
    storage = open_storage(tmp_path / "ledger.db")
    with storage.engine.connect() as connection, caplog.at_level(logging.DEBUG):
        assert connection.execute(sqlalchemy.text("select 1")).scalar() == 1
        connection._safe_close_cursor(Broken())
    assert caplog.text == ""


def test_the_error_itself_is_raised(tmp_path):
    new_ledger(tmp_path / "ledger.db", digits()).close()
    storage = open_storage(tmp_path / "ledger.db")
    with storage.engine.connect() as connection, pytest.raises(sqlalchemy.exc.OperationalError):
        connection.execute(sqlalchemy.text("select * from nowhere"))


def test_of_a_signed_block_with_a_call_that_clashes_nothing_is_written(tmp_path, monkeypatch):
    storage = open_storage(tmp_path / "ledger.db")
    study = optuna.create_study(storage=storage, study_name="study")
    storage.set_study_user_attr(study_id(study), DRIVER, "me")
    trial = storage.create_new_trial(study_id(study))
    storage.set_trial_intermediate_value(trial, 1, 0.5)
    models = optuna.storages._rdb.models
    # As if another process had written the same step after this one looked.
    monkeypatch.setattr(models.TrialIntermediateValueModel, "find_by_trial_and_step", lambda *_: None)
    with (
        pytest.raises(optuna.exceptions.StorageInternalError),
        storage.signed(study_id(study), "me", "replaced"),
    ):
        storage.set_trial_user_attr(trial, "before", 1)
        storage.set_trial_intermediate_value(trial, 1, 0.4)
    kept = storage.get_trial(trial)
    assert (kept.user_attrs, kept.intermediate_values) == ({}, {1: 0.5})
    storage.set_trial_user_attr(trial, "after", 1)
    assert open_storage(tmp_path / "ledger.db").get_trial(trial).user_attrs == {"after": 1}, "the block is over"
