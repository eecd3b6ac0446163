"""Errors of MLflow: which of them do not go away by themselves, and what to say of each."""

from collections.abc import Iterator
from contextlib import contextmanager

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.home import Home
from mt_sweeps.tracking import embedded_store


@contextmanager
def permanent_errors(home: Home, tracking: Tracking) -> Iterator[None]:
    """Make an error of a damaged embedded store, within the block, one that nobody waits for.

    Raises:
        InputError: the store is damaged; other errors are raised as they are.
    """
    try:
        yield
    except Exception as error:
        if tracking.uri is None:
            raise_if_permanent(error, home, tracking)
        raise


def raise_if_permanent(error: Exception, home: Home, tracking: Tracking) -> None:
    """Raise an error of MLflow that does not go away by itself, as one that says what to do.

    Raises:
        InputError: credentials are refused, there is no such store, or the embedded one is damaged.
    """
    if isinstance(error, InputError):
        raise error
    if tracking.uri is None:
        if embedded_store.is_damage(error):
            raise InputError(embedded_store.damage_text(home, first_line(error)))
        return
    status = getattr(error, "get_http_status_code", lambda: 503)()
    if status in (401, 403):
        raise InputError(
            f"tracking.uri: {tracking.uri} refuses the credentials ({status}); set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment"
        )
    if status < 500 or isinstance(error, ImportError):
        raise InputError(f"tracking.uri: {tracking.uri} is no MLflow store that can be used: {first_line(error)}")


def first_line(error: Exception) -> str:
    """Return the type and the first line of an error's first cause, without what libraries put around it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:300]
