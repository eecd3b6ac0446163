"""What several of these tests start from."""

import functools
import tempfile
from pathlib import Path
from typing import Any

from mt_sweeps.commands import run
from mt_sweeps.execution.preflight import check_data
from mt_sweeps.execution.resources import Share
from mt_sweeps.execution.simulated_trainer import Script, SimulatedTrainer
from mt_sweeps.results import finalists
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.load import load_spec
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage import records
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.storage.rdb import open_storage
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial
from mt_sweeps.tracking.embedded_store import embedded_uri
from tests.helpers.command_line import DIGITS, REPOSITORY
from trainers.errors import Collapsed, Diverged
from trainers.files import BEST_MODEL
from trainers.report import Report

ENVIRONMENT = Environment(  # what a sweep writes down when it starts
    id="abc",
    started=1_700_000_000.0,
    versions={"torch": "2.15.0", "mt-sweeps": "0.0.9"},
    platform="Linux",
    gpus_per_trial=0.0,
    concurrent=2,
    seeds={"sampler": 0, "trainer": 0, "split": 0},
    data_fingerprint="def",
    split_fingerprint="012",
    images={"labeled": 50, "unlabeled": 788, "validation": 300, "verdict": 300},
)


@functools.cache  # specifications do not change
def digits(*overrides: str) -> SweepSpec:
    """The quick start's file without finalists, changed as `--set` would."""
    return load_spec(DIGITS, ("finalists.top=0", *overrides))


def of_folder(images: Path, *overrides: str) -> SweepSpec:
    """The file for image folders, for the few images of `write_two_classes`."""
    small = ("labels=10", "validation=20", "verdict=10", f"root={images}")
    settings = [f"trainer.dataset.{setting}" for setting in small] + ["trainer.batch_size=16", *overrides]
    return load_spec(REPOSITORY / "search_spaces" / "image_folder.yaml", tuple(settings))


@functools.cache
def _empty_database() -> bytes:
    """Return a SQLite file with Optuna's tables, whose creation takes most of a new ledger's time."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "empty.db"
        open_storage(file).engine.dispose()
        return file.read_bytes()


def new_ledger(path: Path | str, spec: SweepSpec) -> Ledger:
    """The ledger of a sweep on digits."""
    if isinstance(path, Path):
        path.write_bytes(_empty_database())
    return Ledger.create(path, spec, spec.published_values(10, 788) if "published" in spec.arms() else {})


def written(folder: Path, content: dict[str, Any]) -> Path:
    file = folder / "space.yaml"
    file.write_text(yaml_file.dump(content))
    return file


def report(step: int, teacher: float, student: float | None = None) -> Report:
    """A report of a Mean Teacher trial; the time stamp follows from the step."""
    metrics = {
        "validation.student_error": teacher if student is None else student,
        "validation.student_standard_error": 0.01,
        "validation.teacher_error": teacher,
        "validation.teacher_standard_error": 0.01,
        "time.step_seconds": step / 100,
        "time.evaluation_seconds": 0.0,
    }
    return Report(step, 1_700_000_000.0 + step, metrics)


def supervised_report(step: int, student: float) -> Report:
    full = report(step, student)
    return Report(step, full.time, {name: v for name, v in full.metrics.items() if "teacher" not in name})


def url(folder: Path) -> str:
    """Of the ledger in a folder, as Optuna takes it."""
    return f"sqlite:///{folder / 'ledger.db'}"


def reopened(ledger: Ledger, folder: Path) -> Ledger:
    ledger.close()
    return Ledger(folder / "ledger.db", ledger.spec)


def finish(ledger: Ledger, trial: Trial, error: float = 0.1) -> Trial:
    last = supervised_report(300, error) if trial.arm == "supervised" else report(300, error)
    ledger.report(trial, last)
    return ledger.complete(trial, last)


def run_all(ledger: Ledger) -> list[Trial]:
    asked = []
    while trial := ledger.ask_search():
        asked.append(trial)
        finish(ledger, trial)
    return asked


def next_finalist(ledger: Ledger, images: dict[str, int] = ENVIRONMENT.images) -> Trial | None:
    """Ask for a finalist, as the coordinator does."""
    ledger.plan_finalists(finalists.plan(ledger, images))
    return ledger.ask_finalist()


class Silent:
    """A listener that hears of everything and does nothing."""

    def started(self, *_: object) -> None: ...

    reported = ended = message = started


class Sweep:
    """A sweep whose reports are made by hand."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.home = LocalHome(folder)
        self.directory = self.home.new_sweep(None, "digits")
        self.directory.path.mkdir(parents=True)
        self.spec = digits("trials=3", *overrides)
        self.directory.save_spec(self.spec)
        self.directory.save_environment(ENVIRONMENT)
        self.ledger = new_ledger(self.directory.ledger, self.spec)

    def train(self, trial: Trial, *errors: float) -> Report:
        folder = Path(self.directory.trials.address(trial.id, trial.attempt))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / BEST_MODEL).write_bytes(b"weights")
        for i, error in enumerate(errors):
            make = supervised_report if trial.arm == "supervised" else report
            one = make(30 * (i + 1), error)
            records.append(folder, one)
            self.ledger.report(trial, one)
        return one

    def runs(self) -> tuple[Any, dict[str, Any], int]:
        import mlflow

        client = mlflow.MlflowClient(self.spec.tracking.uri or embedded_uri(self.home))
        experiment = client.get_experiment_by_name(self.spec.tracking.experiment)
        found = client.search_runs([experiment.experiment_id])
        return client, {run.info.run_name: run for run in found}, len(found)


def begun(home: Home, spec: SweepSpec, share: Share = Share(0.0, 1, 2)) -> SweepStore:  # noqa: B008 (immutable)
    """A sweep on digits as `run` leaves it before its first trial."""
    directory = home.create_sweep(None, spec.name)
    run._create(directory, spec.model_copy(update={"name": directory.name}), check_data(DIGITS, spec), share, DIGITS)
    return directory


def swept(home: Home, spec: SweepSpec, script: Script | None = None, gpus: float = 0.0) -> SweepStore:
    """A whole sweep of scripted trials, one after the other in this process: ledger, records and finalists."""
    directory = begun(home, spec, Share(gpus, 1, 2))
    ledger = Ledger(directory.ledger, directory.load_spec())
    while trial := ledger.ask_search():
        _trained(directory, ledger, trial, script or Script())
    if "finalists" in spec.arms():
        while trial := next_finalist(ledger, directory.load_environment().images):
            _trained(directory, ledger, trial, script or Script())
    ledger.close()
    return directory


def _trained(directory: SweepStore, ledger: Ledger, trial: Trial, script: Script) -> None:
    name = Path(directory.trials.address(trial.id, trial.attempt)).parent.name
    trainer = SimulatedTrainer(ledger.spec.config(trial.values, trial.arm), None, script)
    reason, seen = script.fails.get(name, script.fails_all), []
    try:
        if reason:
            raise {"diverged": Diverged, "collapsed": Collapsed}.get(reason, RuntimeError)("<script>alert(1)</script>")
        for report in trainer.run():
            seen.append(report)
            if ledger.report(trial, report):
                ledger.prune(trial, report)
                break
        else:
            ledger.complete(trial, seen[-1])
    except Exception as error:
        ledger.fail(trial, reason, str(error), None)
    directory.trials.begin(trial.id, trial.attempt, seen)
