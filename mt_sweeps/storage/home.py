"""Where sweeps live: a home, and in it one store per sweep. Here: in folders. `postgres` has those in a database."""

import json
import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from mt_sweeps.errors import InputError, did_you_mean
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.sweep_spec import PLAIN_NAME, SweepSpec
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.trial_files import TrialFiles
from trainers.files import write_atomically

HERE = "sweeps"
VARIABLE = "MT_SWEEP_HOME"
DATABASE = "postgresql://"
RESERVED = {"artifacts", "mlflow.db", "mlflow.lock", "trained"}
ALREADY_DRIVEN = "{0}: another process is driving this sweep; wait for it, or end it with `mt-sweep stop {0}`"


class SweepStore(ABC):
    """What is kept of one sweep beside its ledger and the files of its trials. Anything else does not exist.

    Args:
        home: holds the sweep.
        name: of the sweep.

    Attributes:
        path: a folder on this machine for files that people read.
        best: `best.yaml`, which can be written again at any time.
        report: `report.html`, likewise.
    """

    def __init__(self, home: "Home", name: str) -> None:
        self.home = home
        self.name = name
        self.path = home.path / name
        self.best = self.path / "best.yaml"
        self.report = self.path / "report.html"

    @property
    @abstractmethod
    def exists(self) -> bool:
        """Whether the sweep was begun."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the sweep is, for people."""

    @property
    @abstractmethod
    def ledger(self) -> Path | str:
        """Where the ledger is, as `Ledger` takes it."""

    @property
    def resume_command(self) -> str:
        """The command that resumes the sweep."""
        return command_line("resume", self.name, self.home)

    @cached_property
    def trials(self) -> TrialFiles:
        """The files of its trials."""
        storage = self.load_spec().storage
        default = str(self.path / "trials")
        return TrialFiles(f"{storage}/{self.name}-{self.load_environment().id[:8]}" if storage else default)

    @abstractmethod
    def spec_text(self) -> str:
        """Return the specification that the sweep was started with, as YAML."""

    @abstractmethod
    def load_spec(self) -> SweepSpec:
        """Return the specification that the sweep was started with.

        Raises:
            InputError: another version wrote it.
        """

    @abstractmethod
    def save_spec(self, spec: SweepSpec) -> None:
        """Write the specification; with it, the sweep exists for other commands."""

    @abstractmethod
    def load_environment(self) -> Environment:
        """Return the environment in which the sweep began."""

    @abstractmethod
    def save_environment(self, environment: Environment) -> None:
        """Write the environment."""

    @abstractmethod
    def exclusive(self, refusal: str) -> AbstractContextManager[None]:
        """Hold the lock of the sweep: within the block, no other process drives, completes or removes it.

        Args:
            refusal: what the error says.

        Raises:
            InputError: another process holds the lock.
        """

    @abstractmethod
    def check_lock(self) -> None:
        """Make sure, within `exclusive`, that the lock is still held.

        Raises:
            Unfinished: another process has taken it.
        """

    @property
    @abstractmethod
    def is_driven(self) -> bool:
        """Whether a process holds the lock."""

    @abstractmethod
    def request_stop(self) -> None:
        """Ask the driver to end, wherever it runs."""

    @abstractmethod
    def is_stop_requested(self) -> bool:
        """Return True if somebody has asked the driver to end."""

    @abstractmethod
    def clear_stop_request(self) -> None:
        """Forget a request to stop: it was for a driver that is gone."""

    @abstractmethod
    def delete(self) -> None:
        """Delete all that is kept of the sweep."""


class LocalSweep(SweepStore):
    """One sweep in a folder of its home."""

    def __init__(self, home: "Home", name: str) -> None:
        super().__init__(home, name)
        self._spec = self.path / "spec.yaml"
        self._environment = self.path / "environment.json"
        self._lock = self.path / "driver.lock"
        self._stop = self.path / "stop"

    @property
    def exists(self) -> bool:
        return self._spec.exists()

    @property
    def location(self) -> str:
        return str(self.path)

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.db"

    def spec_text(self) -> str:
        return self._spec.read_text(encoding="utf-8")

    def load_spec(self) -> SweepSpec:
        return parse_spec(yaml_file.read(self._spec), str(self._spec))

    def save_spec(self, spec: SweepSpec) -> None:
        write_atomically(self._spec, yaml_file.dump(spec.model_dump(exclude_none=True)))

    def load_environment(self) -> Environment:
        return Environment(**json.loads(self._environment.read_text()))

    def save_environment(self, environment: Environment) -> None:
        write_atomically(self._environment, json.dumps(asdict(environment), indent=2) + "\n")

    def exclusive(self, refusal: str) -> AbstractContextManager[None]:
        return exclusive(self._lock, refusal)

    def check_lock(self) -> None:
        """The kernel holds this lock for as long as the process lives."""

    @property
    def is_driven(self) -> bool:
        return is_held(self._lock)

    def request_stop(self) -> None:
        self._stop.touch()

    def is_stop_requested(self) -> bool:
        return self._stop.exists()

    def clear_stop_request(self) -> None:
        self._stop.unlink(missing_ok=True)

    def delete(self) -> None:
        self._spec.unlink(missing_ok=True)  # first: without it, the rest is no sweep
        shutil.rmtree(self.path, ignore_errors=True)


class Home(ABC):
    """Holds sweeps. What people read of them (reports, MLflow's files, final models) is in a folder on this machine.

    Args:
        path: of that folder.
        address: where the sweeps are, as the user types it.

    Attributes:
        mlflow_db: the database of the embedded MLflow.
        artifacts: its folder of files.
        trained: the folder of final trainings.
        is_shared: whether other machines reach the sweeps.
    """

    is_shared = False

    def __init__(self, path: Path, address: str) -> None:
        self.path = path
        self.address = address
        self.mlflow_db = self.path / "mlflow.db"
        self.artifacts = self.path / "artifacts"
        self.trained = self.path / "trained"

    @abstractmethod
    def sweeps(self) -> Sequence[SweepStore]:
        """Return all sweeps, the newest last."""

    @abstractmethod
    def create_sweep(self, name: str | None, from_file: str) -> SweepStore:
        """Create the store of a new sweep, so that no other command takes its name; arguments as for `new_sweep`."""

    @abstractmethod
    def _store(self, name: str) -> SweepStore:
        """Return the store of a sweep, whether it exists or not."""

    @abstractmethod
    def _is_taken(self, name: str) -> bool:
        """Return True if a new sweep cannot have this name."""

    def check_writable(self) -> None:
        """Make the folder, and make sure that files can be written there.

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

    def sweep(self, name: str | None) -> SweepStore:
        """Return the sweep of that name; without a name, the newest.

        Raises:
            InputError: there is no such sweep.
        """
        sweeps = self.sweeps()
        if not sweeps:
            raise InputError(f"{self.address}: holds no sweeps; start one with `mt-sweep run FILE`, or name --home DIR")
        if name is None:
            return sweeps[-1]
        for sweep in sweeps:
            if sweep.name == name:
                return sweep
        known = [sweep.name for sweep in sweeps]
        raise InputError(f"{name}: no such sweep in {self.address}; {did_you_mean(name, known)}")

    def new_sweep(self, name: str | None, from_file: str) -> SweepStore:
        """Choose the name of a new sweep; nothing is created yet.

        Args:
            name: as typed, if it was; it must be free.
            from_file: the name in the file; `-2`, `-3`, ... is added until it is free.

        Raises:
            InputError: the typed name is taken or is no plain name.
        """
        if name is not None:
            if not re.fullmatch(PLAIN_NAME, name) or name in RESERVED:
                raise InputError(f"--name {name}: is no plain name, or reserved; use letters, digits, '.', '_' and '-'")
            store = self._store(name)
            if self._is_taken(name):
                raise InputError(
                    f"--name {name}: there is a sweep of this name in {self.address}; resume it with "
                    f"`mt-sweep resume {name}`, or choose another name"
                    if store.exists
                    else f"--name {name}: {store.path} is no sweep, or one that ended before it began; remove it, or "
                    "choose another name"
                )
            return store
        number, free = 1, from_file
        while self._is_taken(free) or free in RESERVED:
            number += 1
            free = f"{from_file}-{number}"
        return self._store(free)


class LocalHome(Home):
    """A folder with one folder per sweep: `--home`, `MT_SWEEP_HOME` or `./sweeps`.

    Args:
        path: as typed, if it was.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        folder = Path(path or os.environ.get(VARIABLE) or HERE).expanduser().absolute()
        super().__init__(folder, str(folder))

    def sweeps(self) -> Sequence[LocalSweep]:
        specs = sorted(self.path.glob("*/spec.yaml"), key=lambda file: file.stat().st_mtime)
        return [LocalSweep(self, file.parent.name) for file in specs]

    def create_sweep(self, name: str | None, from_file: str) -> SweepStore:
        while True:
            sweep = self.new_sweep(name, from_file)
            try:
                sweep.path.mkdir(parents=True)
            except FileExistsError:  # another command was quicker: choose again
                continue
            return sweep

    def _store(self, name: str) -> LocalSweep:
        return LocalSweep(self, name)

    def _is_taken(self, name: str) -> bool:
        return (self.path / name).exists()


def command_line(command: str, arguments: str, home: Home) -> str:
    """Return a command as the user of this home types it."""
    program = "uv run mt-sweep" if "UV_RUN_RECURSION_DEPTH" in os.environ else "mt-sweep"
    option = "" if home.address in (os.environ.get(VARIABLE), LocalHome().address) else f"--home {home.address}"
    return " ".join(word for word in (program, command, arguments, option) if word)


def parse_spec(content: Any, source: str) -> SweepSpec:
    """Validate a specification that was kept with a sweep.

    Args:
        content: what the YAML holds.
        source: what to call it in an error.

    Raises:
        InputError: another version wrote it.
    """
    try:
        return SweepSpec.model_validate(content)
    except ValidationError as error:
        raise InputError(
            f"{source}: does not fit this version ({error.errors()[0]['msg']}); use the version that wrote it"
        ) from None


@contextmanager
def exclusive(lock: Path, refusal: str) -> Iterator[None]:
    """Hold a lock of the kernel, which vanishes with its holder.

    Args:
        lock: a file.
        refusal: what the error says.

    Raises:
        InputError: another process holds the lock.
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
    """Return True if a process holds the lock of `exclusive`."""
    try:
        with FileLock(lock, blocking=False):
            return False
    except Timeout:
        return True
    except PermissionError:  # somebody else's sweep, which this user may only read
        return False
