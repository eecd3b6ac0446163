"""The files of a run, written atomically: after a crash, a file is whole or absent. And the folder of the machine."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

CHECKPOINT = "checkpoint.pt"
PREVIOUS_CHECKPOINT = "checkpoint.previous.pt"  # used if the last one is torn
CHECKPOINTS = (PREVIOUS_CHECKPOINT, CHECKPOINT)
BEST_MODEL = "best.safetensors"


def cache_folder() -> Path:
    """Return the folder of decoded images and of published weights.

    It is `MT_SWEEP_CACHE`, or `mt-sweeps` in the user's cache folder.
    """
    folder = os.environ.get("MT_SWEEP_CACHE")
    if folder:
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "mt-sweeps"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Args:
        path: its folder must exist.
        content: text is written as UTF-8.
    """
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to. It appears at `path` if the block ends without an error, and is deleted otherwise.

    Args:
        path: its folder must exist.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    # The umask can only be read by setting it. With mkstemp's mode 0600, a team could not read files on a shared disk.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
