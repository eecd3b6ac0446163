"""What a new sweep and a resumed one have in common: an engine is started, runs the trials, and results are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from mt_sweeps.commands.console import Board
from mt_sweeps.commands.ending import ending
from mt_sweeps.commands.notify import Notifier
from mt_sweeps.errors import InputError, SweepError, Unfinished
from mt_sweeps.execution import gpu_sharing, ray_cluster
from mt_sweeps.execution import in_process as in_process_engine
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.nodes import check_nodes
from mt_sweeps.execution.precision import with_precision
from mt_sweeps.execution.preflight import DatasetCheck
from mt_sweeps.execution.ray_address import cluster_address
from mt_sweeps.execution.resources import Share, local_resources, share_of
from mt_sweeps.execution.simulated_trainer import VARIABLE
from mt_sweeps.results import best_file
from mt_sweeps.results.summary import summary_text
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.home import Home, SweepStore, command_line
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.terminal import print
from mt_sweeps.tracking.background import BackgroundWriter, finish
from mt_sweeps.tracking.client import connection_problem
from mt_sweeps.tracking.pages import link_to
from mt_sweeps.tracking.sweep_run import SweepRun
from trainers.files import write_atomically

TRACKING_SECONDS = 60  # that the end of a sweep waits for MLflow
_INTERRUPTED_SECONDS = 5  # the same, for a sweep that was interrupted


def check_mlflow(home: Home, spec: SweepSpec) -> str | None:
    """Return why the MLflow server does not answer now, or None. The embedded store is made when it gets its first run.

    Raises:
        InputError: it will never answer: the address or the credentials are wrong.
    """
    problem = None if spec.tracking.uri is None else connection_problem(home, spec.tracking)
    if problem is not None:
        print(f"MLflow at {spec.tracking.uri} does not answer ({problem}): it is completed when it does", flush=True)
    return problem


@contextmanager
def started_engine(
    file: Path, spec: SweepSpec, data: DatasetCheck, in_process: bool
) -> Iterator[tuple[Share, SweepSpec]]:
    """Start Ray, or join its cluster; end it after the block. In this process, trials run one at a time, without Ray.

    Yields:
        What a trial gets there, and the specification with its precision.

    Raises:
        InputError: the machine, or a node of the cluster, cannot run the trials.
    """
    if VARIABLE in os.environ:
        print(f"{VARIABLE} is set: the trials are simulated, no network is trained", flush=True)
    if in_process:
        print("trials run in this process, one after another, without Ray", flush=True)
        share = replace(share_of(file, spec, [local_resources()]), concurrent=1)
        yield share, with_precision(spec, share, None)
        return
    address = cluster_address()
    print(f"joining the Ray cluster at {address}" if address else "starting Ray on this machine", flush=True)
    with nullcontext("") if address else gpu_sharing.shared_gpus(spec.resources) as problem:
        if problem:
            print(f"warning: {gpu_sharing.in_turns(spec.resources, problem)}", flush=True)
        nodes = ray_cluster.start(_load_driver)
        try:
            share = share_of(file, spec, nodes)
            on_all_nodes = check_nodes(file, spec, share, data) if address else None
            yield share, with_precision(spec, share, on_all_nodes)
        finally:
            ray_cluster.stop()


def _load_driver() -> None:
    """Load Ray Tune, which takes more than a second, before it is needed."""
    from mt_sweeps.execution import driver  # noqa: F401


def print_places(sweep: SweepStore, mlflow_problem: str | None) -> None:
    """Say where the sweep's files are, and where it can be watched."""
    link = None if mlflow_problem else link_to(sweep)
    print(f"  files     {sweep.location}", flush=True)
    print(f"  dashboard {link or command_line(sweep.home, 'dashboard', sweep.name)}", flush=True)


def conduct(
    sweep: SweepStore,
    spec: SweepSpec,
    share: Share | None,
    notifier: Notifier,
    in_process: bool = False,
    mlflow_problem: str | None = None,
) -> None:
    """Run a sweep, whose lock is held, to its end: steps 5 to 8 in `mt_sweeps/commands/run.py`.

    Args:
        sweep: the sweep.
        spec: of it.
        share: what a trial gets, or None if no trial is left to run.
        notifier: runs its command when a trial fails.
        in_process: run the trials in this process, without Ray.
        mlflow_problem: why MLflow does not answer, if it was printed already.

    Raises:
        SweepError: the sweep ended without a result.
    """
    stop_reason, status = None, "FINISHED"
    ledger = Ledger(sweep.ledger, spec)
    run = SweepRun(sweep.home, sweep, ledger)
    writer = BackgroundWriter(run.sync)
    writer.error = mlflow_problem
    try:
        ledger.take_over()
        if share is not None:
            stop_reason = _drive(sweep, ledger, share, writer, notifier, in_process)
        _conclude(sweep, ledger)
    except BaseException as error:
        if sweep.is_gone:
            writer.abandon()
            raise Unfinished(sweep.gone_text) from None
        status, failure = ending(error, f"resume with `{sweep.resume_command}`")
        if isinstance(error, KeyboardInterrupt):
            print(f"\ninterrupted; resume with: {sweep.resume_command}", flush=True)
        if failure is error:
            raise
        raise failure from None
    finally:
        if not sweep.is_gone:
            if status != "KILLED":
                _write_report(sweep, ledger, run)
            summary = summary_text(sweep, ledger, sweep.load_environment())
            if status == "FINISHED":  # the answer does not wait for MLflow, nor for the end of Ray
                stopped = f"\n{stop_reason}: no more trials were started\n" if stop_reason else ""
                print(f"{stopped}\n{summary}", flush=True)
            _finish_tracking(sweep, run, writer, status, summary)


def _drive(
    sweep: SweepStore, ledger: Ledger, share: Share, writer: BackgroundWriter, notifier: Notifier, in_process: bool
) -> str | None:
    """Step 6: run trials; return why some were left unstarted, or None."""
    # MLflow takes seconds to load: it waits until the workers are at work.
    with Board(ledger, share.concurrent, writer.start, notifier.trial_failed, not in_process, sweep) as board:
        writer.on_change = board.message
        coordinator = Coordinator(ledger, sweep, share, board)
        if in_process:
            in_process_engine.run(coordinator)
        else:
            from mt_sweeps.execution import driver  # loads Ray Tune

            driver.run(coordinator, share, sweep.resume_command)
        return coordinator.conclude()


def _conclude(sweep: SweepStore, ledger: Ledger) -> None:
    """Step 7: write the best configuration.

    Raises:
        SweepError: no trial completed.
    """
    best = ledger.best()
    if best is None:
        raise SweepError(f"no trial completed; see {sweep.trials.location}")
    sweep.path.mkdir(parents=True, exist_ok=True)
    if sweep.best.is_dir():
        raise InputError(f"{sweep.best}: is a folder; remove it, and resume with `{sweep.resume_command}`")
    write_atomically(sweep.best, best_file.to_yaml(best_file.from_trial(ledger, best, sweep.load_environment())))


def _write_report(sweep: SweepStore, ledger: Ledger, run: SweepRun) -> None:
    """Step 7's page; an error costs the sweep nothing but a line."""
    try:
        from mt_sweeps import report

        report.write(sweep, ledger, driven=False, pages=run.pages)
    except Exception as error:
        command = sweep.command("report")
        first_line = str(error).partition("\n")[0]
        print(f"\nthe report was not written ({type(error).__name__}: {first_line}); try again: {command}", flush=True)


def _finish_tracking(sweep: SweepStore, run: SweepRun, writer: BackgroundWriter, status: str, summary: str) -> None:
    """Step 8: bring MLflow up to date."""
    seconds = _INTERRUPTED_SECONDS if status == "KILLED" else TRACKING_SECONDS
    how_to_complete = f"`{sweep.command('sync')}` completes it"
    _, problem = finish(writer, lambda: run.finish(status, summary), seconds, how_to_complete)
    if problem is not None:
        print(f"\n{problem}", flush=True)
    elif status == "FINISHED" and (link := link_to(sweep)):
        print(f"MLflow     {link}", flush=True)
