"""Addresses of servers: where credentials could stand in one, and which server one names."""

import re
from urllib.parse import unquote, urlsplit

# What the address of a database may say beyond its server: nothing that is secret or names another server.
_PARAMETERS = {"application_name", "channel_binding", "charset", "connect_timeout", "gssencmode", "sslmode"}
_PARAMETERS |= {"sslcert", "sslkey", "sslrootcert", "target_session_attrs"}
_LOCAL = ("sqlite", "file")
_WEB = ("http", "https")
_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306}


def part_with_credentials(address: str) -> str | None:
    """Return the part of an address in which credentials are, or could be; None if there is none.

    Args:
        address: as typed; not a path. Of a web server, it needs no user, query or fragment. That of a database may name
            a user, and some parameters that are no secrets.
    """
    scheme, colon, rest = address.strip().partition(":")
    kind = scheme.lower().partition("+")[0]
    if not colon or kind in _LOCAL:
        return None
    server, path, tail = re.fullmatch(r"[/\\]*([^/\\?#;]*)([^?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    user = unquote(server).rpartition("@")[0]
    if user and (kind in _WEB or ":" in user):
        return "user info"
    query, _, fragment = tail.removeprefix("?").partition("#") if tail.startswith("?") else ("", "", tail)
    names = {unquote(one.partition("=")[0]).lower() for one in re.split("[&;]", query) if one}
    if ";" in path or (names if kind in _WEB else names - _PARAMETERS):
        return "query"
    return "fragment" if fragment else None


def server_of(address: str) -> tuple[str, str, int | None] | None:
    """Return kind, host and port of the server that an address names, or None if it names none or cannot be read."""
    try:
        parts = urlsplit(address.strip())
        kind, host, port = parts.scheme.partition("+")[0], parts.hostname, parts.port
    except ValueError:
        return None
    return (kind, host, port or _PORTS.get(kind)) if host else None


def is_local(address: str) -> bool:
    """Return True if an address names a database in a file of this machine."""
    return address.strip().partition(":")[0].lower().partition("+")[0] in _LOCAL
