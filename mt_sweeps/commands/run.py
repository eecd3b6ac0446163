"""`run` and `resume`: the life of a sweep, step by step. This is the one place that knows the order.

1. The file is validated (`load_spec`).
2. The machine is checked: the name, the images, the storage, MLflow, Ray and its GPUs, the disk (`preflight`).
3. The forecast is printed.
4. The sweep's store gets the resolved file and the environment, and the ledger is created (`_create`).
5. The ledger is opened, and what a dead driver left running waits again (`_conduct`).
6. An engine runs the trials of all arms (`_drive`).
7. The best configuration and the report are written (`_conclude`).
8. MLflow is completed and the summary printed (`_finish_tracking`).
"""

import hashlib
import os
import platform
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mt_sweeps.commands.console import Board
from mt_sweeps.commands.ending import ending
from mt_sweeps.commands.notify import Notifier
from mt_sweeps.commands.warm_start import warm_start, with_prior_points
from mt_sweeps.errors import InputError, SweepError, Unfinished
from mt_sweeps.execution import forecast as forecasts
from mt_sweeps.execution import in_process as in_process_engine
from mt_sweeps.execution import ray_cluster
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.precision import with_precision
from mt_sweeps.execution.preflight import (
    DatasetCheck,
    check_data,
    check_disk,
    check_nodes,
    check_storage,
    spec_versions,
)
from mt_sweeps.execution.resources import Share, local_resources, share_of
from mt_sweeps.execution.simulated_trainer import VARIABLE
from mt_sweeps.plugins import changed_plugins
from mt_sweeps.results import best_file
from mt_sweeps.results.status import is_budget_spent
from mt_sweeps.results.summary import summary_text
from mt_sweeps.results.unstarted import way_on
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.load import load_spec, with_more_hours, with_trials
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.home import Home, SweepStore, command_line
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Prior
from mt_sweeps.terminal import print
from mt_sweeps.tracking.background import BackgroundWriter, finish
from mt_sweeps.tracking.client import connection_problem
from mt_sweeps.tracking.pages import link_to
from mt_sweeps.tracking.sweep_run import SweepRun
from trainers.files import write_atomically

TRACKING_SECONDS = 60  # that the end of a sweep waits for MLflow
_INTERRUPTED_SECONDS = 5  # the same, for a sweep that was interrupted


def run_sweep(
    file: Path,
    home: Home,
    name: str | None,
    overrides: tuple[str, ...],
    trials: int | None,
    in_process: bool = False,
    notify: str | None = None,
) -> SweepStore:
    """Start a new sweep and run it to its end.

    Args:
        file: the search-space file.
        home: where the sweep will live.
        name: of the sweep, or None for the name in the file, made unique.
        overrides: `key=value` into the file.
        trials: overrides the number of trials in the file.
        in_process: run the trials in this process, one after another, without Ray.
        notify: a command that gets the status of the sweep, as `Notifier` runs it.

    Returns:
        The sweep.

    Raises:
        InputError: the file or the machine cannot do it; nothing has started.
        SweepError: the sweep ended without a result.
    """
    spec = load_spec(file, (*overrides, *([f"trials={trials}"] if trials is not None else [])))
    home.new_sweep(name, spec.name)  # refuses a name that is taken, before the work
    check_storage(file, home, spec)
    data = check_data(file, spec)
    earlier, taken = warm_start(file, home, spec, data.fingerprint)
    prior, known = with_prior_points(spec, len(data.classes), data.purposes["unlabeled"], earlier)
    mlflow_problem = _check_mlflow(home, spec)
    with _resources(file, spec, data, in_process) as (share, spec):
        planned = forecasts.forecast(spec, share.concurrent)
        check_disk(home, spec.storage, planned.disk_bytes)
        sweep = home.create_sweep(name, spec.name)
        spec = spec.model_copy(update={"name": sweep.name})
        _create(sweep, spec, data, share, file, prior)
        print(forecasts.text(spec, planned, share, data, None), flush=True)
        for line in [*taken, *known]:
            print(line, flush=True)
        _print_places(sweep, mlflow_problem)
        notifier = Notifier(notify, sweep)
        with notifier.at_the_end(), sweep.exclusive(sweep.already_driven):
            _conduct(sweep, spec, share, notifier, in_process, mlflow_problem)
    return sweep


def resume_sweep(
    home: Home,
    name: str | None,
    more: int = 0,
    in_process: bool = False,
    notify: str | None = None,
    hours: float = 0.0,
) -> None:
    """Go on with a sweep whose driver is gone, from each trial's last checkpoint.

    Args:
        home: where it lives.
        name: of the sweep, or None for the newest.
        more: trials to search with beyond those it was started with.
        in_process: run the trials in this process, one after another, without Ray.
        notify: as of `run_sweep`.
        hours: more than its budget had.

    Raises:
        InputError: there is no such sweep, it has a living driver, or it cannot be resumed here.
        SweepError: the sweep ended without a result.
    """
    sweep = home.sweep(name)
    sweep.check_plugins()
    check_storage(Path(sweep.name), home, sweep.load_spec())
    if sweep.is_driven:
        raise InputError(sweep.already_driven)
    notifier = Notifier(notify, sweep)
    # Before anything is read that another process may change.
    with notifier.at_the_end(), sweep.exclusive(sweep.already_driven):
        sweep.clear_stop_request()  # of a driver before this one
        _resume(sweep, more, hours, in_process, notifier)


def _resume(sweep: SweepStore, more: int, hours: float, in_process: bool, notifier: Notifier) -> None:
    """Go on with a sweep whose lock is held; arguments and errors as of `resume_sweep`."""
    spec, label = sweep.load_spec(), Path(sweep.name)
    if more:
        spec = with_trials(spec, spec.trials + more)
    if hours:
        spec = with_more_hours(spec, hours)
    ledger = Ledger(sweep.ledger, spec)
    if is_budget_spent(sweep, ledger):
        way = way_on(sweep, ledger)
        if more:
            raise InputError(f"{sweep.name}: its budget is spent, so none of {more} more trials would start; {way}")
        print(f"note: the budget of {sweep.name} is spent, so no trial starts; {way}", flush=True)
    if more or hours:
        sweep.save_spec(spec)
    if all(trial.finished for trial in ledger.all_trials()) and not any(map(ledger.remaining, spec.arms())):
        print(f"{spec.name} is finished: MLflow is completed, nothing else is left to do", flush=True)
        _conduct(sweep, spec, None, notifier)
        return
    environment = sweep.load_environment()
    _print_file_change(sweep, environment)
    data = check_data(label, spec)
    if data.fingerprint != environment.data_fingerprint:
        raise InputError(
            f"{sweep.name}: the images are not those that the sweep began with; bring them back, or start a new sweep"
        )
    if data.split_fingerprint != environment.split_fingerprint:
        raise InputError(
            f"{sweep.name}: the images serve other purposes than when the sweep began (they have other copies or "
            "groups, or an earlier version drew them); start a new sweep"
        )
    if data.weights != environment.weights:
        raise InputError(
            f"{sweep.name}: the file of model.weights is not the one that the sweep began with; bring it back, or "
            "start a new sweep"
        )
    for module in changed_plugins(environment.versions, spec_versions(spec)):
        print(f"note: the code of the plugin {module} has changed since the sweep began", flush=True)
    mlflow_problem = _check_mlflow(sweep.home, spec)
    with _resources(label, spec, data, in_process) as (share, _):
        if environment.gpus_per_trial and not share.gpus:
            raise InputError(f"{sweep.name}: its trials ran on GPUs and there are none now; resume it where some are")
        print(f"{spec.name} goes on where it was", flush=True)
        _print_places(sweep, mlflow_problem)
        _conduct(sweep, spec, share, notifier, in_process, mlflow_problem)


def _print_places(sweep: SweepStore, mlflow_problem: str | None) -> None:
    """Say where the sweep's files are, and where it can be watched."""
    link = None if mlflow_problem else link_to(sweep)
    print(f"  files     {sweep.location}", flush=True)
    print(f"  dashboard {link or command_line(sweep.home, 'dashboard', sweep.name)}", flush=True)


def _print_file_change(sweep: SweepStore, environment: Environment) -> None:
    """Say that an edit of the search-space file since the sweep began is not used, and what to do."""
    file = Path(environment.file)
    if environment.file_digest and _digest(file) not in ("", environment.file_digest):
        command = command_line(sweep.home, "run", str(file))
        print(
            f"note: {file} has changed since the sweep began, and the change is not used: a sweep goes on with what it "
            f"was started with; for a new sweep: {command}\n"
            f"      trials, budget, resources and tracking may be changed in {sweep.path / 'spec.yaml'}",
            flush=True,
        )


def _digest(file: Path) -> str:
    """Return the SHA-256 of a file, or nothing if it is none that can be read again."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
    except OSError:
        return ""


def _create(
    sweep: SweepStore,
    spec: SweepSpec,
    data: DatasetCheck,
    share: Share,
    file: Path,
    prior: Mapping[Arm, Prior] | None = None,
) -> None:
    """Step 4: write all that a resume needs."""
    environment = Environment(
        id=uuid.uuid4().hex,
        started=time.time(),
        versions=spec_versions(spec),
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
        weights=data.weights,
        classes=data.classes,
        groups=data.groups,
        file=str(file.absolute()),
        file_digest=_digest(file),
        cautions=data.cautions,
    )
    Ledger.create(sweep.ledger, spec, data.published, prior=prior).close()
    sweep.save_environment(environment)
    sweep.save_spec(spec)  # last: with it, the sweep and all the rest of it exist for other commands


def _conduct(
    sweep: SweepStore,
    spec: SweepSpec,
    share: Share | None,
    notifier: Notifier,
    in_process: bool = False,
    mlflow_problem: str | None = None,
) -> None:
    """Steps 5 to 8, for a new sweep and for a resumed one, whose lock is held.

    Args:
        sweep: the sweep.
        spec: of it.
        share: what a trial gets, or None if no trial is left to run.
        notifier: runs its command when a trial fails.
        in_process: run the trials in this process, without Ray.
        mlflow_problem: why MLflow does not answer, if that was said already.
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
    with Board(ledger, share.concurrent, writer.start, notifier.trial_failed, is_live=not in_process) as board:
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


def _check_mlflow(home: Home, spec: SweepSpec) -> str | None:
    """Return why the MLflow server does not answer now, or None. The embedded store is made when it gets its first run.

    Raises:
        InputError: it will never answer: the address or the credentials are wrong.
    """
    problem = None if spec.tracking.uri is None else connection_problem(home, spec.tracking)
    if problem is not None:
        print(f"MLflow at {spec.tracking.uri} does not answer ({problem}): it is completed when it does", flush=True)
    return problem


def _load_driver() -> None:
    """Load Ray Tune, which takes more than a second, before it is needed."""
    from mt_sweeps.execution import driver  # noqa: F401


@contextmanager
def _resources(file: Path, spec: SweepSpec, data: DatasetCheck, in_process: bool) -> Iterator[tuple[Share, SweepSpec]]:
    """Start Ray, or join its cluster, and give what a trial gets there, and the specification with its precision.

    In this process, trials run one at a time.
    """
    if VARIABLE in os.environ:
        print(f"{VARIABLE} is set: the trials are simulated, no network is trained", flush=True)
    if in_process:
        print("trials run in this process, one after another, without Ray", flush=True)
        share = replace(share_of(file, spec, local_resources()), concurrent=1)
        yield share, with_precision(spec, share, None)
        return
    address = ray_cluster.cluster_address()
    print(f"joining the Ray cluster at {address}" if address else "starting Ray on this machine", flush=True)
    available = ray_cluster.start(_load_driver)
    try:
        share = share_of(file, spec, available)
        on_all_nodes = check_nodes(file, spec, share, data) if address else None
        yield share, with_precision(spec, share, on_all_nodes)
    finally:
        ray_cluster.stop()
