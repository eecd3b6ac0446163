"""The few calls to MLflow that we make, and the thread that makes them: no outage stops, slows or loses a sweep."""

import logging
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from filelock import FileLock

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.home import Home, SweepStore
from mt_sweeps.tracking import model_registry
from trainers.report import Report

CHECK_SECONDS = 10  # that the start of a sweep waits for MLflow
# Set before MLflow is imported.
_ENVIRONMENT = {
    # We try again ourselves: a library that repeats what was lost on its way back makes two runs of one.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "45",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else whatever project one stands in is copied into a model
}
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Client:
    """The few calls to MLflow that we make, on the embedded store or a server.

    Args:
        home: holds the embedded store.
        tracking: where the window is, and the experiment's name.
    """

    def __init__(self, home: Home, tracking: Tracking) -> None:
        mlflow = _imported()
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
            self.experiment = self._experiment(tracking, home.artifacts.as_uri() if embedded else None)

    def _experiment(self, tracking: Tracking, artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self._mlflow.get_experiment_by_name(tracking.experiment)
        if found is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow opens its pages for agents
            try:
                return str(self._mlflow.create_experiment(tracking.experiment, artifacts, kind))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            found = self._mlflow.get_experiment_by_name(tracking.experiment)  # another sweep has made it meanwhile
        if found.lifecycle_stage == "deleted":
            raise InputError(
                f"tracking.experiment: {tracking.experiment!r} was deleted in MLflow; restore it there, or name another"
            )
        return str(found.experiment_id)

    def get_or_create_run(self, tags: dict[str, str], name: str, start: float) -> str:
        """The id of the run with these tags, made if there is none."""
        found = list(self.runs(tags))
        return self.deduplicate(found) if found else self.create_run(tags, name, start)

    def deduplicate(self, runs: list[tuple[str, dict[str, str]]]) -> str:
        """The one of several runs that is in use; the others are removed.

        A run that was asked for, and whose answer was lost, is there beside the one that was made in its place.
        """
        kept = next((run for run, tags in runs if "mt.state" in tags), runs[0][0])
        for run, _ in runs:
            if run != kept:
                self.remove(run)
        return kept

    def create_run(self, tags: dict[str, str], name: str, start: float) -> str:
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

    def log(
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

    def params(self, run: str) -> dict[str, str]:
        """The parameters that a run has."""
        return dict(self._mlflow.get_run(run).data.params)

    def log_file(self, run: str, file: Path, folder: str | None = None) -> None:
        """Store a file with the run."""
        self._mlflow.log_artifact(run, str(file), folder)

    def log_text(self, run: str, text: str, file: str) -> None:
        """Store a text with the run, as a file of that name."""
        self._mlflow.log_text(run, text, file)

    def register(self, run: str, name: str, model: Path, tags: dict[str, str]) -> int:
        """Have a model file that a run trained as a version of a registered model; see `registry.register`."""
        return model_registry.register(self._mlflow, self.experiment, run, name, model, tags)

    def remove(self, run: str) -> None:
        """Delete a run; in the embedded store its artifacts, too. A server's own garbage collection takes the rest."""
        artifacts = self._mlflow.get_run(run).info.artifact_uri
        self._mlflow.delete_run(run)
        if self._embedded and artifacts.startswith("file://"):
            shutil.rmtree(Path(url2pathname(urlparse(artifacts).path)).parent, ignore_errors=True)

    def set_status(self, run: str, status: str, when: float | None = None) -> None:
        """Set the run's status; RUNNING takes it up again."""
        if status == "RUNNING":
            self._mlflow.update_run(run, status)
        else:
            self._mlflow.set_terminated(run, status, int(when * 1000) if when else None)


def connection_problem(home: Home, tracking: Tracking) -> str:
    """Whether the window opens, asked before anything starts.

    Returns:
        Why it does not now, but may later: the server does not answer. Empty: it does.

    Raises:
        InputError: it never will: credentials are refused, or there is no such store.
    """
    _imported()  # takes seconds, which say nothing of the server
    outcome: list[Exception | None] = []

    def connect() -> None:
        try:
            Client(home, tracking)
            outcome.append(None)
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CHECK_SECONDS)
    error = outcome[0] if outcome else TimeoutError(f"no answer within {CHECK_SECONDS} seconds")
    if error is None:
        return ""
    raise_if_permanent(error, tracking)
    return first_line(error)


def raise_if_permanent(error: Exception, tracking: Tracking) -> None:
    """Nothing happens where the error may go away by itself.

    Raises:
        InputError: credentials are refused, or there is no such store.
    """
    if isinstance(error, InputError):
        raise error
    status = getattr(error, "get_http_status_code", lambda: 503)()
    if status in (401, 403):
        raise InputError(
            f"tracking.uri: {tracking.uri} refuses the credentials ({status}); set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in the environment"
        )
    if status < 500 or isinstance(error, ImportError):
        raise InputError(f"tracking.uri: {tracking.uri} is no MLflow store that can be used: {first_line(error)}")


def first_line(error: Exception) -> str:
    """The first line of an error, without what surrounds its cause in the libraries."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:300]


def remove_runs(home: Home, directory: SweepStore) -> int:
    """Delete all of a sweep's runs; how many there were."""
    spec = directory.load_spec()
    if spec.tracking.uri is None and not home.mlflow_db.exists():
        return 0
    client = Client(home, spec.tracking)
    sweep = directory.load_environment().id
    parents = [run for run, _ in client.runs({"mt.sweep": sweep, "mt.arm": "sweep"})]  # final trainings stay
    children = [run for parent in parents for run, _ in client.runs({"mlflow.parentRunId": parent})]
    for run in (*children, *parents):  # the parents last: without them the children would not be found again
        client.remove(run)
    return len(children) + len(parents)


def embedded_uri(home: Home) -> str:
    """The address of the home directory's own MLflow store."""
    return f"sqlite:///{home.mlflow_db}"


def _imported() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    return mlflow
