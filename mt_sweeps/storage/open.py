"""Open a home of sweeps, whichever kind it is."""

import os

from mt_sweeps.addresses import part_with_credentials
from mt_sweeps.errors import InputError
from mt_sweeps.storage.folder import HOME_VARIABLE, POSTGRES_SCHEME
from mt_sweeps.storage.home import Home
from mt_sweeps.storage.local import LocalHome


def open_home(address: str | None) -> Home:
    """Return the home at an address.

    Args:
        address: a folder or `postgresql://user@host:port/database`, as typed; None: that of `MT_SWEEP_HOME`, or
            `./sweeps`.

    Raises:
        InputError: the address of the database holds a password.
    """
    address = address or os.environ.get(HOME_VARIABLE)
    if address is None or not address.startswith(POSTGRES_SCHEME):
        return LocalHome(address)
    if part := part_with_credentials(address):
        raise InputError(
            f"the address of the home database holds a password, or what could be one, in its {part}, which others "
            "could read; take it out and set PGPASSWORD"
        )
    from mt_sweeps.storage.postgres import PostgresHome  # brings the database's driver

    return PostgresHome(address)
