"""The folder of a local home, and the names of the sweeps in it.

A shell that completes a name waits for this module, so it imports nothing heavy.
"""

import os
from contextlib import suppress
from pathlib import Path

DEFAULT_FOLDER = "sweeps"
HOME_VARIABLE = "MT_SWEEP_HOME"
POSTGRES_SCHEME = "postgresql://"  # begins the address of a home that is no folder


def local_folder(typed: Path | str | None = None) -> Path:
    """Return the absolute folder of a local home: as typed, else as in `MT_SWEEP_HOME`, else `./sweeps`."""
    return Path(typed or os.environ.get(HOME_VARIABLE) or DEFAULT_FOLDER).expanduser().absolute()


def sweep_names(folder: Path) -> list[str]:
    """Return the names of the sweeps in a folder, the newest last. One whose specification is lost has a ledger yet."""
    saved: dict[str, float] = {}
    for pattern in ("*/ledger.db", "*/spec.yaml"):
        for file in folder.glob(pattern):
            with suppress(FileNotFoundError):  # another command has just removed the sweep
                saved[file.parent.name] = file.lstat().st_mtime
    return sorted(saved, key=lambda name: (saved[name], name))


def names_at(address: str | None) -> list[str]:
    """Return the names of the sweeps of a local home, the newest last; of one in a database none, which takes longer.

    Args:
        address: as typed, if it was.
    """
    typed = address or os.environ.get(HOME_VARIABLE) or ""
    return [] if typed.startswith(POSTGRES_SCHEME) else sweep_names(local_folder(typed))
