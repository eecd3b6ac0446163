"""What a home of sweeps and the store of one sweep must do. `local` keeps them in folders, `postgres` in a database."""

import os
import re
import shlex
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mt_sweeps.errors import InputError, did_you_mean
from mt_sweeps.plugins import check_plugins, plugin_options
from mt_sweeps.program import program
from mt_sweeps.spec import validation_errors
from mt_sweeps.spec.sweep_spec import PLAIN_NAME, SweepSpec
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.folder import HOME_VARIABLE, local_folder
from mt_sweeps.storage.requests import Request
from mt_sweeps.storage.trial_files import TrialFiles

RESERVED = {"artifacts", "mlflow.db", "mlflow.lock", "trained"}
LOCK_SECONDS = 2.0  # that a lock is waited for: `status` takes it for a moment, to see whether it is free


class SweepStore(ABC):
    """All that is kept of one sweep, except its ledger and the files of its trials.

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
        """True once a specification was saved."""

    @property
    @abstractmethod
    def location(self) -> str:
        """Where the sweep is, for people."""

    @property
    @abstractmethod
    def ledger(self) -> Path | str:
        """Where the ledger is, as `Ledger` takes it."""

    def command(self, name: str, *arguments: str) -> str:
        """Return a command as the user types it, with the plugins of the sweep.

        Args:
            name: of the command.
            arguments: none: the name of the sweep.
        """
        options = plugin_options(self.load_environment().versions)
        return command_line(self.home, name, *(arguments or (self.name,)), *options)

    @property
    def resume_command(self) -> str:
        """The command that resumes the sweep."""
        return self.command("resume")

    @property
    def already_driven(self) -> str:
        """Why the sweep cannot be driven by a second process, and what to do."""
        command = command_line(self.home, "stop", self.name)
        return f"{self.name}: another process is driving this sweep; wait for it, or end it with `{command}`"

    @property
    def is_gone(self) -> bool:
        """True if the folder of a sweep that this process drives was removed or moved meanwhile."""
        return False

    @property
    def gone_text(self) -> str:
        """The sentence that ends the driver of a sweep whose folder is gone."""
        return (
            f"{self.path}: was removed or moved while the sweep ran, so the sweep has ended; if it was moved, name its "
            f"new home: `{program()} resume {self.name} --home DIR`"
        )

    def check_plugins(self) -> None:
        """Make sure that the plugins of the sweep are imported.

        Raises:
            InputError: one is not.
        """
        check_plugins(self.name, self.load_environment().versions)

    @cached_property
    def trials(self) -> TrialFiles:
        """The files of its trials."""
        storage = self.load_spec().storage
        default = str(self.path / "trials")
        return TrialFiles(f"{storage}/{self.name}-{self.load_environment().id[:8]}" if storage else default)

    @abstractmethod
    def spec_text(self) -> str:
        """Return the specification that was saved, as YAML."""

    @abstractmethod
    def load_spec(self) -> SweepSpec:
        """Return the specification that was saved.

        Raises:
            InputError: it is damaged, or another version wrote it.
        """

    @abstractmethod
    def save_spec(self, spec: SweepSpec) -> None:
        """Save or replace the specification. From then on the sweep exists for other commands."""

    @abstractmethod
    def load_environment(self) -> Environment:
        """Return the environment in which the sweep began.

        Raises:
            InputError: it is damaged.
        """

    @abstractmethod
    def save_environment(self, environment: Environment) -> None:
        """Save the environment in which the sweep begins. Call this before `save_spec`."""

    @abstractmethod
    def exclusive(self, refusal: str) -> AbstractContextManager[None]:
        """Hold the lock of the sweep: within the block, no other process drives, syncs or removes it.

        The lock ends with the block, or with the process.

        Args:
            refusal: the message of the error.

        Raises:
            InputError: another process has held the lock for `LOCK_SECONDS`, or the sweep was removed meanwhile.
        """

    @abstractmethod
    def check_lock(self) -> None:
        """Make sure, within `exclusive`, that the lock is still held.

        Raises:
            Unfinished: another process has taken it, or the sweep was removed or moved.
        """

    @property
    @abstractmethod
    def is_driven(self) -> bool:
        """True while a process holds the lock."""

    @abstractmethod
    def request_stop(self) -> None:
        """Ask the driver to end, on whichever machine it runs."""

    @abstractmethod
    def is_stop_requested(self) -> bool:
        """Return True if somebody has asked the driver to end."""

    @abstractmethod
    def clear_stop_request(self) -> None:
        """Forget a request to stop, if there is one."""

    @abstractmethod
    def add_request(self, request: Request) -> None:
        """Leave a request for the driver, or for the next one. It is there whole or not at all.

        Raises:
            InputError: it cannot be written.
        """

    @abstractmethod
    def requests(self) -> list[Request]:
        """Return the requests that are left, in their order. What is damaged is none."""

    @abstractmethod
    def remove_request(self, request: Request) -> None:
        """Remove a request, if it is there: what it asks for is in the ledger, or cannot be done."""

    @abstractmethod
    def delete(self) -> None:
        """Delete all that is kept of the sweep, and its ledger. Its name is free again, other sweeps stay."""


class Home(ABC):
    """Holds sweeps. What people read of them (reports, MLflow's files, final models) is in a folder on this machine.

    Args:
        path: of that folder.
        address: where the sweeps are, as the user types it.

    Attributes:
        mlflow_db: the database of the embedded MLflow.
        artifacts: its folder of files.
        trained: the folder of final trainings.
        is_shared: True if other machines reach the sweeps.
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
        """Return all sweeps that exist, the newest last."""

    @abstractmethod
    def create_sweep(self, name: str | None, from_file: str) -> SweepStore:
        """Create the store of a new sweep, so that no other command takes its name; arguments as for `new_sweep`."""

    @abstractmethod
    def _store(self, name: str) -> SweepStore:
        """Return the store of a sweep, whether it exists or not."""

    @abstractmethod
    def _is_taken(self, name: str) -> bool:
        """Return True if a new sweep cannot have this name."""

    def _check_damage(self, name: str) -> None:  # noqa: B027 (a database has no sweeps without a specification)
        """Raise an error if there are parts of a sweep of this name, but no specification.

        Raises:
            InputError: there are.
        """

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
        for sweep in reversed(sweeps):
            if name is None or sweep.name == name:
                return sweep
        if name is not None:
            self._check_damage(name)
        is_file = name is not None and (name.endswith((".yaml", ".yml")) or Path(name).is_file())
        if not sweeps:
            run = command_line(self, "run", name if name is not None and is_file else "FILE")
            raise InputError(f"{self.address}: holds no sweeps; start one with `{run}`, or name --home DIR")
        assert name is not None  # else it is the newest
        known = [sweep.name for sweep in sweeps]
        if is_file:
            raise InputError(
                f"{name}: is a file, and the name of a sweep is needed here; {did_you_mean(Path(name).stem, known)}; "
                f"to start one with this file: `{command_line(self, 'run', name)}`"
            )
        raise InputError(f"{name}: no such sweep in {self.address}; {did_you_mean(Path(name).name, known)}")

    def new_sweep(self, name: str | None, from_file: str) -> SweepStore:
        """Choose the name of a new sweep; nothing is created yet.

        Args:
            name: as typed, if it was; it must be free.
            from_file: the name in the file; `-2`, `-3`, ... is added until it is free.

        Raises:
            InputError: the typed name is taken or is no plain name.
        """
        if name is None:
            number, free = 1, from_file
            while self._is_taken(free) or free in RESERVED:
                number += 1
                free = f"{from_file}-{number}"
            return self._store(free)
        if not re.fullmatch(PLAIN_NAME, name) or name in RESERVED:
            raise InputError(f"--name {name}: is no plain name, or reserved; use letters, digits, '.', '_' and '-'")
        store = self._store(name)
        if not self._is_taken(name):
            return store
        if store.exists:
            raise InputError(
                f"--name {name}: there is a sweep of this name in {self.address}; resume it with "
                f"`{command_line(self, 'resume', name)}`, or choose another name"
            )
        raise InputError(
            f"--name {name}: {store.path} is no sweep, or one that ended before it began; remove it, or choose another "
            "name"
        )


def command_line(home: Home, command: str, *arguments: str) -> str:
    """Return a command as the user of this home types it, quoted for a shell."""
    is_default = home.address in (os.environ.get(HOME_VARIABLE), str(local_folder()))
    option = [] if is_default else ["--home", home.address]
    return f"{program()} {shlex.join([command, *arguments, *option])}"


def parse_spec(content: Any, source: str, remedy: str) -> SweepSpec:
    """Validate a specification that was kept with a sweep.

    Args:
        content: the parsed YAML.
        source: what to call it in an error.
        remedy: what the user can do about damage, for the error.

    Raises:
        InputError: it is damaged, or another version wrote it.
    """
    try:
        return SweepSpec.model_validate(content)
    except ValidationError as error:
        if not isinstance(content, dict):
            raise InputError(f"{source}: is no specification of a sweep; {remedy}") from None
        problems = [f"{source}: {key}: {text}" for key, text in validation_errors.describe(error, SweepSpec, content)]
        last = f"{source}: does not fit this version: use the version of mt-sweeps that wrote it, or {remedy}"
        raise InputError(*problems, last) from None
