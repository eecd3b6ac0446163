"""The simulated database of the ledger: Optuna's own storages, with a point before and after each write.

Most schedules run on Optuna's storage in memory, which is fast. The others run on the real one, SQLite: there a process
may also be killed within a transaction, and leaves what SQLite then has on the disk.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, InMemoryStorage

from mt_sweeps.errors import Unfinished
from mt_sweeps.storage.rdb import DRIVER, LedgerStorage
from tests.simulation.world import World


class _WithPoints(BaseStorage):
    """The writes that a ledger makes, and its looks at who drives."""

    world: World

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        attributes = super().get_study_user_attrs(study_id)
        self.world.point("ledger: looked at")
        return attributes

    def create_new_trial(self, *arguments: Any, **named: Any) -> Any:
        return self._write("create_new_trial", super().create_new_trial, *arguments, **named)

    def set_trial_state_values(self, *arguments: Any, **named: Any) -> Any:
        return self._write("set_trial_state_values", super().set_trial_state_values, *arguments, **named)

    def set_trial_intermediate_value(self, *arguments: Any, **named: Any) -> Any:
        return self._write("set_trial_intermediate_value", super().set_trial_intermediate_value, *arguments, **named)

    def set_trial_user_attr(self, *arguments: Any, **named: Any) -> Any:
        return self._write("set_trial_user_attr", super().set_trial_user_attr, *arguments, **named)

    def set_study_user_attr(self, *arguments: Any, **named: Any) -> Any:
        return self._write("set_study_user_attr", super().set_study_user_attr, *arguments, **named)

    def _write(self, name: str, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self.world.point(f"ledger: {name}{arguments[:2]}")
        if self.world.is_disk_full and self.world.process is not None:
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise optuna.exceptions.StorageInternalError("the ledger was not written") from full
        answer = self._commit(lambda: call(*arguments, **named))
        self.world.point(f"ledger: {name} is done")
        return answer

    def _commit(self, write: Callable[[], Any]) -> Any:
        return write()


class MemoryStorage(_WithPoints, InMemoryStorage):
    """In memory. It outlives its processes, as a database does.

    A signed write is one transaction, as in a database: between the look at the signature and the write there is no
    point.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self._signed: tuple[int, str, str] | None = None

    @contextmanager
    def signed(self, study_id: int, driver: str, refusal: str) -> Iterator[None]:
        before, self._signed = self._signed, (study_id, driver, refusal)
        try:
            yield
        finally:
            self._signed = before

    def _commit(self, write: Callable[[], Any]) -> Any:
        if self._signed is not None:
            study_id, driver, refusal = self._signed
            if InMemoryStorage.get_study_user_attrs(self, study_id).get(DRIVER) != driver:
                raise Unfinished(refusal)
        return write()


class SQLiteStorage(_WithPoints, LedgerStorage):
    """In a file, which has the tables."""

    def __init__(self, world: World, file: Path) -> None:
        super().__init__(f"sqlite:///{file}", skip_compatibility_check=True, skip_table_creation=True)
        self.world = world
        self._file = file
        for event in ("before_cursor_execute", "commit"):
            sqlalchemy.event.listen(self.engine, event, self._about_to_execute)

    def _about_to_execute(self, *arguments: Any) -> None:
        """A statement, or the end of a transaction, is about to be executed."""
        statement = str(arguments[2]).partition("\n")[0] if len(arguments) > 2 else "COMMIT"
        process = self.world.process
        if process is None or statement.startswith("SELECT"):
            return
        was_dead = process.is_dead
        try:
            self.world.point(f"SQLite: {statement[:40]}")
        finally:
            if process.is_dead and not was_dead:
                for file in self._file.parent.glob(f"{self._file.name}*"):
                    shutil.copy(file, file.with_name(f"crashed-{file.name}"))


class Database:
    """The database of one world, which processes open.

    Args:
        world: of it.
        file: of SQLite; None: in memory.
    """

    def __init__(self, world: World, file: Path | None) -> None:
        self._world = world
        self._file = file
        self._memory = MemoryStorage(world)
        self._opened: list[SQLiteStorage] = []

    def open(self) -> BaseStorage:
        """Return the storage, as a process that starts finds it."""
        if self._file is None:
            return self._memory
        self._opened.append(SQLiteStorage(self._world, self._file))
        return self._opened[-1]

    @property
    def reader(self) -> BaseStorage:
        """The storage, for those who look on."""
        return self._opened[-1] if self._opened else self.open()

    @property
    def opened(self) -> int:
        """How often it is open now."""
        return len(self._opened)

    def close(self, before: int = 0) -> None:
        """Let go of the file, and bring it to what it was when a process was killed in a transaction.

        Args:
            before: how often it was open when the process that has ended began; those that are stopped go on.
        """
        for storage in self._opened[before:]:
            storage.remove_session()
        for storage in self._opened:
            storage.engine.dispose()
        del self._opened[before:]
        if self._file is None:
            return
        copies = list(self._file.parent.glob(f"crashed-{self._file.name}*"))
        for file in self._file.parent.glob(f"{self._file.name}*") if copies else ():
            file.unlink()
        for copy in copies:
            copy.replace(copy.with_name(copy.name.removeprefix("crashed-")))
