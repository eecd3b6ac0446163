import errno
import sqlite3

import pytest
from sqlalchemy import create_engine, text

from mt_sweeps.errors import is_disk_full


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_seen_behind_whatever_a_library_made_of_it(number):
    try:
        try:
            raise OSError(number, "no room")
        except OSError as error:
            raise RuntimeError("cannot store") from error
    except RuntimeError as error:
        assert is_disk_full(error)


def test_a_database_without_room_is_a_full_disk(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'small.db'}")
    with engine.connect() as connection:
        connection.execute(text("create table t (x)"))
        connection.execute(text("pragma max_page_count = 3"))
        with pytest.raises(Exception, match="full") as raised:
            connection.execute(text("insert into t values (zeroblob(100000))"))
    assert is_disk_full(raised.value)


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no"), sqlite3.OperationalError("no such table: t"), None]
)
def test_nothing_else_is_one(error):
    assert not is_disk_full(error)
