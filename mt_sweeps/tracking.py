"""The window: MLflow shows what the ledger and the records say. A projection: it can be made again at any time.

A background thread brings it up to date, so that it cannot stop, slow or lose a sweep. Everything is sent with the
records' own time stamps, so that sending twice changes nothing.
"""

import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock

from mt_sweeps import records
from mt_sweeps.home import Home, SweepDirectory
from mt_sweeps.sections import Tracking
from mt_sweeps.study import Ledger
from mt_sweeps.trial import Trial
from trainers.files import BEST_MODEL
from trainers.report import Report

# Set before MLflow is imported: an absent server must not hold a call for minutes, and nobody is told that we run.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Client:
    """The few calls to MLflow that we make, on the embedded store or a server.

    Args:
        home: holds the embedded store.
        tracking: where the window is, and the experiment's name.
    """

    def __init__(self, home: Home, tracking: Tracking) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import mlflow

        for noisy in ("alembic", "mlflow"):
            logging.getLogger(noisy).setLevel(logging.ERROR)

        self._entities = mlflow.entities
        self._embedded = embedded = tracking.uri is None
        if embedded:
            home.path.mkdir(parents=True, exist_ok=True)
        # Processes that first touch one SQLite file race in its migration.
        with FileLock(home.path / "mlflow.lock") if embedded else threading.Lock():
            if embedded and not home.mlflow_db.exists():
                # Made in many steps, and killed in between it could never be opened again: it gets its name last.
                unfinished = home.path / ".mlflow.db.unfinished"
                unfinished.unlink(missing_ok=True)
                mlflow.MlflowClient(f"sqlite:///{unfinished}").search_experiments(max_results=1)
                unfinished.replace(home.mlflow_db)
            self._mlflow = mlflow.MlflowClient(embedded_uri(home) if embedded else tracking.uri)
            experiment = self._mlflow.get_experiment_by_name(tracking.experiment)
            if experiment is not None:
                self.experiment = experiment.experiment_id
            else:
                self.experiment = self._mlflow.create_experiment(
                    tracking.experiment,
                    artifact_location=home.artifacts.as_uri() if embedded else None,
                )

    def run(self, tags: dict[str, str], name: str, start: float) -> str:
        """The id of the run with these tags, made if there is none."""
        for run, _ in self.runs(tags):
            return run
        return self.new_run(tags, name, start)

    def new_run(self, tags: dict[str, str], name: str, start: float) -> str:
        """The id of a run made now."""
        return str(self._mlflow.create_run(self.experiment, int(start * 1000), tags, name).info.run_id)

    def runs(self, tags: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
        """The ids and tags of all runs with these tags."""
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = self._mlflow.search_runs([self.experiment], query, max_results=1000, page_token=token)
            for run in page:
                yield str(run.info.run_id), dict(run.data.tags)
            token = page.token
            if not token:
                return

    def send(
        self,
        run: str,
        reports: Iterable[Report] = (),
        params: dict[str, Any] | None = None,
        tags: dict[str, str] | None = None,
    ) -> None:
        """Send metrics, parameters and tags, in batches that MLflow takes."""
        metrics = [
            self._entities.Metric(name, value, int(report.time * 1000), report.step)
            for report in reports
            for name, value in report.metrics.items()
        ]
        of_params = [self._entities.Param(key, str(value)) for key, value in (params or {}).items()]
        of_tags = [self._entities.RunTag(key, value[:5000]) for key, value in (tags or {}).items()]
        for start in range(0, max(1, len(metrics)), 800):
            self._mlflow.log_batch(run, metrics[start : start + 800], of_params, of_tags)
            of_params, of_tags = [], []

    def send_file(self, run: str, file: Path, folder: str | None = None) -> None:
        """Store a file with the run."""
        self._mlflow.log_artifact(run, str(file), folder)

    def remove(self, run: str) -> None:
        """Delete a run; in the embedded store its artifacts, too. A server's own garbage collection takes the rest."""
        artifacts = self._mlflow.get_run(run).info.artifact_uri
        self._mlflow.delete_run(run)
        if self._embedded and artifacts.startswith("file://"):
            shutil.rmtree(Path(url2pathname(urlparse(artifacts).path)).parent, ignore_errors=True)

    def end(self, run: str, status: str, when: float | None = None) -> None:
        """Set the run's status; RUNNING takes it up again."""
        if status == "RUNNING":
            self._mlflow.update_run(run, status)
        else:
            self._mlflow.set_terminated(run, status, int(when * 1000) if when else None)


class SweepWindow:
    """One sweep in MLflow: a parent run, and a child run a trial.

    Args:
        home: holds the embedded store.
        directory: of the sweep.
        ledger: of the sweep; only read.
    """

    def __init__(self, home: Home, directory: SweepDirectory, ledger: Ledger) -> None:
        self._home = home
        self._directory = directory
        self._ledger = ledger
        self._spec = ledger.spec
        self._client: Client | None = None
        self._parent = ""
        self._children: dict[tuple[str, int], str] = {}
        self._sent: dict[tuple[str, int], int] = {}
        self._closed: set[tuple[str, int]] = set()
        self._best: tuple[int, int] | None = None

    def catch_up(self) -> None:
        """Send what is new since the last time; after a failure, simply call it again."""
        if self._client is None:
            client = Client(self._home, self._spec.tracking)
            environment = json.loads(self._directory.environment.read_text())
            self._parent = client.run(
                {"mt.sweep": environment["id"], "mt.arm": "sweep"}, self._directory.name, environment["started"]
            )
            client.end(self._parent, "RUNNING")
            for file in (self._directory.spec, self._directory.environment):
                client.send_file(self._parent, file)
            # Asked for once: to look for each run before it is made would cost more the more there are.
            for run, tags in client.runs({"mlflow.parentRunId": self._parent}):
                self._children[tags["mt.arm"], int(tags["mt.trial"])] = run
            self._client = client
        for trial in self._ledger.all_trials():
            self._show(self._client, trial)
        self._show_best(self._client)

    def finish(self, status: str, summary: str) -> None:
        """The sweep has ended: its description, its winning parameters, its status."""
        self.catch_up()
        assert self._client is not None
        best = self._ledger.best()
        tags = {"mt.state": status, "mlflow.note.content": f"```\n{summary}\n```"}
        if best is not None and status == "FINISHED":
            self._client.send(self._parent, params=best.values, tags={**tags, "mt.best": str(best.number)})
            if self._directory.best.exists():
                self._client.send_file(self._parent, self._directory.best)
        else:
            self._client.send(self._parent, tags=tags)
        self._client.end(self._parent, status)

    def _show(self, client: Client, trial: Trial) -> None:
        place = (trial.arm, trial.number)
        if place in self._closed:
            return
        recorded = self._directory.newest(trial.arm, trial.number, records.FILE)
        reports = records.read(recorded) if recorded else []
        if place not in self._children:
            name = f"trial-{trial.number:04d}" if trial.arm == "search" else f"{trial.arm}-{trial.number:04d}"
            tags = {"mlflow.parentRunId": self._parent, "mt.arm": trial.arm, "mt.trial": str(trial.number)}
            if trial.of is not None:
                tags["mt.of"] = f"{trial.of[0]}-{trial.of[1]:04d}"
            self._children[place] = client.new_run(tags, name, trial.started)
        run, params = self._children[place], trial.values if place not in self._sent else None
        new = [report for report in reports if report.step > self._sent.get(place, 0)]
        state = {"mt.state": trial.state, "mt.attempt": str(trial.attempt)}
        if trial.reason:
            state |= {"mt.reason": trial.reason, "mt.message": trial.message}
        if params or new or trial.finished:
            client.send(run, new, params, state)
            self._sent[place] = max([report.step for report in new], default=self._sent.get(place, 0))
        if trial.finished:
            has_teacher = any("validation.teacher_error" in report.metrics for report in reports)
            network = "teacher" if has_teacher else "student"
            best = self._directory.newest(trial.arm, trial.number, BEST_MODEL)
            if best is not None:
                client.send_file(run, best / BEST_MODEL, network)
            client.end(run, _STATUS[trial.state], trial.last.time if trial.last else None)
            for file in self._directory.trial(trial.arm, trial.number).glob(f"attempt-*/{BEST_MODEL}"):
                file.unlink()  # kept once: in the window
            self._closed.add(place)

    def _show_best(self, client: Client) -> None:
        """The best so far on the parent, as a curve over completed trials: the runs table shows only parents."""
        complete = [
            trial for trial in self._ledger.trials("search") if trial.state == "complete" and trial.last is not None
        ]
        best = self._ledger.best()
        if best is None or best.last is None or self._best == (len(complete), best.number):
            return
        metric: str = self._spec.metric
        newest = max(trial.last.time for trial in complete if trial.last)
        shown = {metric: (best.error(metric) or (1.0, 0.0))[0]}
        client.send(self._parent, [Report(len(complete), newest, shown)], tags={"mt.best": str(best.number)})
        self._best = (len(complete), best.number)


def remove_runs(home: Home, directory: SweepDirectory) -> int:
    """Delete all of a sweep's runs; how many there were."""
    spec = directory.load_spec()
    if spec.tracking.uri is None and not home.mlflow_db.exists():
        return 0
    client = Client(home, spec.tracking)
    sweep = json.loads(directory.environment.read_text())["id"]
    parents = [run for run, _ in client.runs({"mt.sweep": sweep})]
    children = [run for parent in parents for run, _ in client.runs({"mlflow.parentRunId": parent})]
    for run in (*children, *parents):  # the parents last: without them the children would not be found again
        client.remove(run)
    return len(children) + len(parents)


class BackgroundWriter:
    """Calls something every few seconds in a thread of its own, whatever becomes of the calls.

    Args:
        catch_up: brings the window up to date.
        every: seconds between calls.
    """

    def __init__(self, catch_up: Callable[[], None], every: float = 3.0) -> None:
        self.trouble = ""
        self._catch_up = catch_up
        self._every = every
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="window", daemon=True)

    def start(self) -> None:
        """Begin; the first call is made at once."""
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether a call is still under way, or more are to come."""
        return self._thread.is_alive()

    def stop(self, seconds: float) -> bool:
        """No more calls; whether the one under way ended within so many seconds, else `trouble` says so."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        if self.running:
            self.trouble = f"no answer within {seconds:g} seconds"
        return not self.running

    def _work(self) -> None:
        while True:  # once at least, also where it is stopped as soon as it starts
            try:
                self._catch_up()
                self.trouble = ""
            except Exception as error:  # the window may not stop the sweep
                self.trouble = f"{type(error).__name__}: {error}".splitlines()[0]
            if self._ending.wait(self._every):
                return


def embedded_uri(home: Home) -> str:
    """The address of the home directory's own MLflow store."""
    return f"sqlite:///{home.mlflow_db}"
