"""The files of a sweep's trials: checkpoints, records and best models, a directory an attempt.

An attempt that was given up cannot write into the next. A worker trains in a folder: the attempt's own, or, where
trials are kept in an object store, one on the worker's disk, of which what is new is sent after each evaluation.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mt_sweeps.spec.sweep_spec import Arm
from mt_sweeps.storage import records
from mt_sweeps.storage.file_store import FileStore
from trainers.files import BEST_MODEL, CHECKPOINT, CHECKPOINTS, PREVIOUS_CHECKPOINT, write_atomically
from trainers.report import Report


class TrialFiles:
    """Those of all trials of a sweep.

    Args:
        place: a folder, or an object store; see `Storage`.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self._storage = FileStore(place)

    def address(self, arm: Arm, number: int, attempt: int) -> str:
        """Of an attempt, as `Workplace` takes it."""
        return f"{self._storage.place}/{_attempt(arm, number, attempt)}"

    def last_checkpoint(self, arm: Arm, number: int, before: int) -> str | None:
        """The address of the latest attempt before number `before` that left a checkpoint, if any did."""
        left = [attempt for attempt, names in self._attempts(arm, number).items() if names & {*CHECKPOINTS}]
        return max((self.address(arm, number, one) for one in left if one < before), key=_number, default=None)

    def records(self, arm: Arm, number: int) -> list[Report]:
        """Those of the latest attempt that has any: the last may not have come so far.

        They may be newer than the last checkpoint that is left: what was told once is not told otherwise.
        """
        found = [attempt for attempt, names in self._attempts(arm, number).items() if records.FILE in names]
        if not found:
            return []
        return records.parse(self._storage.read(f"{_attempt(arm, number, max(found))}/{records.FILE}") or b"")

    def begin(self, arm: Arm, number: int, attempt: int, known: list[Report]) -> None:
        """Give a new attempt the records of those before it."""
        self._storage.write(f"{_attempt(arm, number, attempt)}/{records.FILE}", records.text(known).encode())

    def has_model(self, arm: Arm, number: int) -> bool:
        """Whether a trial's best model is here."""
        return any(BEST_MODEL in names for names in self._attempts(arm, number).values())

    @contextmanager
    def model(self, arm: Arm, number: int) -> Iterator[Path]:
        """The file of a trial's best model, on this machine for as long as the block runs."""
        newest = max(attempt for attempt, names in self._attempts(arm, number).items() if BEST_MODEL in names)
        path = f"{_attempt(arm, number, newest)}/{BEST_MODEL}"
        if self._storage.folder is not None:
            yield self._storage.folder / path
            return
        with tempfile.TemporaryDirectory(prefix="mt-sweeps-") as folder:
            file = Path(folder) / BEST_MODEL
            file.write_bytes(self._storage.read(path) or b"")
            yield file

    def drop_model(self, arm: Arm, number: int) -> None:
        """It is kept elsewhere, or not wanted."""
        self._drop(arm, number, (BEST_MODEL,))

    def drop_checkpoints(self, arm: Arm, number: int) -> None:
        """The full training state is kept only while a trial is unfinished."""
        self._drop(arm, number, CHECKPOINTS)

    def delete(self) -> None:
        """Those of every trial."""
        self._storage.delete_all()

    def _drop(self, arm: Arm, number: int, dropped: tuple[str, ...]) -> None:
        for attempt, names in self._attempts(arm, number).items():
            for name in names & {*dropped}:
                self._storage.delete(f"{_attempt(arm, number, attempt)}/{name}")

    def _attempts(self, arm: Arm, number: int) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for path in self._storage.names(_trial(arm, number)):
            attempt, _, name = path.partition("/")
            if re.fullmatch(r"attempt-\d+", attempt):
                found.setdefault(_number(attempt), set()).add(name)
        return found


class AttemptDirectory:
    """The folder in which an attempt trains, on the worker.

    Args:
        address: of the attempt, from `TrialFiles.address`.
        previous: of an earlier one, whose checkpoint this one goes on from.

    Attributes:
        path: of the folder.
    """

    def __init__(self, address: str, previous: str | None) -> None:
        self._storage = FileStore(address)
        self._sent: dict[str, tuple[int, int]] = {}
        if self._storage.folder is not None:
            self.path = self._storage.folder
            self.path.mkdir(parents=True, exist_ok=True)
        else:
            self._scratch = Path(tempfile.mkdtemp(prefix="mt-sweeps-"))
            self.path = self._scratch.joinpath(*Path(address).parts[-2:])  # named as the attempt is
            self.path.mkdir(parents=True)
            known = self._storage.read(records.FILE)
            if known is not None:
                write_atomically(self.path / records.FILE, known)
        # The last checkpoint before the one before it: a try that is killed in between may not go back behind the last.
        for name in (BEST_MODEL, *reversed(CHECKPOINTS)):
            content = FileStore(previous).read(name) if previous is not None else None
            if content is not None:
                write_atomically(self.path / name, content)

    def keep(self) -> None:
        """Send what is new to where it is kept, in the order in which each can be made again from those before it.

        Raises:
            StorageLost: the store does not answer, and has not for a long time.
        """
        if self._storage.folder is not None:
            return
        for name in (BEST_MODEL, CHECKPOINT, records.FILE):
            file = self.path / name
            if not file.exists():
                continue
            about = file.stat()
            now = (about.st_mtime_ns, about.st_size)
            if self._sent.get(name) != now:
                if name == CHECKPOINT:
                    self._storage.copy(CHECKPOINT, PREVIOUS_CHECKPOINT)
                self._storage.write(name, file.read_bytes())
                self._sent[name] = now

    def tell(self, error: str) -> None:
        """Leave a note of why the attempt failed, where that can be done."""
        with suppress(OSError):  # the disk may be full
            self._storage.write("error.txt", error.encode())

    def close(self) -> None:
        """What is only on this worker is removed."""
        if self._storage.folder is None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _trial(arm: Arm, number: int) -> str:
    """Those of the search arm are plain numbers."""
    return f"{number:04d}" if arm == "search" else f"{arm}-{number:04d}"


def _attempt(arm: Arm, number: int, attempt: int) -> str:
    return f"{_trial(arm, number)}/attempt-{attempt}"


def _number(attempt: str) -> int:
    return int(attempt.rpartition("-")[2])
