"""Where sweeps live: the home directory, and in it a directory a sweep."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from mt_sweeps import yaml_file
from mt_sweeps.errors import InputError
from mt_sweeps.explain import nearest
from mt_sweeps.spec import PLAIN_NAME, Arm, SweepSpec
from trainers.files import CHECKPOINTS

RESERVED = {"artifacts", "mlflow.db", "mlflow.lock", "trained"}
DRIVEN = "{0}: another process is driving this sweep; wait for it, or end it with `mt-sweep stop {0}`"


class SweepDirectory:
    """The files of one sweep. What is not here or in the ledger in it does not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.spec = path / "spec.yaml"
        self.environment = path / "environment.json"
        self.ledger = path / "ledger.db"
        self.lock = path / "driver.lock"
        self.stop = path / "stop"
        self.best = path / "best.yaml"
        self.report = path / "report.html"

    @property
    def resume(self) -> str:
        """What to type to go on with it."""
        return typed("resume", self.name, Home(self.path.parent))

    def trial(self, arm: Arm, number: int) -> Path:
        """The directory of a trial; those of the search arm are plain numbers."""
        return self.path / "trials" / (f"{number:04d}" if arm == "search" else f"{arm}-{number:04d}")

    def attempt(self, arm: Arm, number: int, attempt: int) -> Path:
        """The directory of one attempt at a trial: an attempt that was given up cannot write into the next."""
        return self.trial(arm, number) / f"attempt-{attempt}"

    def last_checkpoint(self, arm: Arm, number: int, before: int) -> Path | None:
        """The directory of the latest attempt before number `before` that left a checkpoint, if any did."""
        for attempt in range(before - 1, 0, -1):
            if any((self.attempt(arm, number, attempt) / name).exists() for name in CHECKPOINTS):
                return self.attempt(arm, number, attempt)
        return None

    def newest(self, arm: Arm, number: int, file: str) -> Path | None:
        """The directory of the latest attempt that has such a file, if any has: the last may not have come so far."""
        found = self.trial(arm, number).glob(f"attempt-*/{file}")
        return max((path.parent for path in found), key=lambda path: int(path.name.partition("-")[2]), default=None)

    def drop_checkpoints(self, arm: Arm, number: int) -> None:
        """The full training state is kept only while a trial is unfinished."""
        for name in CHECKPOINTS:
            for file in self.trial(arm, number).glob(f"attempt-*/{name}"):
                file.unlink(missing_ok=True)

    def load_spec(self) -> SweepSpec:
        """The specification that the sweep was started with.

        Raises:
            InputError: another version wrote it.
        """
        try:
            return SweepSpec.model_validate(yaml_file.read(self.spec))
        except ValidationError as error:
            raise InputError(
                f"{self.spec}: does not fit this version ({error.errors()[0]['msg']}); use the version that wrote it"
            ) from None


class Home:
    """The home directory: `--home`, or `MT_SWEEP_HOME`, or `./sweeps`.

    Args:
        path: what was given on the command line, if anything.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = Path(path or os.environ.get("MT_SWEEP_HOME") or "sweeps").expanduser().absolute()
        self.mlflow_db = self.path / "mlflow.db"
        self.artifacts = self.path / "artifacts"
        self.trained = self.path / "trained"

    def check_writable(self) -> None:
        """Make the home directory, and make sure that files can be written there.

        Raises:
            InputError: they cannot.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot be written: {error.strerror}; choose another with --home DIR"
            ) from None

    def sweeps(self) -> list[SweepDirectory]:
        """All sweeps, the newest last."""
        found = [SweepDirectory(file.parent) for file in self.path.glob("*/spec.yaml")]
        return sorted(found, key=lambda sweep: sweep.spec.stat().st_mtime)

    def sweep(self, name: str | None) -> SweepDirectory:
        """The sweep of that name; without one, the newest.

        Raises:
            InputError: there is none.
        """
        sweeps = self.sweeps()
        if not sweeps:
            raise InputError(f"{self.path}: holds no sweeps; start one with `mt-sweep run FILE`, or name --home DIR")
        if name is None:
            return sweeps[-1]
        for sweep in sweeps:
            if sweep.name == name:
                return sweep
        raise InputError(f"{name}: no such sweep in {self.path}; {nearest(name, [sweep.name for sweep in sweeps])}")

    def claim(self, name: str | None, from_file: str) -> SweepDirectory:
        """A new sweep's directory, made now, so that no other command takes the name."""
        while True:
            directory = self.new_sweep(name, from_file)
            try:
                directory.path.mkdir(parents=True)
            except FileExistsError:  # another command was quicker: look again
                continue
            return directory

    def new_sweep(self, name: str | None, from_file: str) -> SweepDirectory:
        """A name for a new sweep; its directory is not made yet.

        Args:
            name: asked for on the command line, if any; it must be free.
            from_file: the name in the file; `-2`, `-3`, ... is added until it is free.

        Raises:
            InputError: the name asked for is taken or no plain name.
        """
        if name is not None:
            if not re.fullmatch(PLAIN_NAME, name) or name in RESERVED:
                raise InputError(f"--name {name}: is no plain name, or reserved; use letters, digits, '.', '_' and '-'")
            directory = SweepDirectory(self.path / name)
            if directory.spec.exists():
                raise InputError(
                    f"--name {name}: there is a sweep of this name in {self.path}; go on with it by "
                    f"`mt-sweep resume {name}`, or choose another name"
                )
            if directory.path.exists():
                raise InputError(
                    f"--name {name}: {directory.path} is no sweep, or one that ended before it began; remove it, or "
                    "choose another name"
                )
            return directory
        number, free = 1, from_file
        while (self.path / free).exists() or free in RESERVED:
            number += 1
            free = f"{from_file}-{number}"
        return SweepDirectory(self.path / free)


def typed(command: str, arguments: str, home: Home) -> str:
    """A command as the user of this home directory types it."""
    program = "uv run mt-sweep" if "UV_RUN_RECURSION_DEPTH" in os.environ else "mt-sweep"
    option = "" if home.path == Home().path else f"--home {home.path}"
    return " ".join(word for word in (program, command, arguments, option) if word)


@contextmanager
def only_one(lock: Path, refusal: str) -> Iterator[None]:
    """Within it, this process is the only one that holds the lock: one of the kernel, gone with its holder.

    Raises:
        InputError: another process holds it; with `refusal` as its words.
    """
    held = FileLock(lock, timeout=2)  # `status` takes it for a moment, to see whether it is free
    try:
        held.acquire()
    except Timeout:
        raise InputError(refusal) from None
    try:
        yield
    finally:
        held.release()


def is_held(lock: Path) -> bool:
    """Whether a process is within `only_one` of this lock."""
    try:
        with FileLock(lock, blocking=False):
            return False
    except Timeout:
        return True
    except PermissionError:  # somebody else's sweep, which one may only read
        return False
