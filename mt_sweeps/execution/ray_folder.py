"""The folder in which Ray keeps its sockets and logs while a sweep runs: short, private, and removed at the end."""

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

from mt_sweeps.errors import InputError

_PREFIX = "mt-sweeps-ray-"
# A path to a socket has at most 107 bytes on Linux, and Ray adds
# `/r/session_2026-11-27_16-22-49_123456_1234567/sockets/plasma_store` to the folder.
_MOST_BYTES = 107 - 68
_YOUNG_SECONDS = 60  # in which a folder that is not locked may be locked any moment
_OTHERS = ("/tmp", "/dev/shm", "/var/tmp")  # noqa: S108 (where TMPDIR is too long: on a Slurm cluster, usually)


class RayFolder:
    """A new folder that only this user can enter. It is locked while this process lives.

    Attributes:
        path: of the folder.
        inner: a path in it for Ray, which lets everybody into the folder that it is given.

    Raises:
        InputError: none can be made.
    """

    def __init__(self) -> None:
        self.path = _make()
        self.inner = self.path / "r"
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)  # ends with the process, however that ends
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        _remove_abandoned(self.path.parent)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _make() -> Path:
    for parent in (tempfile.gettempdir(), *_OTHERS):
        if len(os.fsencode(parent)) + len("/") + len(_PREFIX) + 8 > _MOST_BYTES:
            continue
        try:
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # with the mode 0700
        except OSError:
            continue
    longest = _MOST_BYTES - len(_PREFIX) - 9
    raise InputError(
        f"TMPDIR: Ray needs a folder for its sockets that can be written and whose path has at most {longest} bytes, "
        f"and neither {tempfile.gettempdir()} nor {', '.join(_OTHERS)} is one; set TMPDIR to one, or use --in-process"
    )


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of this user whose processes were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            facts = folder.lstat()
            if facts.st_uid != os.getuid() or time.time() - facts.st_mtime < _YOUNG_SECONDS:
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:  # another process was quicker
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its process is alive
            continue
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
