"""`stop`, `sync` and `rm`: what is done to a sweep that this process does not run."""

import time

from mt_sweeps.commands.console import progress
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.formatting import counted
from mt_sweeps.results.status import sweep_status
from mt_sweeps.results.summary import summary_text
from mt_sweeps.storage.home import Home
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.tracking.mlflow_errors import first_line, raise_if_permanent
from mt_sweeps.tracking.stored_runs import remove_runs
from mt_sweeps.tracking.sweep_run import SweepRun

STOP_SECONDS = 120  # that a driver may take to end


def stop(home: Home, name: str) -> str:
    """Ask the driver of a sweep to end, wherever it runs, and wait until it has.

    Returns:
        What came of it, in words.

    Raises:
        InputError: there is no such sweep, or nobody drives it.
        SweepError: the driver does not answer.
    """
    directory = home.sweep(name)
    if not directory.is_driven:
        raise InputError(f"{name}: no process drives this sweep, so there is nothing to stop")
    directory.request_stop()
    until = time.monotonic() + STOP_SECONDS
    while directory.is_driven:
        if time.monotonic() > until:
            raise SweepError(f"{name}: its driver has not ended within {STOP_SECONDS} s; it will as soon as it can")
        time.sleep(0.2)
    directory.clear_stop_request()
    return f"{name} is stopped; go on with: {directory.resume_command}"


def sync(home: Home, name: str | None) -> str:
    """Complete a sweep's runs in MLflow, or create them again, from its ledger and the files of its trials.

    Args:
        home: where it lives.
        name: of the sweep, or None for the newest.

    Returns:
        What is there now, in words.

    Raises:
        InputError: there is no such sweep, it is being driven, or MLflow refuses the credentials.
        SweepError: MLflow does not answer; the command can be repeated.
    """
    directory = home.sweep(name)
    name = directory.name
    spec = directory.load_spec()
    state = sweep_status(directory).state
    with directory.exclusive(f"{name}: another process is driving this sweep, and keeps MLflow up to date"):
        ledger = Ledger(directory.ledger, spec)
        ended = "KILLED" if state == "interrupted" else "FINISHED" if ledger.best() else "FAILED"
        try:
            runs = SweepRun(home, directory, ledger).finish(
                ended,
                summary_text(directory, ledger, directory.load_environment()),
                lambda trials: progress(trials, "trials"),
            )
        except Exception as error:  # of MLflow's client, its store or the network
            raise_if_permanent(error, home, spec.tracking)
            raise SweepError(
                f"{name}: MLflow is not complete ({first_line(error)}); the same command goes on"
            ) from None
    return f"{name} is complete in MLflow: {counted(runs, 'run')}"


def remove(home: Home, name: str) -> str:
    """Remove a sweep: its runs and their artifacts in MLflow, then the files of its trials, then the rest.

    Returns:
        What was removed, in words.

    Raises:
        InputError: there is no such sweep, or it is being driven.
        SweepError: MLflow does not answer; at most a part of its runs is removed, and the command can be repeated.
    """
    directory = home.sweep(name)
    with directory.exclusive(directory.already_driven):
        try:
            runs = remove_runs(home, directory)
        except Exception as error:  # of MLflow's client, its store or the network
            raise_if_permanent(error, home, directory.load_spec().tracking)
            raise SweepError(f"{name}: its runs cannot be removed from MLflow: {error}") from None
        directory.trials.delete()
        directory.delete()
    return f"{name} is removed, with {counted(runs, 'MLflow run')}"
