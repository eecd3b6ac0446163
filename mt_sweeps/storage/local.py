"""Sweeps in folders of this machine: one folder per sweep, with a file for everything that is kept of it."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from mt_sweeps.errors import InputError
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage import home as homes
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.home import Home, SweepStore, local_folder, parse_spec
from trainers.files import write_atomically


class LocalHome(Home):
    """A folder with one folder per sweep: `--home`, `MT_SWEEP_HOME` or `./sweeps`.

    Args:
        path: as typed, if it was.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        folder = local_folder(path)
        super().__init__(folder, str(folder))

    def sweeps(self) -> Sequence["LocalSweep"]:
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

    def _store(self, name: str) -> "LocalSweep":
        return LocalSweep(self, name)

    def _is_taken(self, name: str) -> bool:
        return (self.path / name).exists()


class LocalSweep(SweepStore):
    """One sweep in a folder of its home."""

    def __init__(self, home: Home, name: str) -> None:
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


@contextmanager
def exclusive(file: Path, refusal: str) -> Iterator[None]:
    """Hold a lock of the kernel, which ends with its holder.

    Args:
        file: that is locked; its folder must exist.
        refusal: the message of the error.

    Raises:
        InputError: another process has held the lock for `LOCK_SECONDS`.
    """
    lock = FileLock(file, timeout=homes.LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(refusal) from None
    try:
        yield
    finally:
        lock.release()


def is_held(file: Path) -> bool:
    """Return True if a process holds the lock of `exclusive`."""
    try:
        with FileLock(file, blocking=False):
            return False
    except Timeout:
        return True
    except PermissionError:  # somebody else's sweep, which this user may only read
        return False
