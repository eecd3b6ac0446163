"""A full disk: it is told apart from every other error, since the sweep can go on once there is room."""

import errno
import sqlite3


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk, or a used up quota, is behind an error, however the libraries between have dressed it up."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def told(cause: str, resume: str) -> str:
    """What to say when it ended a sweep."""
    return f"the disk is full ({cause}); make room and go on with `{resume}`"
