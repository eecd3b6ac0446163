"""The simulated disk: real files, and a point before each operation on them that a process can be killed at.

Python reports each operation on a file to an audit hook (PEP 578) before it is done, so no write of the code is missed,
and none is done by a process that is dead. Files of SQLite are its own: see `storage`.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Self

from mt_sweeps.storage import records
from tests.simulation.world import World

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
_TORN = '{"step": 20, "time": 1.5, "metrics'


class Disk:
    """The folder of a world.

    Args:
        world: whose processes write there.
        folder: an absolute path; other files are none of the world's.
    """

    _mounted: "Disk | None" = None
    _is_hooked = False

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._folder = str(folder)

    def __enter__(self) -> Self:
        if not Disk._is_hooked:
            sys.addaudithook(_hook)  # a hook cannot be removed, so there is one
            Disk._is_hooked = True
        Disk._mounted = self
        return self

    def __exit__(self, *_: object) -> None:
        Disk._mounted = None

    def operation(self, event: str, path: str, is_append: bool) -> None:
        """An operation is about to be done: the process may be killed before it, or fail."""
        if not path.startswith(self._folder) or self._world.process is None:
            return
        name = path.rpartition("/")[2]
        is_torn = is_append and name == records.FILE and self._world.chance(0.5)
        lived = not self._world.process.is_dead
        try:
            self._world.point(f"{event} {path.removeprefix(self._folder)}")
            if self._world.is_disk_full and event in ("open", "os.mkdir"):
                raise OSError(errno.ENOSPC, "No space left on device", path)
        except BaseException:
            if is_torn and lived:
                Disk._mounted = None
                with Path(path).open("a") as file:
                    file.write(_TORN[: self._world.rng.randrange(1, len(_TORN))])
                Disk._mounted = self
            raise


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    disk = Disk._mounted
    if disk is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str) and isinstance(flags, int) and flags & _WRITES:
            disk.operation(event, path, bool(flags & os.O_APPEND))
    elif event in _CHANGES:
        disk.operation(event, os.fspath(arguments[0]) if isinstance(arguments[0], str | os.PathLike) else "", False)
