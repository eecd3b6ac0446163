"""Sweeps in a PostgreSQL database, where several machines reach them.

The specification, the environment and a request to stop are attributes of the study of the search. The lock of a sweep
is an advisory lock of the database, which ends with the connection of its holder.
"""

import re
import shutil
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
from optuna.exceptions import DuplicatedStudyError
from optuna.study import StudyDirection
from psycopg.conninfo import make_conninfo

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.retry import retrying
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.sweep_spec import PLAIN_NAME, SweepSpec
from mt_sweeps.storage import home as homes
from mt_sweeps.storage.environment import ENVIRONMENT, Environment, parse_environment
from mt_sweeps.storage.folder import DEFAULT_FOLDER
from mt_sweeps.storage.home import Home, SweepStore, parse_spec
from mt_sweeps.storage.optuna_private import study_id
from mt_sweeps.storage.rdb import open_storage
from mt_sweeps.storage.requests import Request, parse_requests

SPEC, STOP, REQUEST = "resolved_spec", "stop", "request/"
_LOCKS = 0x6D740000  # the first half of the key of every lock of mt-sweeps


class PostgresHome(Home):
    """A database that holds sweeps. What people read of them is in `./sweeps`.

    Args:
        address: `postgresql://user@host:port/database`.
    """

    is_shared = True

    def __init__(self, address: str) -> None:
        super().__init__(Path(DEFAULT_FOLDER).absolute(), address)

    def sweeps(self) -> Sequence["PostgresSweep"]:
        started = [
            (study.user_attrs[ENVIRONMENT]["started"], study.study_name)
            for study in open_storage(self.address).get_all_studies()
            # A name that somebody else put there may lead anywhere.
            if {SPEC, ENVIRONMENT} <= study.user_attrs.keys() and re.fullmatch(PLAIN_NAME, study.study_name)
        ]
        return [PostgresSweep(self, name) for _, name in sorted(started)]

    def create_sweep(self, name: str | None, from_file: str) -> SweepStore:
        while True:
            sweep = self.new_sweep(name, from_file)
            with suppress(DuplicatedStudyError):  # another command was quicker: choose again
                open_storage(self.address).create_new_study([StudyDirection.MINIMIZE], sweep.name)
                return sweep

    def _store(self, name: str) -> "PostgresSweep":
        return PostgresSweep(self, name)

    def _is_taken(self, name: str) -> bool:
        return name in {study.study_name for study in open_storage(self.address).get_all_studies()}


class PostgresSweep(SweepStore):
    """One sweep in a database."""

    @property
    def exists(self) -> bool:
        return SPEC in self._attributes

    @property
    def location(self) -> str:
        return f"{self.name} in {self.home.address}, its trials in {self.trials.location}"

    @property
    def resume_command(self) -> str:
        return f"{super().resume_command} --address URL"  # of the cluster that shares the database

    @property
    def ledger(self) -> str:
        return self.home.address

    def spec_text(self) -> str:
        return str(self._attributes[SPEC])

    def load_spec(self) -> SweepSpec:
        return parse_spec(
            yaml_file.parse(self.spec_text(), self.name), f"{self.home.address}: {self.name}", "put back what was there"
        )

    def save_spec(self, spec: SweepSpec) -> None:
        self._set(SPEC, yaml_file.dump(spec.model_dump(exclude_none=True)))

    def load_environment(self) -> Environment:
        source = f"{self.home.address}: the environment of {self.name}"
        return parse_environment(self._attributes.get(ENVIRONMENT), source, "put back what was in the database")

    def save_environment(self, environment: Environment) -> None:
        self._set(ENVIRONMENT, asdict(environment))

    @contextmanager
    def exclusive(self, refusal: str) -> Iterator[None]:
        self._held = _AdvisoryLock(self.home.address, self.name)
        try:
            if not self._held.acquire(homes.LOCK_SECONDS):
                raise InputError(refusal)
            yield
        finally:
            self._held.release()

    def check_lock(self) -> None:
        self._held.check()

    @property
    def is_driven(self) -> bool:
        return _AdvisoryLock(self.home.address, self.name).is_held()

    def request_stop(self) -> None:
        self._set(STOP, True)

    def is_stop_requested(self) -> bool:
        return bool(self._attributes.get(STOP))

    def clear_stop_request(self) -> None:
        if self.is_stop_requested():
            self._set(STOP, False)

    def add_request(self, request: Request) -> None:
        self._set(REQUEST + request.id, request.as_json())

    def requests(self) -> list[Request]:
        left = [value for key, value in self._attributes.items() if key.startswith(REQUEST)]
        return parse_requests([value for value in left if isinstance(value, str)])

    def remove_request(self, request: Request) -> None:
        self._set(REQUEST + request.id, None)  # Optuna deletes no attribute

    def delete(self) -> None:
        storage = open_storage(self.home.address)
        studies = {study.study_name: study_id(study) for study in storage.get_all_studies()}
        own = [name for name in studies if name == self.name or name.startswith(f"{self.name}/")]
        for name in sorted(own, reverse=True):  # the search last: `sweeps` finds the sweep by it
            storage.delete_study(studies[name])
        shutil.rmtree(self.path, ignore_errors=True)

    @cached_property
    def _study(self) -> int:
        return open_storage(self.home.address).get_study_id_from_name(self.name)

    @property
    def _attributes(self) -> dict[str, Any]:
        return open_storage(self.home.address).get_study_user_attrs(self._study)

    def _set(self, key: str, value: Any) -> None:
        open_storage(self.home.address).set_study_user_attr(self._study, key, value)


def clock(database: str) -> float:
    """Return the time of a database's clock, in seconds since 1970."""
    with psycopg.connect(database, connect_timeout=10) as connection:
        row = connection.execute("select extract(epoch from clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])


class _AdvisoryLock:
    """The lock of one sweep in the database, held by a connection of its own."""

    def __init__(self, database: str, name: str) -> None:
        self._database = database
        self._name = name
        self._key = zlib.crc32(name.encode())
        self._connection: psycopg.Connection[Any] | None = None

    def acquire(self, seconds: float) -> bool:
        """Take the lock, and return True if that succeeded; wait so many seconds for another holder to release it."""
        deadline = time.monotonic() + seconds
        while True:
            self.release()
            self._connection = psycopg.connect(
                make_conninfo(self._database, connect_timeout=10, keepalives_idle=20, keepalives_interval=10),
                autocommit=True,
            )
            query = "select pg_try_advisory_lock(%s, %s)"
            if self._connection.execute(query, (_signed(_LOCKS), _signed(self._key))).fetchone() == (True,):
                return True
            if time.monotonic() > deadline:
                self.release()
                return False
            time.sleep(0.2)

    def check(self) -> None:
        """Make sure that the lock is still held. If the connection was lost, take the lock again.

        Raises:
            Unfinished: another driver has taken it meanwhile, or the database stays away.
        """
        try:
            assert self._connection is not None
            self._connection.execute("select 1")
            return
        except psycopg.Error:
            pass
        try:
            is_acquired = retrying(lambda: self.acquire(seconds=0), lambda error: isinstance(error, psycopg.Error))
        except psycopg.Error as error:
            raise Unfinished(f"{self._name}: the database does not answer: {error}") from None
        if not is_acquired:
            raise Unfinished(f"{self._name}: another driver has taken the sweep over while the database was away")

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def is_held(self) -> bool:
        """Return True if any process holds the lock, without taking it."""
        query = (
            "select count(*) from pg_locks where locktype = 'advisory' and granted and classid = %s and objid = %s "
            "and database = (select oid from pg_database where datname = current_database())"
        )
        with psycopg.connect(self._database, connect_timeout=10) as connection:
            return connection.execute(query, (_LOCKS, self._key)).fetchone() != (0,)


def _signed(number: int) -> int:
    """Return an unsigned 32-bit number as the signed one with the same bits, which PostgreSQL takes."""
    return number - (1 << 32) if number >= 1 << 31 else number
