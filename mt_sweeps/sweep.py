"""The life of a sweep, step by step: the one place that knows the order.

1. The file is validated whole (`spec.load`). 2. The machine is checked: name, data, disk, Ray and its GPUs. 3. The
forecast is printed. 4. The sweep's directory gets the resolved file and the environment. 5. The ledger is opened and
what a dead driver left running waits again. 6. The driver runs all arms. 7. The window is completed. 8. The best
configuration is written and the summary printed.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_sweeps import cluster, export, finalists, yaml_file
from mt_sweeps import forecast as forecasts
from mt_sweeps import spec as specs
from mt_sweeps.cluster import Share
from mt_sweeps.console import Board, counted, duration, error_text, values_text
from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.explain import of_trainer
from mt_sweeps.forecast import Forecast
from mt_sweeps.home import Home, SweepDirectory, is_held, only_one, typed
from mt_sweeps.spec import SweepSpec, Values
from mt_sweeps.study import Ledger, best_of
from mt_sweeps.tracking import BackgroundWriter, SweepWindow, remove_runs
from trainers.data.cache import cache_folder, prepare, read_facts
from trainers.data.sources import check_source
from trainers.data.splits import split_for
from trainers.errors import DataError, TrainingError
from trainers.files import write_atomically
from trainers.scripted import VARIABLE

_BASELINES = {
    "supervised": "the same network and steps without the unlabeled images",
    "published": "the authors' values, as many steps, nothing searched",
}
STOP_SECONDS = 120  # that a driver may take to end after it was asked to
WINDOW_SECONDS = 60  # that the end of a sweep waits for MLflow
_DRIVEN = "{}: another process is driving this sweep; wait for it or end it"


@dataclass(frozen=True)
class Data:
    """What the check of the data set found.

    Attributes:
        fingerprint: of the images and their classes.
        classes: how many there are.
        purposes: how many images serve which purpose.
        published: all settings of the published baseline, as `SweepSpec.published` has them.
    """

    fingerprint: str
    classes: int
    purposes: dict[str, int]
    published: Values


def run(file: Path, home: Home, name: str | None, overrides: tuple[str, ...], trials: int | None) -> None:
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
    spec = specs.load(file, (*overrides, *([f"trials={trials}"] if trials is not None else [])))
    if VARIABLE in os.environ:
        print(f"{VARIABLE} is set: the trials are scripted, no network is trained", flush=True)
    home.new_sweep(name, spec.name)  # refuses a name that is taken, before the work
    data = _check_data(file, spec)
    home.check_writable()
    with _ray(file, spec) as share:
        planned = forecasts.forecast(spec, share.concurrent)
        _check_disk(home, planned)
        directory = home.claim(name, spec.name)
        spec = spec.model_copy(update={"name": directory.name})
        _describe(directory, spec, data, share)
        print(_told(spec, data, forecasts.lines(spec, planned, share, None)), flush=True)
        _carry_on(home, directory, spec, share)


def plan(file: Path, overrides: tuple[str, ...], trials: int | None) -> str:
    """What a sweep of this file would take here; nothing is started or written but the decoded images.

    Args:
        file: the search-space file.
        overrides: `key=value` into the file.
        trials: overrides the file's number of trials.

    Returns:
        The forecast, in words. Where the machine cannot train, the part that does not depend on it.

    Raises:
        InputError: the file is wrong, or asks for what this machine does not have.
    """
    spec = specs.load(file, (*overrides, *([f"trials={trials}"] if trials is not None else [])))
    share = _share(file, spec, cluster.found_here())
    planned = forecasts.forecast(spec, share.concurrent)
    data, speed, notes = None, None, []
    try:
        data = _check_data(file, spec)
        print("measuring a few steps", flush=True)
        speed = forecasts.measured(spec.sample_config(), share.cpus)
    except (InputError, DataError, TrainingError) as error:
        notes.append(f"  note      no time: {error}")
    return _told(spec, data, [*forecasts.lines(spec, planned, share, speed), *notes])


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
    return f"{name} is stopped; go on with: {typed('resume', name, home)}"


def remove(home: Home, name: str) -> str:
    """Remove a sweep and all that it kept: its runs and their artifacts in MLflow, then its directory.

    Returns:
        What was removed, in words.

    Raises:
        InputError: there is no such sweep, or it is being driven.
        SweepError: MLflow does not answer; nothing but a part of its runs is gone, and it can be asked again.
    """
    directory = home.sweep(name)
    with only_one(directory.lock, _DRIVEN.format(directory.name)):
        try:
            runs = remove_runs(home, directory)
        except Exception as error:  # of MLflow's client, its store or the network
            raise SweepError(f"{name}: its runs cannot be removed from MLflow: {error}") from None
        directory.spec.unlink()  # first: without it the rest is no sweep any more
        shutil.rmtree(directory.path, ignore_errors=True)
    return f"{name} is removed, with {counted(runs, 'MLflow run')}"


def resume(home: Home, name: str | None, more: int = 0) -> None:
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
    home.check_writable()
    spec = directory.load_spec()
    if is_held(directory.lock):
        raise InputError(_DRIVEN.format(directory.name))
    if more:
        spec = specs.with_trials(spec, spec.trials + more)
    ledger = Ledger(directory.ledger, spec)
    if more:
        write_atomically(directory.spec, yaml_file.dump(spec.model_dump(exclude_none=True)))
    if all(trial.finished for trial in ledger.all_trials()) and not any(map(ledger.remaining, spec.arms())):
        print(f"{spec.name} is finished: MLflow is completed, nothing else is left to do", flush=True)
        _carry_on(home, directory, spec, share=None)
        return
    environment = json.loads(directory.environment.read_text())
    if _check_data(directory.spec, spec).fingerprint != environment["data_fingerprint"]:
        raise InputError(
            f"{directory.name}: the images are not those that the sweep began with; bring them back, or start a new "
            "sweep"
        )
    with _ray(directory.spec, spec) as share:
        if environment["gpus_per_trial"] and not share.gpus:
            raise InputError(
                f"{directory.name}: its trials ran on GPUs and there are none now; resume it where some are"
            )
        print(f"{spec.name} goes on where it was", flush=True)
        _carry_on(home, directory, spec, share)


def _carry_on(home: Home, directory: SweepDirectory, spec: SweepSpec, share: Share | None) -> None:
    """Steps 5 to 8, for a new sweep and for a resumed one; without a share, of a sweep with no trial left to run."""
    enough = ""
    with only_one(directory.lock, _DRIVEN.format(directory.name)):
        directory.stop.unlink(missing_ok=True)  # said to a driver before this one
        ledger = Ledger(directory.ledger, spec)
        for trial in ledger.all_trials():
            if trial.state == "running":
                ledger.requeue(trial)
        window = SweepWindow(home, directory, ledger)
        writer = BackgroundWriter(window.catch_up)
        status = "FAILED"
        try:
            if share is not None:
                from mt_sweeps import driver  # brings Ray

                # MLflow takes seconds to load: it waits until the workers are at work.
                with Board(ledger, share.concurrent, on_first_report=writer.start) as board:
                    enough = driver.run(ledger, directory, share, board)
            best = ledger.best()
            if best is None:
                raise SweepError(f"no trial completed; see {directory.path / 'trials'}")
            environment = json.loads(directory.environment.read_text())
            write_atomically(directory.best, export.text(export.best_file(spec, best, environment)))
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            print(f"\ninterrupted; go on with: {typed('resume', spec.name, home)}", flush=True)
            raise
        finally:
            summary = summary_text(spec, ledger, home)
            _complete_window(
                spec.name, writer, lambda: window.finish(status, summary), 5 if status == "KILLED" else WINDOW_SECONDS
            )
    if enough:
        print(f"\n{enough}: no more trials were started")
    print(f"\n{summary}", flush=True)


def summary_text(spec: SweepSpec, ledger: Ledger, home: Home) -> str:
    """How a sweep stands or ended: counts, the best, the baseline beside it, and what to type next."""
    trials = ledger.all_trials()
    searched = [trial for trial in trials if trial.arm == "search"]
    counts = ", ".join(
        f"{sum(trial.state == state for trial in searched)} {state}"
        for state in ("complete", "pruned", "failed", "running", "waiting")
        if any(trial.state == state for trial in searched)
    )
    done = f"{counted(len(searched), 'trial')} in {duration(ledger.active_seconds)}"
    lines = [f"{spec.name}: {done}: {counts or 'none asked for'}"]
    metric = spec.metric
    network = "student" if "student" in metric else "teacher"
    images = spec.sample_config().dataset.validation
    best = ledger.best()
    if best is not None:
        lines += [
            "",
            f"best       trial {best.number}: validation error of the {network} {error_text(best.error(metric))}"
            f" (standard error, {images} images)",
            f"           {values_text(best.values)}",
        ]
    baselines = {arm: best_of([trial for trial in trials if trial.arm == arm], metric) for arm in _BASELINES}
    told = [(arm, trial) for arm, trial in baselines.items() if trial is not None]
    lines += [f"{arm:10} {error_text(trial.error(metric))}: {_BASELINES[arm]}" for arm, trial in told]
    if told:
        lines.append("           (no claim: one run each, on the images that chose the best)")
    lines += finalists.lines(ledger)
    lines += [f"pruning    {correlation}" for correlation in ledger.correlations()]
    reasons = sorted({trial.reason for trial in trials if trial.state == "failed"})
    for reason in reasons:
        failed = [trial for trial in trials if trial.reason == reason]
        lines.append(f"failed     {len(failed)} with {reason}: {failed[0].message.splitlines()[0]}")
    if best is not None:
        lines += [
            "",
            f"dashboard  {spec.tracking.uri or typed('dashboard', '', home)}",
            f"next       {typed('export', f'{spec.name} -o best.yaml', home)}",
            f"           {typed('train', 'best.yaml', home)}",
        ]
    return "\n".join(lines)


def _check_data(file: Path, spec: SweepSpec) -> Data:
    """Make the data set ready on this machine, and make sure that every trial can be fed from it."""
    configs = [spec.config(values, arm) for values, arm in spec.corners()]
    dataset = configs[0].dataset
    try:
        check_source(dataset)
        facts = read_facts(prepare(dataset, _decoding()))
        for config in configs:
            split = split_for(config, facts.train_labels, len(facts.classes), facts.shape[0])
        published: Values = {}
        if "published" in spec.arms():
            published = spec.published(len(facts.classes), len(split.unlabeled))
            split_for(spec.config(published, "published"), facts.train_labels, len(facts.classes), facts.shape[0])
    except DataError as error:
        raise InputError(f"{file}: {of_trainer(error)}") from None
    except OSError as error:
        raise InputError(
            f"{error.filename or dataset.name}: {error.strerror}; decoded images go to {cache_folder()}, which "
            "MT_SWEEP_CACHE can change"
        ) from None
    if facts.skipped:
        names = ", ".join(facts.skipped[:3]) + (", ..." if len(facts.skipped) > 3 else "")
        print(f"left out, since they cannot be read: {counted(len(facts.skipped), 'image')}: {names}", flush=True)
    counts = {purpose: len(getattr(split, purpose)) for purpose in ("labeled", "unlabeled", "validation", "verdict")}
    return Data(facts.fingerprint, len(facts.classes), counts, published)


def _decoding() -> Callable[[int, int], None]:
    told = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told > 2 or done == total:
            told = time.monotonic()
            print(f"decoding images, once for this machine: {done:,} of {total:,}", flush=True)

    return progress


def _check_disk(home: Home, planned: Forecast) -> None:
    free = shutil.disk_usage(home.path).free
    if free < planned.disk_bytes:
        raise InputError(
            f"{home.path}: the sweep needs about {planned.disk_bytes / 1e6:,.0f} MB of disk and {free / 1e6:,.0f} MB "
            "are free; make room, choose another disk with --home DIR, or lower trials"
        )


def _describe(directory: SweepDirectory, spec: SweepSpec, data: Data, share: Share) -> None:
    packages = ("mt-sweeps", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy", "pydantic", "scikit-learn")
    environment: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "started": time.time(),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in packages},
        "platform": platform.platform(),
        "gpus_per_trial": share.gpus,
        "concurrent": share.concurrent,
        "seeds": {
            "sampler": spec.sampler.seed,
            "trainer": spec.trainer.get("seed", 0),
            "split": spec.sample_config().dataset.split_seed,
        },
        "data_fingerprint": data.fingerprint,
    }
    write_atomically(directory.environment, json.dumps(environment, indent=2) + "\n")
    Ledger.create(directory.ledger, spec, data.published).close()
    # Last: with this file the sweep is there for other commands, and all the rest of it too.
    write_atomically(directory.spec, yaml_file.dump(spec.model_dump(exclude_none=True)))


def _told(spec: SweepSpec, data: Data | None, rest: list[str]) -> str:
    config = spec.sample_config()
    head = [f"{spec.name}: {config.dataset.name}, {config.model.name}"]
    if data is not None:
        purposes = ", ".join(f"{count:,} {purpose}" for purpose, count in data.purposes.items() if count)
        head = [
            f"{spec.name}: {config.dataset.name}, {data.classes} classes, {config.model.name}",
            f"  images    {purposes}",
        ]
    return "\n".join([*head, *rest])


def _complete_window(name: str, writer: BackgroundWriter, finish: Callable[[], None], seconds: float) -> None:
    last = BackgroundWriter(finish, every=1.0)
    if writer.stop(seconds):
        last.start()
        last.stop(seconds)
    if writer.trouble or last.trouble:
        told = writer.trouble if writer.running else last.trouble
        print(f"\nMLflow is not up to date ({told}); `mt-sweep resume {name}` completes it", flush=True)


@contextmanager
def _ray(file: Path, spec: SweepSpec) -> Iterator[Share]:
    print("starting Ray on this machine", flush=True)
    found = cluster.start()
    try:
        yield _share(file, spec, found)
    finally:
        cluster.stop()


def _share(file: Path, spec: SweepSpec, found: dict[str, float]) -> Share:
    try:
        return cluster.share(spec.resources, found, spec.sample_config().device)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
