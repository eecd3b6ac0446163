"""Open the home of sweeps, whichever kind it is."""

import os
from urllib.parse import urlsplit

from mt_sweeps.errors import InputError
from mt_sweeps.storage.home import DATABASE, HERE, VARIABLE, Home, LocalHome


def open_home(where: str | None) -> Home:
    """The home at what was given on the command line, if anything: a directory, or a database that several reach.

    Raises:
        InputError: the address of the database holds a password.
    """
    given = where or os.environ.get(VARIABLE) or HERE
    if not given.startswith(DATABASE):
        return LocalHome(given)
    if urlsplit(given).password is not None:
        raise InputError(
            "the address of the home database holds a password, which others could read; take it out and set PGPASSWORD"
        )
    from mt_sweeps.storage.postgres import PostgresHome  # brings the database's driver

    return PostgresHome(given)
