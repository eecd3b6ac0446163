"""The life of a sweep, step by step: the one place that knows the order.

1. The file is validated whole (`spec_file.load`). 2. The machine is checked: name, data, disk, Ray and its GPUs. 3. The
forecast is printed. 4. The sweep's directory gets the resolved file and the environment. 5. The ledger is opened and
what a dead driver left running waits again. 6. The driver runs all arms. 7. The window is completed. 8. The best
configuration and the report are written and the summary printed.
"""

import os
import platform
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mt_sweeps.commands.console import Board
from mt_sweeps.errors import InputError, SweepError, Unfinished, disk_full_text, is_disk_full
from mt_sweeps.execution import forecast as forecasts
from mt_sweeps.execution import ray_cluster
from mt_sweeps.execution.preflight import DatasetCheck, check_data, check_disk, check_nodes, check_storage
from mt_sweeps.execution.resources import Share, share_of
from mt_sweeps.execution.simulated_trainer import VARIABLE
from mt_sweeps.results import best_file
from mt_sweeps.results.summary import summary_text
from mt_sweeps.spec import load
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.file_store import StorageUnavailable
from mt_sweeps.storage.home import ALREADY_DRIVEN, Home, SweepStore, command_line
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.tracking.background import BackgroundWriter, finish
from mt_sweeps.tracking.client import connection_problem
from mt_sweeps.tracking.sweep_run import SweepRun
from mt_sweeps.versions import versions
from trainers.files import write_atomically

WINDOW_SECONDS = 60  # that the end of a sweep waits for MLflow


def run_sweep(file: Path, home: Home, name: str | None, overrides: tuple[str, ...], trials: int | None) -> None:
    """Start a new sweep and carry it to its end.

    Args:
        file: the search-space file.
        home: where the sweep will live.
        name: of the sweep; none: that of the file, made unique.
        overrides: `key=value` into the file.
        trials: overrides the file's number of trials.

    Raises:
        InputError: the file or the machine cannot do it; nothing has started.
        SweepError: it ended without a result.
    """
    spec = load_spec(file, (*overrides, *([f"trials={trials}"] if trials is not None else [])))
    if VARIABLE in os.environ:
        print(f"{VARIABLE} is set: the trials are scripted, no network is trained", flush=True)
    home.new_sweep(name, spec.name)  # refuses a name that is taken, before the work
    check_storage(file, home, spec)
    data = check_data(file, spec)
    trouble = _check_window(home, spec)
    with _ray(file, spec, data.fingerprint) as share:
        planned = forecasts.forecast(spec, share.concurrent)
        check_disk(home, spec.storage, planned.disk_bytes)
        directory = home.create_sweep(name, spec.name)
        spec = spec.model_copy(update={"name": directory.name})
        _describe(directory, spec, data, share)
        print(forecasts.text(spec, planned, share, data, None), flush=True)
        print(f"  files     {directory.location}", flush=True)
        _carry_on(home, directory, spec, share, trouble)


def resume_sweep(home: Home, name: str | None, more: int = 0) -> None:
    """Go on with a sweep whose driver is gone, from each trial's last checkpoint.

    Args:
        home: where it lives.
        name: of the sweep; none: the newest.
        more: trials to search with beyond those it was started with.

    Raises:
        InputError: there is no such sweep, or it has a living driver.
        SweepError: it ended without a result.
    """
    directory = home.sweep(name)
    spec = directory.load_spec()
    check_storage(Path(directory.name), home, spec)
    if directory.is_driven:
        raise InputError(ALREADY_DRIVEN.format(directory.name))
    if more:
        spec = load.with_trials(spec, spec.trials + more)
    ledger = Ledger(directory.ledger, spec)
    if more:
        directory.save_spec(spec)
    if all(trial.finished for trial in ledger.all_trials()) and not any(map(ledger.remaining, spec.arms())):
        print(f"{spec.name} is finished: MLflow is completed, nothing else is left to do", flush=True)
        _carry_on(home, directory, spec, share=None)
        return
    environment = directory.load_environment()
    if check_data(Path(directory.name), spec).fingerprint != environment.data_fingerprint:
        raise InputError(
            f"{directory.name}: the images are not those that the sweep began with; bring them back, or start a new "
            "sweep"
        )
    trouble = _check_window(home, spec)
    with _ray(Path(directory.name), spec, environment.data_fingerprint) as share:
        if environment.gpus_per_trial and not share.gpus:
            raise InputError(
                f"{directory.name}: its trials ran on GPUs and there are none now; resume it where some are"
            )
        print(f"{spec.name} goes on where it was\n  files     {directory.location}", flush=True)
        _carry_on(home, directory, spec, share, trouble)


def _carry_on(home: Home, directory: SweepStore, spec: SweepSpec, share: Share | None, trouble: str = "") -> None:
    """Steps 5 to 8, for a new sweep and for a resumed one.

    Args:
        home: where it lives.
        directory: of the sweep.
        spec: of it.
        share: what a trial gets; none: no trial is left to run.
        trouble: that was told of MLflow already.
    """
    enough = ""
    with directory.exclusive(ALREADY_DRIVEN.format(directory.name)):
        directory.clear_stop_request()  # said to a driver before this one
        ledger = Ledger(directory.ledger, spec)
        window = SweepRun(home, directory, ledger)
        writer = BackgroundWriter(window.sync)
        writer.error = trouble
        status = "FAILED"
        try:
            for trial in ledger.all_trials():
                if trial.state == "running":
                    ledger.requeue(trial)
            if share is not None:
                from mt_sweeps.execution import driver  # brings Ray

                # MLflow takes seconds to load: it waits until the workers are at work.
                with Board(ledger, share.concurrent, on_first_report=writer.start) as board:
                    writer.on_change = board.message
                    enough = driver.run(ledger, directory, share, board)
            best = ledger.best()
            if best is None:
                raise SweepError(f"no trial completed; see {directory.trials.location}")
            environment = directory.load_environment()
            directory.path.mkdir(parents=True, exist_ok=True)
            write_atomically(directory.best, best_file.text(best_file.best_file(ledger, best, environment)))
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            print(f"\ninterrupted; go on with: {directory.resume_command}", flush=True)
            raise
        except Unfinished:
            status = "KILLED"
            raise
        except StorageUnavailable as error:
            status = "KILLED"
            raise Unfinished(f"the storage is away ({error}); go on with `{directory.resume_command}`") from None
        except Exception as error:
            if not is_disk_full(error):
                raise
            status = "KILLED"
            raise Unfinished(disk_full_text(str(error).splitlines()[0], directory.resume_command)) from None
        finally:
            if status != "KILLED":
                _report(directory, ledger)
            summary = summary_text(directory, ledger, directory.load_environment().images)
            seconds = 5 if status == "KILLED" else WINDOW_SECONDS
            behind = finish(writer, lambda: window.finish(status, summary), seconds)
            if behind:
                sync = command_line("sync", directory.name, home)
                print(f"\nMLflow is not up to date ({behind}); `{sync}` completes it", flush=True)
    if enough:
        print(f"\n{enough}: no more trials were started")
    print(f"\n{summary}", flush=True)


def _report(directory: SweepStore, ledger: Ledger) -> None:
    """Step 8's page; what goes wrong with it is told, and costs the sweep nothing."""
    try:
        from mt_sweeps import report  # brings plotly

        report.write(directory, ledger, driven=False)
    except Exception as error:
        again = command_line("report", directory.name, directory.home)
        told = str(error).partition("\n")[0]
        print(f"\nthe report was not written ({type(error).__name__}: {told}); try again: {again}", flush=True)


def _describe(directory: SweepStore, spec: SweepSpec, data: DatasetCheck, share: Share) -> None:
    environment = Environment(
        id=uuid.uuid4().hex,
        started=time.time(),
        versions=versions(),
        platform=platform.platform(),
        gpus_per_trial=share.gpus,
        concurrent=share.concurrent,
        seeds={
            "sampler": spec.sampler.seed,
            "trainer": spec.trainer.get("seed", 0),
            "split": spec.sample_config().dataset.split_seed,
        },
        data_fingerprint=data.fingerprint,
        split_fingerprint=data.split_fingerprint,
        images=data.purposes,
    )
    Ledger.create(directory.ledger, spec, data.published).close()
    directory.save_environment(environment)
    directory.save_spec(spec)  # last: with it the sweep is there for other commands, and all the rest of it too


def _check_window(home: Home, spec: SweepSpec) -> str:
    """A server may be away for a while, but not for good; the embedded store is made when there is something in it."""
    trouble = "" if spec.tracking.uri is None else connection_problem(home, spec.tracking)
    if trouble:
        print(f"MLflow at {spec.tracking.uri} does not answer ({trouble}): it is completed when it does", flush=True)
    return trouble


@contextmanager
def _ray(file: Path, spec: SweepSpec, fingerprint: str) -> Iterator[Share]:
    joined = ray_cluster.address()
    print(f"joining the Ray cluster at {joined}" if joined else "starting Ray on this machine", flush=True)
    found = ray_cluster.start()
    try:
        share = share_of(file, spec, found)
        if joined:
            check_nodes(file, spec, share, fingerprint)
        yield share
    finally:
        ray_cluster.stop()
