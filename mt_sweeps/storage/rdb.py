"""The transactional storage of ledgers: a SQLite file, or a PostgreSQL database that may be away for a while."""

import functools
import json
import logging
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.retry import RETRY_SECONDS, retrying
from mt_sweeps.storage.ledger_rows import StudyRows, TrialRow
from mt_sweeps.storage.optuna_private import FrozenStudy, trial_id

# An interrupt in the middle of a query also breaks its cursor, which SQLAlchemy would tell with a traceback.
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)

DRIVER = "driver"
"""The attribute of a search study that its driver signs."""
_SIGNED = "signed"  # in a session: its study, the driver and the refusal
_IS_OPEN = "is open"  # in a session: within a transaction that ends with a block, not with a call of Optuna
_IS_TRIED = "is tried"  # in a session: a trial may have been created already
_T = TypeVar("_T")


class _TriedBefore(Exception):
    """Optuna tries to create a trial again, and does not look whether its first try was done."""


class _Session(Session):
    """A session in which several calls of Optuna, each of which would commit and close, can be one transaction."""

    def commit(self) -> None:
        if _IS_OPEN not in self.info:
            super().commit()
            return
        try:
            self.flush()
        except sqlalchemy.exc.IntegrityError as error:  # Optuna would go on after some, and half a block be committed
            raise optuna.exceptions.StorageInternalError("the ledger was not written") from error

    def close(self) -> None:
        if _IS_OPEN not in self.info:
            super().close()


class LedgerStorage(RDBStorage):
    """Optuna's storage, for which a driver can sign what it writes: each signed block is one transaction.

    A commit waits for the disk, so a block costs as little as one call would.
    """

    _is_block_one_transaction = True

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.scoped_session = scoped_session(sessionmaker(bind=self.engine, class_=_Session))
        sqlalchemy.event.listen(self.scoped_session, "before_commit", _check_signature)

    @contextmanager
    def signed(self, study_id: int, driver: str, refusal: str) -> Iterator[None]:
        """Write all of the block or nothing, and nothing if another driver has signed the study.

        That is looked at in the moment before the write. Blocks are not nested.

        Args:
            study_id: of the search.
            driver: that writes.
            refusal: the message of the error, an `Unfinished`.
        """
        session = self.scoped_session()
        session.info[_SIGNED] = study_id, driver, refusal
        try:
            if not self._is_block_one_transaction:
                yield
                return
            with self._transaction():
                session.info[_IS_OPEN] = True
                try:
                    yield
                finally:
                    del session.info[_IS_OPEN]
        finally:
            del session.info[_SIGNED]

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """Yield the session of this thread, and commit at the end; errors are those of Optuna's calls."""
        session = self.scoped_session()
        try:
            yield session
            session.commit()
        except sqlalchemy.exc.SQLAlchemyError as error:
            session.rollback()
            raise optuna.exceptions.StorageInternalError("the ledger was not written") from error
        except BaseException:
            session.rollback()
            raise
        finally:
            session.close()


def _check_signature(session: Session) -> None:
    """Look, in the transaction of a signed write, whether its driver still drives.

    What is flushed has locked the file of SQLite, and the look locks the row of PostgreSQL: nobody signs between the
    look and the end of the transaction.
    """
    if _SIGNED not in session.info:
        return
    study_id, driver, refusal = session.info[_SIGNED]
    session.flush()
    lock = " FOR SHARE" if session.get_bind().dialect.name == "postgresql" else ""
    query = f"SELECT value_json FROM study_user_attributes WHERE study_id = :study AND key = :key{lock}"  # noqa: S608
    if session.execute(sqlalchemy.text(query), {"study": study_id, "key": DRIVER}).scalar() != json.dumps(driver):
        raise Unfinished(refusal)


def open_storage(address: Path | str) -> LedgerStorage:
    """Return Optuna's storage at an address.

    Args:
        address: the path of a SQLite file, or `postgresql://user@host:port/database`.

    Raises:
        InputError: the file is no ledger, or the database cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if isinstance(address, str):
        return _open_postgres(address)
    try:
        return LedgerStorage(
            sqlite_url(address),
            engine_kwargs={"connect_args": {"timeout": 60}},
            skip_table_creation=address.exists(),  # what is there is a ledger, or is left as it is
        )
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError, ValueError) as error:
        raise InputError(f"{address}: is no ledger ({_first_line(error)}); put back the file that was here") from None


def rows_of_storage(storage: BaseStorage, names: Sequence[str]) -> list[StudyRows]:
    """Return the studies of these names.

    Raises:
        KeyError: one is missing.
    """
    rows = []
    for study in map(storage.get_study_id_from_name, names):
        # Before the attributes: the plan of trials is written before they are.
        trials = [_row(trial) for trial in storage.get_all_trials(study, deepcopy=False)]
        rows.append(StudyRows(study, storage.get_study_user_attrs(study), trials))
    return rows


def _row(trial: FrozenTrial) -> TrialRow:
    attributes = {key: json.dumps(value) for key, value in trial.user_attrs.items()}
    step = max(trial.intermediate_values, default=0)
    return TrialRow(trial_id(trial), trial.number, trial.state.name, step, attributes, trial.intermediate_values)


def sqlite_url(file: Path) -> str:
    """Return the address of a SQLite file, as SQLAlchemy takes it, whatever characters its path has."""
    return sqlalchemy.URL.create("sqlite", database=str(file)).render_as_string()


@functools.cache
def _open_postgres(address: str) -> LedgerStorage:
    """Return the storage in a database: one per process, as connections are costly and can be shared."""
    url = sqlalchemy.make_url(address).set(drivername="postgresql+psycopg")
    settings = {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
    tries = 3
    while True:
        tries -= 1
        try:
            return RetryingStorage(url.render_as_string(hide_password=False), engine_kwargs=dict(settings))
        except (sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.IntegrityError):
            if not tries:  # several processes make the tables of a new database at once, and one is the first
                raise
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
            raise InputError(
                f"{address}: the database of the ledgers cannot be used ({_first_line(error)}); start it, or check the "
                "address, and PGPASSWORD in the environment"
            ) from None


class RetryingStorage(LedgerStorage):
    """The storage of a ledger, but calls are repeated while the database is away.

    Every method that mt-sweeps calls is here. Most read, or write what may be written twice. `create_new_trial` and
    `set_trial_state_values` may not be done twice: before they are repeated, they look whether the first try was done
    and only its answer was lost.

    A call raises `Unfinished` if the database stays away. Later calls then no longer wait.
    """

    _is_block_one_transaction = False  # a call is repeated by itself, so it is committed by itself
    _retry_seconds = RETRY_SECONDS

    def get_all_studies(self) -> list[FrozenStudy]:
        return self._retrying(super().get_all_studies)

    def get_study_id_from_name(self, study_name: str) -> int:
        call = super().get_study_id_from_name
        return self._retrying(lambda: call(study_name))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        call = super().get_study_user_attrs
        return self._retrying(lambda: call(study_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        call = super().get_all_trials
        return self._retrying(lambda: call(study_id, deepcopy, states))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        call = super().set_study_user_attr
        self._retrying(lambda: call(study_id, key, value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        call = super().set_trial_user_attr
        self._retrying(lambda: call(trial_id, key, value))

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        call = super().set_trial_intermediate_value
        self._retrying(lambda: call(trial_id, step, intermediate_value))

    def delete_study(self, study_id: int) -> None:
        call = super().delete_study
        self._retrying(lambda: call(study_id))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        call, trials = super().create_new_trial, super().get_all_trials
        is_repeated = False

        def create() -> int:
            nonlocal is_repeated
            if is_repeated and template_trial is not None:
                for trial in trials(study_id, deepcopy=False):
                    if trial.user_attrs == template_trial.user_attrs:  # they hold the moment at which it was created
                        return trial_id(trial)
            is_repeated = True
            self.scoped_session().info.pop(_IS_TRIED, None)
            return call(study_id, template_trial)

        return self._retrying(create)

    def _get_prepared_new_trial(self, study_id: int, template_trial: FrozenTrial | None, session: Session) -> Any:
        """Do as Optuna does, but once per call: a try of its own after a lost answer would create a second trial."""
        if session.info.pop(_IS_TRIED, False):
            raise _TriedBefore("the answer of the database was lost")
        session.info[_IS_TRIED] = True
        return super()._get_prepared_new_trial(study_id, template_trial, session)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        call, trial = super().set_trial_state_values, super().get_trial
        is_repeated = False

        def change() -> bool:
            nonlocal is_repeated
            if is_repeated and trial(trial_id).state == state:
                return True
            is_repeated = True
            return call(trial_id, state, values)

        return self._retrying(change)

    def _retrying(self, call: Callable[[], _T]) -> _T:
        """Return what a call returns that may be made again."""
        try:
            answer = retrying(call, _is_away, self._retry_seconds)
        except Exception as error:
            if not _is_away(error):
                raise
            self._retry_seconds = 0.0
            raise Unfinished(f"the database of the ledgers does not answer: {_first_line(error)}") from None
        self._retry_seconds = RETRY_SECONDS
        return answer


def _is_away(error: BaseException) -> bool:
    """Return True if an error says that the database cannot be reached, and not that it refuses us."""
    if isinstance(error, _TriedBefore):
        return True
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    is_lost = isinstance(cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
    return is_lost and "authentication failed" not in str(cause)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's first cause, or its type if it has no message."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
