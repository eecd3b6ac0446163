"""Sweeps in folders of this machine: one folder per sweep, with a file for everything that is kept of it."""

import errno
import fcntl
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.sweep_spec import PLAIN_NAME, SweepSpec
from mt_sweeps.storage import home as homes
from mt_sweeps.storage.environment import ENVIRONMENT, Environment, parse_environment
from mt_sweeps.storage.folder import local_folder, sweep_names
from mt_sweeps.storage.home import Home, SweepStore, parse_spec
from mt_sweeps.storage.ledger_rows import attributes_of_file
from mt_sweeps.storage.reading import read_json, read_text
from mt_sweeps.storage.requests import Request, parse_requests
from mt_sweeps.terminal import print
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
        return [sweep for name in sweep_names(self.path) if (sweep := LocalSweep(self, name)).exists]

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

    def _check_damage(self, name: str) -> None:
        sweep = LocalSweep(self, name) if re.fullmatch(PLAIN_NAME, name) else None
        if sweep is not None and sweep.ledger.exists():
            raise InputError(
                f"{sweep.path / 'spec.yaml'}: is missing; put it back (MLflow has a copy with the sweep's run), or "
                f"remove {sweep.path}"
            )


class LocalSweep(SweepStore):
    """One sweep in a folder of its home."""

    def __init__(self, home: Home, name: str) -> None:
        super().__init__(home, name)
        self._spec = self.path / "spec.yaml"
        self._environment = self.path / "environment.json"
        self._lock = self.path / "driver.lock"
        self._stop = self.path / "stop"
        self._requests = self.path / "requests"
        self._holds_lock = False

    @property
    def exists(self) -> bool:
        return self._spec.exists() or self._spec_in_ledger() is not None

    @property
    def _remedy(self) -> str:
        """What can be done about a damaged file of the sweep."""
        return f"put back what was here (MLflow has a copy with the sweep's run), or remove {self.path}"

    @property
    def location(self) -> str:
        return str(self.path)

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.db"

    def spec_text(self) -> str:
        return self._kept_spec()[0]

    def load_spec(self) -> SweepSpec:
        return self._kept_spec()[1]

    def _kept_spec(self) -> tuple[str, SweepSpec, bool]:
        """Return the specification as text, parsed, and whether it is the copy in the ledger: the file is lost.

        The file counts as long as it may be what a person wrote. Lost is one that is missing, or that is the beginning
        of the copy.
        """
        problem, text, spec = None, "", None
        try:
            text = read_text(self._spec, self._remedy)
            spec = self._parse_spec(text)
        except InputError as error:
            problem = error
        if spec is not None and text.endswith("\n"):  # else it may have been cut off
            return text, spec, False
        if (copy := self._lost_spec()) is not None:
            return copy, self._parse_spec(copy), True
        if spec is None:
            assert problem is not None
            raise problem
        return text, spec, False

    def _parse_spec(self, text: str) -> SweepSpec:
        try:
            content = yaml_file.parse(text, str(self._spec))
        except InputError as error:
            raise InputError(f"{error}; correct it, or {self._remedy}") from None
        spec = parse_spec(content, str(self._spec), self._remedy)
        if spec.name != self.name:
            raise InputError(
                f"{self._spec}: name: is {spec.name}, and the folder of a sweep is named as the sweep; rename the "
                f"folder, or {self._remedy}"
            )
        return spec

    def save_spec(self, spec: SweepSpec) -> None:
        write_atomically(self._spec, yaml_file.dump(spec.model_dump(exclude_none=True)))

    def load_environment(self) -> Environment:
        try:
            content = read_json(self._environment, self._remedy)
            return parse_environment(content, str(self._environment), self._remedy)
        except InputError:
            if (copy := self._environment_in_ledger()) is None:
                raise
            return copy

    def save_environment(self, environment: Environment) -> None:
        write_atomically(self._environment, json.dumps(asdict(environment), indent=2) + "\n")
        if self.ledger.exists():
            from mt_sweeps.storage.rdb import open_storage  # brings Optuna

            storage = open_storage(self.ledger)
            storage.set_study_user_attr(storage.get_study_id_from_name(self.name), ENVIRONMENT, asdict(environment))
            storage.engine.dispose()

    def _environment_in_ledger(self) -> Environment | None:
        """Return the copy of the environment in the ledger, or None if there is none that can be read."""
        with suppress(InputError):
            return parse_environment(self._ledger_attributes().get(ENVIRONMENT), str(self.ledger), "")
        return None

    def _spec_in_ledger(self) -> str | None:
        """Return the copy of the specification in the ledger, as YAML, or None if there is none that can be read.

        There is none either while the sweep is created: the environment is written after the ledger.
        """
        attributes = self._ledger_attributes()
        if not (ENVIRONMENT in attributes or self._environment.exists()):
            return None
        with suppress(ValidationError):
            spec = SweepSpec.model_validate_json(attributes.get("spec", ""))
            return yaml_file.dump(spec.model_dump(exclude_none=True))
        return None

    def _lost_spec(self) -> str | None:
        """Return the copy of the specification if its file is missing or cut off, and there is a copy; else None."""
        if self._spec.exists() and not self._spec.is_file():
            return None
        copy = self._spec_in_ledger()
        with suppress(OSError, UnicodeDecodeError):
            left = self._spec.read_bytes().rstrip(b"\0").decode() if self._spec.exists() else ""
            return copy if copy is not None and copy.startswith(left) else None
        return None

    def _restore_spec(self) -> None:
        """Write a specification again that is lost; the lock of the sweep is held."""
        with suppress(InputError):  # it is damaged in another way, and whoever reads it says so
            text, _, is_copy = self._kept_spec()
            if is_copy:
                write_atomically(self._spec, text)
                print(f"{self._spec}: was lost, and is written again from its copy in the ledger", file=sys.stderr)

    def _ledger_attributes(self) -> dict[str, Any]:
        return attributes_of_file(self.ledger, self.name) if self.ledger.is_file() else {}

    @contextmanager
    def exclusive(self, refusal: str) -> Iterator[None]:
        with exclusive(self._lock, refusal):
            if not self.exists:
                raise InputError(f"{self.path}: the sweep was removed meanwhile")
            self._restore_spec()
            self._holds_lock = True
            try:
                yield
            finally:
                self._holds_lock = False

    def check_lock(self) -> None:
        # The kernel holds the lock for as long as the process lives, also on a file that was removed or moved.
        if self.is_gone:
            raise Unfinished(self.gone_text)

    @property
    def is_gone(self) -> bool:
        return self._holds_lock and not self._lock.exists()

    @property
    def is_driven(self) -> bool:
        return is_held(self._lock)

    def request_stop(self) -> None:
        try:
            self._stop.touch()
        except OSError as error:
            raise InputError(
                f"{self._stop}: cannot be written ({error.strerror}); have its owner stop the sweep"
            ) from None

    def is_stop_requested(self) -> bool:
        return self._stop.exists()

    def clear_stop_request(self) -> None:
        try:
            self._stop.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{self._stop}: cannot be removed ({error.strerror}); remove it") from None

    def add_request(self, request: Request) -> None:
        try:
            self._requests.mkdir(exist_ok=True)
            write_atomically(self._request_file(request), request.as_json())
        except OSError as error:
            raise InputError(
                f"{self._requests}: cannot be written ({error.strerror}); have the owner of the sweep do it"
            ) from None

    def requests(self) -> list[Request]:
        contents: list[str | bytes] = []
        for file in self._requests.glob("[0-9]*.json"):
            with suppress(OSError):
                contents.append(file.read_bytes() if file.is_file() else b"")
        return parse_requests(contents)

    def remove_request(self, request: Request) -> None:
        with suppress(OSError):  # of somebody else's folder: to do it again changes nothing
            self._request_file(request).unlink(missing_ok=True)

    def _request_file(self, request: Request) -> Path:
        return self._requests / f"{request.id}.json"

    def delete(self) -> None:
        self._spec.unlink(missing_ok=True)
        self.ledger.unlink(missing_ok=True)  # before the rest, which without the two is no sweep
        shutil.rmtree(self.path, ignore_errors=True)


@contextmanager
def exclusive(file: Path, refusal: str) -> Iterator[None]:
    """Hold a lock of the kernel, which ends with its holder.

    Args:
        file: that is locked; its folder must exist.
        refusal: the message of the error.

    Raises:
        InputError: another process has held the lock for `LOCK_SECONDS`, or the file cannot be locked.
    """
    from filelock import FileLock, Timeout  # brings asyncio

    if not file.parent.is_dir():  # the lock would make the folder again
        raise InputError(f"{file.parent}: was removed meanwhile")
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: is not a file, and cannot be locked; remove it")
    lock = FileLock(file, timeout=homes.LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise InputError(refusal) from None
    except OSError as error:
        raise InputError(f"{file}: cannot be locked ({error.strerror}); make {file.parent} writable") from None
    try:
        yield
    finally:
        lock.release()


def is_held(file: Path) -> bool:
    """Return True if a process holds the lock of `exclusive`. Nothing is written, so that a home may be read-only."""
    if not file.is_file():
        return False
    try:
        with file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EWOULDBLOCK)  # else it may not even be read
    return False
