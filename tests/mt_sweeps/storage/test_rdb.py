import logging

import pytest
import sqlalchemy

from mt_sweeps.storage.rdb import open_storage
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
