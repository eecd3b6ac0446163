"""The address of a Ray cluster: RAY_ADDRESS, as Ray's own `job submit` reads it."""

import os
import socket
from urllib.parse import urlsplit

from mt_sweeps.addresses import part_with_credentials
from mt_sweeps.errors import InputError


def cluster_address() -> str | None:
    """Return the address of the cluster to join, or None if Ray is to be started on this machine.

    Raises:
        InputError: it holds credentials.
    """
    address = os.environ.get("RAY_ADDRESS") or None
    if address is not None:
        check_without_credentials("RAY_ADDRESS", address)
    return address


def check_without_credentials(name: str, address: str) -> None:
    """Make sure that the address of a cluster holds no credentials, since it is printed and recorded.

    Args:
        name: of the option or variable that holds it, for the error.
        address: of the cluster, or of its job server.

    Raises:
        InputError: it does.
    """
    if part := part_with_credentials(address):
        raise InputError(
            f"{name}: holds credentials, or what could be some, in its {part}; take them out and set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        )


def check_reachable(address: str) -> None:
    """Make sure that something listens at the address: Ray itself would try for minutes.

    Raises:
        InputError: nothing answers.
    """
    parts = urlsplit(address if "//" in address else f"//{address}")
    if address == "auto" or not parts.hostname or not parts.port:
        return
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError as error:
        raise InputError(
            f"RAY_ADDRESS: nothing answers at {address} ({error.strerror or error}); start the cluster, correct the "
            "address, or take RAY_ADDRESS out of the environment to run on this machine"
        ) from None
