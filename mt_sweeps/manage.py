"""What is done to a sweep from outside: it is stopped, it is removed."""

import shutil
import time

from mt_sweeps.console import counted
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.home import DRIVEN, Home, is_held, only_one
from mt_sweeps.tracking import remove_runs

STOP_SECONDS = 120  # that a driver may take to end after it was asked to


def stop(home: Home, name: str) -> str:
    """Ask the driver of a sweep, wherever it runs, to end; wait until it has.

    Returns:
        What came of it, in words.

    Raises:
        InputError: there is no such sweep, or nobody drives it.
        SweepError: the driver does not answer.
    """
    directory = home.sweep(name)
    if not is_held(directory.lock):
        raise InputError(f"{name}: no process drives this sweep, so there is nothing to stop")
    directory.stop.touch()
    until = time.monotonic() + STOP_SECONDS
    while is_held(directory.lock):
        if time.monotonic() > until:
            raise SweepError(f"{name}: its driver has not ended within {STOP_SECONDS} s; it will as soon as it can")
        time.sleep(0.2)
    directory.stop.unlink(missing_ok=True)
    return f"{name} is stopped; go on with: {directory.resume}"


def remove(home: Home, name: str) -> str:
    """Remove a sweep and all that it kept: its runs and their artifacts in MLflow, then its directory.

    Returns:
        What was removed, in words.

    Raises:
        InputError: there is no such sweep, or it is being driven.
        SweepError: MLflow does not answer; nothing but a part of its runs is gone, and it can be asked again.
    """
    directory = home.sweep(name)
    with only_one(directory.lock, DRIVEN.format(directory.name)):
        try:
            runs = remove_runs(home, directory)
        except Exception as error:  # of MLflow's client, its store or the network
            raise SweepError(f"{name}: its runs cannot be removed from MLflow: {error}") from None
        directory.spec.unlink()  # first: without it the rest is no sweep any more
        shutil.rmtree(directory.path, ignore_errors=True)
    return f"{name} is removed, with {counted(runs, 'MLflow run')}"
