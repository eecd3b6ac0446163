"""Where sweeps live: the home directory, and in it a directory a sweep."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from mt_sweeps.errors import InputError, did_you_mean
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.sweep_spec import PLAIN_NAME, SweepSpec
from mt_sweeps.storage.trial_files import TrialFiles
from trainers.files import write_atomically

HERE = "sweeps"
VARIABLE = "MT_SWEEP_HOME"
DATABASE = "postgresql://"
RESERVED = {"artifacts", "mlflow.db", "mlflow.lock", "trained"}
ALREADY_DRIVEN = "{0}: another process is driving this sweep; wait for it, or end it with `mt-sweep stop {0}`"


class SweepStore:
    """One sweep in a folder of its home directory. What is not here, in its ledger or with its trials does not exist.

    Attributes:
        name: of the sweep.
        path: of the folder.
        best, report: files that are made for people, and can be made again.
    """

    def __init__(self, home: "Home", name: str) -> None:
        self.home = home
        self.name = name
        self.path = home.path / name
        self.best = self.path / "best.yaml"
        self.report = self.path / "report.html"
        self._spec = self.path / "spec.yaml"
        self._environment = self.path / "environment.json"
        self._lock = self.path / "driver.lock"
        self._stop = self.path / "stop"

    @property
    def exists(self) -> bool:
        """Whether the sweep was begun."""
        return self._spec.exists()

    @property
    def told(self) -> str:
        """Where it is, for people."""
        return str(self.path)

    @property
    def resume(self) -> str:
        """What to type to go on with it."""
        return command_line("resume", self.name, self.home)

    @property
    def ledger(self) -> Path | str:
        """Where its ledger is, as `Ledger` takes it."""
        return self.path / "ledger.db"

    @cached_property
    def trials(self) -> TrialFiles:
        """The files of its trials."""
        storage = self.load_spec().storage
        place = f"{storage}/{self.name}-{self.load_environment()['id'][:8]}" if storage else f"{self.path / 'trials'}"
        return TrialFiles(place)

    def load_spec(self) -> SweepSpec:
        """The specification that the sweep was started with.

        Raises:
            InputError: another version wrote it.
        """
        return parse_spec(yaml_file.read(self._spec), str(self._spec))

    def spec_text(self) -> str:
        """The same, as it is kept: YAML."""
        return self._spec.read_text(encoding="utf-8")

    def save_spec(self, spec: SweepSpec) -> None:
        """From now on the sweep is there for other commands."""
        write_atomically(self._spec, yaml_file.dump(spec.model_dump(exclude_none=True)))

    def load_environment(self) -> dict[str, Any]:
        """What was written down of the machine, the images and the versions when the sweep began."""
        found: dict[str, Any] = json.loads(self._environment.read_text())
        return found

    def save_environment(self, environment: dict[str, Any]) -> None:
        """As `load_environment` returns it."""
        write_atomically(self._environment, json.dumps(environment, indent=2) + "\n")

    @contextmanager
    def only_one(self, refusal: str) -> Iterator[None]:
        """Within it, this process is the only one that drives, completes or removes the sweep.

        Raises:
            InputError: another process does; with `refusal` as its words.
        """
        with exclusive(self._lock, refusal):
            yield

    def check_lock(self) -> None:
        """Within `only_one`: it still holds. A lock of the kernel always does."""

    @property
    def is_driven(self) -> bool:
        """Whether a process is within `only_one`."""
        return is_held(self._lock)

    def ask_to_stop(self) -> None:
        """Have the driver end, wherever it runs."""
        self._stop.touch()

    def is_asked_to_stop(self) -> bool:
        """Whether somebody has."""
        return self._stop.exists()

    def forget_stop(self) -> None:
        """It was said to a driver that is gone."""
        self._stop.unlink(missing_ok=True)

    def delete(self) -> None:
        """Remove all that is kept of the sweep."""
        self._spec.unlink(missing_ok=True)  # first: without it the rest is no sweep any more
        shutil.rmtree(self.path, ignore_errors=True)


class Home:
    """The home directory: `--home`, or `MT_SWEEP_HOME`, or `./sweeps`.

    Args:
        path: what was given on the command line, if anything.

    Attributes:
        path: the directory.
        where: the sweeps are, as it is typed.
    """

    is_shared = False  # whether other machines reach it

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path or os.environ.get(VARIABLE) or HERE).expanduser().absolute()
        self.where = str(self.path)
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

    def sweeps(self) -> list[SweepStore]:
        """All sweeps, the newest last."""
        found = sorted(self.path.glob("*/spec.yaml"), key=lambda file: file.stat().st_mtime)
        return [SweepStore(self, file.parent.name) for file in found]

    def sweep(self, name: str | None) -> SweepStore:
        """The sweep of that name; without one, the newest.

        Raises:
            InputError: there is none.
        """
        sweeps = self.sweeps()
        if not sweeps:
            raise InputError(f"{self.where}: holds no sweeps; start one with `mt-sweep run FILE`, or name --home DIR")
        if name is None:
            return sweeps[-1]
        for sweep in sweeps:
            if sweep.name == name:
                return sweep
        raise InputError(
            f"{name}: no such sweep in {self.where}; {did_you_mean(name, [sweep.name for sweep in sweeps])}"
        )

    def claim(self, name: str | None, from_file: str) -> SweepStore:
        """A new sweep's directory, made now, so that no other command takes the name."""
        while True:
            directory = self.new_sweep(name, from_file)
            try:
                directory.path.mkdir(parents=True)
            except FileExistsError:  # another command was quicker: look again
                continue
            return directory

    def new_sweep(self, name: str | None, from_file: str) -> SweepStore:
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
            directory = self._at(name)
            if self._is_taken(name):
                raise InputError(
                    f"--name {name}: there is a sweep of this name in {self.where}; go on with it by "
                    f"`mt-sweep resume {name}`, or choose another name"
                    if directory.exists
                    else f"--name {name}: {self._at(name).path} is no sweep, or one that ended before it began; remove "
                    "it, or choose another name"
                )
            return directory
        number, free = 1, from_file
        while self._is_taken(free) or free in RESERVED:
            number += 1
            free = f"{from_file}-{number}"
        return self._at(free)

    def _at(self, name: str) -> SweepStore:
        return SweepStore(self, name)

    def _is_taken(self, name: str) -> bool:
        return (self.path / name).exists()


def command_line(command: str, arguments: str, home: Home) -> str:
    """A command as the user of this home directory types it."""
    program = "uv run mt-sweep" if "UV_RUN_RECURSION_DEPTH" in os.environ else "mt-sweep"
    option = "" if home.where in (os.environ.get(VARIABLE), Home().where) else f"--home {home.where}"
    return " ".join(word for word in (program, command, arguments, option) if word)


def parse_spec(content: Any, source: str) -> SweepSpec:
    """A specification as it was kept; `source` names it in the error that another version wrote it."""
    try:
        return SweepSpec.model_validate(content)
    except ValidationError as error:
        raise InputError(
            f"{source}: does not fit this version ({error.errors()[0]['msg']}); use the version that wrote it"
        ) from None


@contextmanager
def exclusive(lock: Path, refusal: str) -> Iterator[None]:
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
