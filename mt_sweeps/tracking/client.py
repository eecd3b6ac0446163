"""The few calls to MLflow that mt-sweeps makes, on the embedded store or on a server."""

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
_METRICS_PER_BATCH = 800  # MLflow takes 1,000 metrics, parameters and tags at a time
# Set before MLflow is imported.
_ENVIRONMENT = {
    # `BackgroundWriter` makes calls again. If MLflow did, a run whose answer was lost would be created twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "45",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else the project in the current folder is copied into a model
}


class Client:
    """Reads and writes runs of one experiment, which is created if there is none.

    Args:
        home: holds the embedded store.
        tracking: the address of the server, if there is one, and the name of the experiment.
        store: an `mlflow.MlflowClient`; None: the one of that server, or of the embedded store.

    Attributes:
        experiment: the id of the experiment.

    Raises:
        InputError: the experiment was deleted.
        Exception: MLflow cannot be used; see `raise_if_permanent`.
    """

    def __init__(self, home: Home, tracking: Tracking, store: Any = None) -> None:
        mlflow = _import_mlflow()
        self._entities = mlflow.entities
        self._is_embedded = tracking.uri is None and store is None
        if self._is_embedded:
            home.path.mkdir(parents=True, exist_ok=True)
        # Processes that open a new SQLite file at once would all create its tables.
        with FileLock(home.path / "mlflow.lock") if self._is_embedded else threading.Lock():
            if self._is_embedded and not home.mlflow_db.exists():
                # The tables are created in many steps. A store that was killed in between could never be opened, so
                # the file gets its name last.
                unfinished = home.path / ".mlflow.db.unfinished"
                unfinished.unlink(missing_ok=True)
                mlflow.MlflowClient(f"sqlite:///{unfinished}").search_experiments(max_results=1)
                unfinished.replace(home.mlflow_db)
            self._mlflow = store or mlflow.MlflowClient(embedded_uri(home) if self._is_embedded else tracking.uri)
            artifacts = home.artifacts.as_uri() if self._is_embedded else None
            self.experiment = self._get_or_create_experiment(tracking, artifacts)

    def _get_or_create_experiment(self, tracking: Tracking, artifacts: str | None) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._mlflow.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            kind = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow opens its pages for agents
            try:
                return str(self._mlflow.create_experiment(tracking.experiment, artifacts, kind))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self._mlflow.get_experiment_by_name(tracking.experiment)  # another sweep has just created it
        if experiment.lifecycle_stage == "deleted":
            raise InputError(
                f"tracking.experiment: {tracking.experiment!r} was deleted in MLflow; restore it there, or name another"
            )
        return str(experiment.experiment_id)

    def get_or_create_run(self, tags: dict[str, str], name: str, start: float) -> str:
        """Return the id of the run with these tags; create it if there is none."""
        runs = list(self.runs(tags))
        return self.deduplicate(runs) if runs else self.create_run(tags, name, start)

    def deduplicate(self, runs: list[tuple[str, dict[str, str]]]) -> str:
        """Return the one of several runs that is in use, and remove the others.

        There are several if MLflow created a run and its answer was lost, so that it was asked for another one.

        Args:
            runs: ids and tags, from `runs`; at least one.
        """
        kept = next((run for run, tags in runs if "mt.state" in tags), runs[0][0])
        for run, _ in runs:
            if run != kept:
                self.remove(run)
        return kept

    def create_run(self, tags: dict[str, str], name: str, start: float) -> str:
        """Create a run and return its id.

        Args:
            tags: of the run.
            name: of the run.
            start: seconds since 1970.
        """
        return str(self._mlflow.create_run(self.experiment, int(start * 1000), tags, name).info.run_id)

    def runs(self, tags: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield the id and all tags of each run that has these tags."""
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
        run_params = [self._entities.Param(key, str(value)) for key, value in (params or {}).items()]
        run_tags = [self._entities.RunTag(key, value[:5000]) for key, value in (tags or {}).items()]
        for start in range(0, max(1, len(metrics)), _METRICS_PER_BATCH):
            self._mlflow.log_batch(run, metrics[start : start + _METRICS_PER_BATCH], run_params, run_tags)
            run_params, run_tags = [], []

    def params(self, run: str) -> dict[str, str]:
        """Return the parameters of a run."""
        return dict(self._mlflow.get_run(run).data.params)

    def log_file(self, run: str, file: Path, folder: str | None = None) -> None:
        """Store a file with the run."""
        self._mlflow.log_artifact(run, str(file), folder)

    def log_text(self, run: str, text: str, file: str) -> None:
        """Store a text with the run, as a file of that name."""
        self._mlflow.log_text(run, text, file)

    def register(self, run: str, name: str, model: Path, tags: dict[str, str]) -> int:
        """Make a model file that a run trained a version of a registered model; see `model_registry.register`."""
        return model_registry.register(self._mlflow, self.experiment, run, name, model, tags)

    def remove(self, run: str) -> None:
        """Delete a run, and in the embedded store its artifacts. A server's own garbage collection takes the rest."""
        artifacts = self._mlflow.get_run(run).info.artifact_uri
        self._mlflow.delete_run(run)
        if self._is_embedded and artifacts.startswith("file://"):
            shutil.rmtree(Path(url2pathname(urlparse(artifacts).path)).parent, ignore_errors=True)

    def set_status(self, run: str, status: str, end: float | None = None) -> None:
        """Set the status of a run.

        Args:
            run: its id.
            status: RUNNING, or one that ends the run: FINISHED, KILLED or FAILED.
            end: when the run ended, in seconds since 1970; None: now.
        """
        if status == "RUNNING":
            self._mlflow.update_run(run, status)
        else:
            self._mlflow.set_terminated(run, status, int(end * 1000) if end else None)


def connection_problem(home: Home, tracking: Tracking) -> str | None:
    """Connect to MLflow before anything starts.

    Returns:
        Why the server does not answer now, though it may later, or None if it does.

    Raises:
        InputError: it never will: credentials are refused, or there is no such store.
    """
    _import_mlflow()  # takes seconds, which are not the server's
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
        return None
    raise_if_permanent(error, tracking)
    return first_line(error)


def raise_if_permanent(error: Exception, tracking: Tracking) -> None:
    """Raise an error of MLflow that does not go away by itself, as one that says what to do.

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
    """Return the type and the first line of an error's first cause, without what libraries put around it."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {cause}".splitlines()[0][:300]


def remove_runs(home: Home, sweep: SweepStore) -> int:
    """Delete all runs of a sweep, but not those of final trainings; return how many there were."""
    spec = sweep.load_spec()
    if spec.tracking.uri is None and not home.mlflow_db.exists():
        return 0
    client = Client(home, spec.tracking)
    parents = [run for run, _ in client.runs({"mt.sweep": sweep.load_environment().id, "mt.arm": "sweep"})]
    children = [run for parent in parents for run, _ in client.runs({"mlflow.parentRunId": parent})]
    for run in (*children, *parents):  # the parents last: without them the next call would not find the children
        client.remove(run)
    return len(children) + len(parents)


def embedded_uri(home: Home) -> str:
    """Return the address of the embedded store of a home, as MLflow takes it."""
    return f"sqlite:///{home.mlflow_db}"


def _import_mlflow() -> Any:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow
