"""Which paths a file may name: a search-space file or a best file may come from anybody.

Paths below the working directory, the home directory of the user and the sweeps' home (`MT_SWEEP_HOME`) need no
permission. Others need one of these: the user types the path (`--set`), or `--allow-paths`; names a folder above it in
`MT_SWEEP_ALLOW_PATHS`; or has it in the list `~/.config/mt-sweeps/allowed-paths`, to which `mt-sweep init` adds what
it was given.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mt_sweeps.errors import InputError, short_repr

VARIABLE = "MT_SWEEP_ALLOW_PATHS"  # folders, separated as those of PATH are
EVERYWHERE = os.sep
_WITH_PATHS = ("trainer.", "search_space.", "points.", "storage", "tracking.uri")
_NO_PATHS = ("trainer.dataset.groups",)  # an expression


def check_paths(source: str, data: Any, overrides: tuple[str, ...] = ()) -> None:
    """Make sure that a file names no paths but those that the user allows.

    Args:
        source: of the data, to name in an error.
        data: the parsed file, with the overrides applied.
        overrides: `key=value` as typed: what the user has typed is allowed.

    Raises:
        InputError: it names others; one line per key.
    """
    typed = tuple(override.partition("=")[0] for override in overrides)
    problems = []
    for key, text in _strings(data):
        if any(key == one or key.startswith(f"{one}.") for one in typed):
            continue
        path = _path_in(text)
        if path is not None and not is_allowed(path):
            problems.append(
                f"{source}: {key}: {short_repr(text)} is outside the working directory and your home; if you trust the "
                f"file, add --allow-paths, or allow the folder for good: {VARIABLE}={_folder(path)}"
            )
    if problems:
        raise InputError(*problems)


def is_allowed(path: Path) -> bool:
    """Return True if a path is in or below a folder that needs no permission, or has it."""
    given = os.environ.get(VARIABLE, "").split(os.pathsep)
    listed = _list_file().read_text(encoding="utf-8").splitlines() if _list_file().is_file() else []
    folders = [Path(one).expanduser().absolute() for one in (*given, *listed) if one.strip()]
    # A home directory that is / is that of a user who has none.
    own = [Path.cwd(), Path.home(), Path(os.environ.get("MT_SWEEP_HOME") or ".").expanduser().absolute()]
    folders += [folder for folder in own if folder != Path(EVERYWHERE)]
    return any(_absolute(path).is_relative_to(folder) for folder in folders)


def allow_paths(data: Any) -> list[Path]:
    """Add the paths that a file names to the list of the allowed ones, and return those that were added.

    Args:
        data: the parsed file, with paths that the user has typed.

    Raises:
        OSError: the list cannot be written.
    """
    added = [path for key, text in _strings(data) if (path := _path_in(text)) is not None and not is_allowed(path)]
    if added:
        file = _list_file()
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as listed:
            listed.write("".join(f"{_absolute(path)}\n" for path in added))
    return added


def _list_file() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "mt-sweeps" / "allowed-paths"


def _strings(data: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text of a file that may be a path, with its dotted key."""
    if isinstance(data, str):
        if key.startswith(_WITH_PATHS) and not key.startswith(_NO_PATHS):
            yield key, data
    elif isinstance(data, dict | list):
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _strings(value, f"{key}.{name}" if key else str(name))


def _path_in(text: str) -> Path | None:
    """Return the path that a text is, if it can lead out of the working directory, or None."""
    scheme, colon, rest = text.partition(":")
    kind = scheme.lower().partition("+")[0]
    if colon and kind in ("sqlite", "file"):
        is_relative = kind == "sqlite" and not rest.startswith("////")
        return Path(rest.lstrip("/") if is_relative else f"/{rest.lstrip('/')}")
    is_path = text.startswith(("/", "~")) or ".." in text.split("/")
    return Path(text) if is_path and "\0" not in text else None


def _absolute(path: Path) -> Path:
    """Return an absolute path. Links are not followed, unless `..` would lead elsewhere than it seems."""
    path = Path(os.path.expanduser(path))  # noqa: PTH111 (`Path` raises where there is no such user)
    return path.resolve() if ".." in path.parts else path.absolute()


def _folder(path: Path) -> Path:
    return _absolute(path) if _absolute(path).is_dir() else _absolute(path).parent
