"""The files of a sweep's trials: checkpoints, records and best models, in one folder per attempt.

An attempt that was given up cannot write into the folder of the next one. A worker trains in a folder on its own
machine: the attempt's folder itself, or, if the trials are kept in an object store, a temporary one whose new files are
uploaded after each evaluation.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mt_sweeps.spec.arms import TrialId
from mt_sweeps.storage import records
from mt_sweeps.storage.file_store import FileStore, open_files
from trainers.files import BEST_MODEL, CHECKPOINT, CHECKPOINTS, PREVIOUS_CHECKPOINT, write_atomically
from trainers.report import Report

PICTURES = "pictures.json"  # small ones, for the report


class TrialFiles:
    """The files of all trials of one sweep.

    Args:
        location: a folder, or `s3://bucket/prefix`.
        files: opens a location.
    """

    def __init__(self, location: str, files: Callable[[str], FileStore] = open_files) -> None:
        self._files = files(location)
        self.location = self._files.location

    def address(self, trial: TrialId, attempt: int) -> str:
        """Return the location of an attempt, which `AttemptDirectory` takes."""
        return f"{self.location}/{_folder(trial, attempt)}"

    def last_checkpoint(self, trial: TrialId, before: int) -> str | None:
        """Return the address of the latest attempt before attempt `before` that left a checkpoint, if any did."""
        attempts = [number for number, names in self._attempts(trial).items() if names & {*CHECKPOINTS}]
        last = max((number for number in attempts if number < before), default=None)
        return None if last is None else self.address(trial, last)

    def records(self, trial: TrialId, attempt: int | None = None) -> list[Report]:
        """Return the records of an attempt, which has those of the attempts before it too.

        Records may be newer than the last checkpoint: a record is never replaced.

        Args:
            trial: of which trial.
            attempt: None: the latest that has a file of them. The very last one has none if it was lost early.
        """
        attempts = [number for number, names in self._attempts(trial).items() if records.FILE in names]
        if attempt is not None:
            attempts = [number for number in attempts if number == attempt]
        if not attempts:
            return []
        path = f"{_folder(trial, max(attempts))}/{records.FILE}"
        return records.parse(self._files.read(path) or b"", f"{self.location}/{path}")

    def begin(self, trial: TrialId, attempt: int, known: list[Report]) -> None:
        """Write the records of earlier attempts into the folder of a new one."""
        self._files.write(f"{_folder(trial, attempt)}/{records.FILE}", records.text(known).encode())

    def has_model(self, trial: TrialId) -> bool:
        """Return True if the best model of a trial is kept."""
        return any(BEST_MODEL in names for names in self._attempts(trial).values())

    @contextmanager
    def model(self, trial: TrialId) -> Iterator[Path]:
        """Yield the best model of a trial as a file on this machine, which lasts as long as the block."""
        newest = max(number for number, names in self._attempts(trial).items() if BEST_MODEL in names)
        path = f"{_folder(trial, newest)}/{BEST_MODEL}"
        if self._files.folder is not None:
            yield self._files.folder / path
            return
        with tempfile.TemporaryDirectory(prefix="mt-sweeps-") as folder:
            file = Path(folder) / BEST_MODEL
            file.write_bytes(self._files.read(path) or b"")
            yield file

    def pictures(self, trial: TrialId) -> bytes | None:
        """Return the content of the file with the pictures of a trial, or None if there is none."""
        attempts = [number for number, names in self._attempts(trial).items() if PICTURES in names]
        return self._files.read(f"{_folder(trial, max(attempts))}/{PICTURES}") if attempts else None

    def drop_model(self, trial: TrialId) -> None:
        """Delete the best model of a trial: MLflow has it, or it is not wanted."""
        self._drop(trial, (BEST_MODEL,))

    def drop_checkpoints(self, trial: TrialId) -> None:
        """Delete the checkpoints of a trial, which are only needed while it is unfinished."""
        self._drop(trial, CHECKPOINTS)

    def drop_pictures(self, trial: TrialId) -> None:
        """Delete the pictures of a trial: they are shown of the best alone."""
        self._drop(trial, (PICTURES,))

    def delete(self) -> None:
        """Delete the files of every trial."""
        self._files.delete_all()

    def _drop(self, trial: TrialId, dropped: tuple[str, ...]) -> None:
        for attempt, names in self._attempts(trial).items():
            for name in names & {*dropped}:
                self._files.delete(f"{_folder(trial, attempt)}/{name}")

    def _attempts(self, trial: TrialId) -> dict[int, set[str]]:
        """Return the names of the files of each attempt."""
        attempts: dict[int, set[str]] = {}
        for path in self._files.names(trial.slug):
            folder, _, name = path.partition("/")
            if match := re.fullmatch(r"attempt-(\d+)", folder):
                attempts.setdefault(int(match[1]), set()).add(name)
        return attempts


class AttemptDirectory:
    """The folder in which a worker trains one attempt.

    Args:
        address: where the attempt is kept, from `TrialFiles.address`.
        previous: the address of an earlier attempt whose checkpoint this one resumes from.
        files: opens a location.

    Attributes:
        path: the folder, on this machine.
    """

    def __init__(self, address: str, previous: str | None, files: Callable[[str], FileStore] = open_files) -> None:
        self._files = files(address)
        self._uploaded: dict[str, tuple[int, int]] = {}
        self._scratch: Path | None = None
        if self._files.folder is not None:
            self.path = self._files.folder
            self.path.mkdir(parents=True, exist_ok=True)
        else:
            self._scratch = Path(tempfile.mkdtemp(prefix="mt-sweeps-"))
            self.path = self._scratch.joinpath(*Path(address).parts[-2:])  # named as the attempt is
            self.path.mkdir(parents=True)
            known = self._files.read(records.FILE)
            if known is not None:
                write_atomically(self.path / records.FILE, known)
        # The newest checkpoint first: an attempt that is killed in between must not fall back to the one before it.
        for name in (BEST_MODEL, *reversed(CHECKPOINTS)):
            content = files(previous).read(name) if previous is not None else None
            if content is not None:
                write_atomically(self.path / name, content)

    def upload(self) -> None:
        """Send new files to where the attempt is kept, in an order in which each can be rebuilt from those before it.

        Raises:
            StorageUnavailable: the object store has not answered for a long time.
        """
        if self._scratch is None:
            return
        for name in (PICTURES, BEST_MODEL, CHECKPOINT, records.FILE):
            file = self.path / name
            if not file.exists():
                continue
            stat = file.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            if self._uploaded.get(name) != version:
                if name == CHECKPOINT:
                    self._files.copy(CHECKPOINT, PREVIOUS_CHECKPOINT)
                self._files.write(name, file.read_bytes())
                self._uploaded[name] = version

    def write_error(self, error: str) -> None:
        """Write the traceback of a failure beside the attempt's files, if that is possible."""
        if not self.path.is_dir():  # removed with its sweep, and not to be made again
            return
        with suppress(OSError):  # the disk may be full
            self._files.write("error.txt", error.encode())

    def close(self) -> None:
        """Delete the temporary folder on this worker, if there is one."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _folder(trial: TrialId, attempt: int) -> str:
    return f"{trial.slug}/attempt-{attempt}"
