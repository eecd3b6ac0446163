"""The transactional storage of ledgers: a SQLite file, or a PostgreSQL database that may be away for a while."""

import functools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.retry import RETRY_SECONDS, retrying

_T = TypeVar("_T")


def open_storage(where: Path | str) -> RDBStorage:
    """The storage at a place.

    Args:
        where: the path of a SQLite file, or `postgresql://user@host:port/database`.

    Raises:
        InputError: it is no ledger, or the database does not let us in.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    if isinstance(where, str):
        return _database(where)
    try:
        return RDBStorage(f"sqlite:///{where}", engine_kwargs={"connect_args": {"timeout": 60}})
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        raise InputError(
            f"{where}: is no ledger ({str(error).splitlines()[0]}); put back the file that was here"
        ) from None


@functools.cache
def _database(where: str) -> RDBStorage:
    """One for the process: connections are costly, and are shared."""
    url = sqlalchemy.make_url(where).set(drivername="postgresql+psycopg")
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
                f"{where}: the database of the ledgers cannot be used ({_told(error)}); start it, or check the "
                "address, and PGPASSWORD in the environment"
            ) from None


class RetryingStorage(RDBStorage):
    """Optuna's, whose calls are repeated while the database is away; what was done before its answer was lost stays.

    A call raises `Unfinished` when the database stays away, and the next ones then no longer wait.
    """

    _patience = RETRY_SECONDS

    def patiently(self, call: Callable[[], _T]) -> _T:
        """What a call that may be made again returns."""
        try:
            answer = retrying(call, _is_away, self._patience)
        except Exception as error:
            if not _is_away(error):
                raise
            self._patience = 0.0
            raise Unfinished(f"the database of the ledgers does not answer: {_told(error)}") from None
        self._patience = RETRY_SECONDS
        return answer

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        tried = False

        def create() -> int:
            nonlocal tried
            if tried and template_trial is not None:
                for trial in super(RetryingStorage, self).get_all_trials(study_id, deepcopy=False):
                    if trial.user_attrs == template_trial.user_attrs:  # it names the moment in which it was asked for
                        return trial._trial_id
            tried = True
            return super(RetryingStorage, self).create_new_trial(study_id, template_trial)

        return self.patiently(create)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        tried = False

        def change() -> bool:
            nonlocal tried
            if tried and super(RetryingStorage, self).get_trial(trial_id).state == state:
                return True
            tried = True
            return super(RetryingStorage, self).set_trial_state_values(trial_id, state, values)

        return self.patiently(change)


def _repeated(name: str) -> Callable[..., Any]:
    call = getattr(RDBStorage, name)

    @functools.wraps(call)
    def patient(self: RetryingStorage, *arguments: Any, **named: Any) -> Any:
        return self.patiently(lambda: call(self, *arguments, **named))

    return patient


# Reading, and writing that comes to the same when it is done twice.
for _name in (
    "get_all_studies",
    "get_study_id_from_name",
    "get_study_user_attrs",
    "get_all_trials",
    "set_study_user_attr",
    "set_trial_user_attr",
    "set_trial_intermediate_value",
    "delete_study",
):
    setattr(RetryingStorage, _name, _repeated(_name))


def _is_away(error: BaseException) -> bool:
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    lost = isinstance(cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
    return lost and "authentication failed" not in str(cause)


def _told(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
