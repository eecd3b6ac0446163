"""The few calls to MLflow that mt-sweeps makes, on the embedded store or on a server."""

import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.storage.home import Home
from mt_sweeps.tracking import embedded_store, model_registry
from mt_sweeps.tracking.credentials import check_credentials
from mt_sweeps.tracking.mlflow_errors import first_line, raise_if_permanent
from mt_sweeps.tracking.shared_view import ALL_SWEEPS, sweeps_view_text, tag_of
from trainers.config import TrainerConfig
from trainers.report import Report

_DIGEST = 36  # characters of the digest of a data set that MLflow takes
MOST_TAG_CHARACTERS = 5000
CHECK_SECONDS = 10  # that the start of a sweep waits for MLflow
_METRICS_PER_BATCH = 800  # MLflow takes 1,000 metrics, parameters and tags at a time
# Of MLflow's variables, those that say how to reach and prove oneself to a server. All others that the user has set for
# other programs (MLFLOW_REGISTRY_URI, MLFLOW_RUN_ID, ...) would change what is written, or where.
_KEPT = ("MLFLOW_TRACKING_", "MLFLOW_S3_")
_KIND = "mlflow.experimentKind"  # which pages MLflow opens: those for training, or those for agents
# Set before MLflow is imported.
_ENVIRONMENT = {
    # `BackgroundWriter` makes calls again. If MLflow did, a run whose answer was lost would be created twice.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "45",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else the project in the current folder is copied into a model
}


@dataclass(frozen=True)
class StoredRun:
    """A run as MLflow has it.

    Attributes:
        id: of the run.
        tags: all of them.
        status: RUNNING, FINISHED, KILLED or FAILED.
        entries: number of its parameters, metrics and tags.
    """

    id: str
    tags: dict[str, str]
    status: str
    entries: int


class Client:
    """Reads and writes runs of one experiment, which is created if there is none.

    Args:
        home: holds the embedded store.
        tracking: the address of the server, if there is one, and the name of the experiment.
        store: an `mlflow.MlflowClient`; None: the one of that server, or of the embedded store.

    Attributes:
        experiment: the id of the experiment.
        experiment_tags: of the experiment.

    Raises:
        InputError: the experiment was deleted, the embedded store cannot be used, or credentials would go to a server
            that they are not for.
        Exception: MLflow cannot be used; see `raise_if_permanent`.
    """

    def __init__(self, home: Home, tracking: Tracking, store: Any = None) -> None:
        check_credentials(tracking)
        mlflow = _import_mlflow()
        self._entities = mlflow.entities
        self._new_runs: dict[str, str] = {}  # where the files go of runs that were just created
        self._artifacts = home.artifacts if tracking.uri is None and store is None else None
        from mt_sweeps.tracking import local_artifacts  # loads MLflow

        local_artifacts.restrict(self._artifacts)
        # Only one process at a time makes the embedded store, or its experiment.
        with embedded_store.opened(mlflow, home) if self._artifacts is not None else nullcontext(tracking.uri) as uri:
            self._mlflow = store or mlflow.MlflowClient(uri, registry_uri=uri)
            self._uri = None if store else uri
            self.experiment, self.experiment_tags = self._get_or_create_experiment(tracking)
        if self.experiment_tags.get(_KIND, "_inferred").endswith(("_inferred", "no_inferred_type")):  # nobody chose it
            self.set_experiment_tag(_KIND, "custom_model_development")
        self.set_experiment_tag(tag_of(ALL_SWEEPS), sweeps_view_text())

    def _get_or_create_experiment(self, tracking: Tracking) -> tuple[str, dict[str, str]]:
        from mlflow.exceptions import MlflowException

        artifacts = None if self._artifacts is None else self._artifacts.as_uri()
        experiment = self._mlflow.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            try:
                return str(self._mlflow.create_experiment(tracking.experiment, artifacts)), {}
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            experiment = self._mlflow.get_experiment_by_name(tracking.experiment)  # another sweep has just created it
        if experiment.lifecycle_stage == "deleted":
            raise InputError(
                f"tracking.experiment: {tracking.experiment!r} was deleted in MLflow; restore it there, or name another"
            )
        return str(experiment.experiment_id), dict(experiment.tags)

    def set_experiment_tag(self, key: str, value: str) -> None:
        """Set a tag of the experiment, if it has another value."""
        if self.experiment_tags.get(key) != value:
            self._mlflow.set_experiment_tag(self.experiment, key, value)
            self.experiment_tags[key] = value

    def delete_experiment_tag(self, key: str) -> None:
        """Delete a tag of the experiment, if there is one."""
        if self.experiment_tags.pop(key, None) is not None:
            self._mlflow.delete_experiment_tag(self.experiment, key)

    def get_or_create_run(
        self, tags: dict[str, str], name: str, start: float, more_tags: dict[str, str] | None = None
    ) -> tuple[str, dict[str, str]]:
        """Return the id and all tags of the run with these tags; create it if there is none.

        Args:
            tags: that no other run has.
            name: of a run that is created.
            start: of a run that is created, in seconds since 1970.
            more_tags: of a run that is created.
        """
        runs = list(self.runs(tags))
        if runs:
            kept = self.deduplicate(runs)
            return kept.id, kept.tags
        created = tags | (more_tags or {})
        return self.create_run(created, name, start), created

    def deduplicate(self, runs: list[StoredRun]) -> StoredRun:
        """Return the one of several runs that is in use, and remove the others.

        There are several if MLflow created a run and its answer was lost, so that another one was created. One that
        is not in use has no more than it was created with.

        Args:
            runs: from `runs`; at least one.
        """
        kept = max(runs, key=lambda run: (run.status != "RUNNING", run.entries))
        for run in runs:
            if run.id != kept.id:
                self.remove(run.id)
        return kept

    def create_run(self, tags: dict[str, str], name: str, start: float) -> str:
        """Create a run and return its id.

        Args:
            tags: of the run.
            name: of the run.
            start: seconds since 1970.
        """
        run = self._mlflow.create_run(self.experiment, int(start * 1000), tags, name).info
        self._new_runs = {str(run.run_id): str(run.artifact_uri)}
        return str(run.run_id)

    def runs(self, tags: dict[str, str]) -> Iterator[StoredRun]:
        """Yield each run that has these tags."""
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        token = None
        while True:
            page = self._mlflow.search_runs([self.experiment], query, max_results=1000, page_token=token)
            for run in page:
                entries = len(run.data.params) + len(run.data.metrics) + len(run.data.tags)
                yield StoredRun(str(run.info.run_id), dict(run.data.tags), str(run.info.status), entries)
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
        run_tags = [self._entities.RunTag(key, value[:MOST_TAG_CHARACTERS]) for key, value in (tags or {}).items()]
        for start in range(0, max(1, len(metrics)), _METRICS_PER_BATCH):
            self._mlflow.log_batch(run, metrics[start : start + _METRICS_PER_BATCH], run_params, run_tags)
            run_params, run_tags = [], []

    def log_dataset(self, run: str, config: TrainerConfig, fingerprint: str, images: dict[str, int]) -> None:
        """Name the data set that a run was trained on. Doing so again changes nothing.

        Args:
            run: its id.
            config: whose data set it is.
            fingerprint: hash of the images and their classes.
            images: number of images by purpose.
        """
        dataset = config.dataset
        folder = getattr(dataset, "root", None)
        shown = self._entities.Dataset(
            name=Path(folder).absolute().name if folder and dataset.name == "image_folder" else dataset.name,
            digest=fingerprint[:_DIGEST],
            source_type="local" if folder else "mt-sweeps",
            source=json.dumps({"uri": str(folder)} if folder else {"name": dataset.name}),
            profile=json.dumps(images),
        )
        context = self._entities.InputTag("mlflow.data.context", "training")
        self._mlflow.log_inputs(run, [self._entities.DatasetInput(shown, [context])])

    def params_and_tags(self, run: str) -> tuple[dict[str, str], dict[str, str]]:
        """Return the parameters and the tags of a run."""
        data = self._mlflow.get_run(run).data
        return dict(data.params), dict(data.tags)

    def rename(self, run: str, name: str) -> None:
        """Give a run another name."""
        self._mlflow.update_run(run, name=name)

    def log_file(self, run: str, file: Path, folder: str | None = None) -> None:
        """Store a file with the run."""
        self._mlflow.log_artifact(run, str(file), folder)

    def log_text(self, run: str, text: str, file: str) -> None:
        """Store a text with the run, as a file of that name, in no folder."""
        artifacts = self._new_runs.pop(run, None)
        if artifacts is None or self._uri is None:
            self._mlflow.log_text(run, text, file)
            return
        # MLflow's client would ask for the run to know where its files go: a fifth of what a trial costs here.
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with tempfile.TemporaryDirectory(prefix="mt-sweeps-") as folder:
            (Path(folder) / file).write_text(text, encoding="utf-8")
            get_artifact_repository(artifacts, tracking_uri=self._uri).log_artifact(str(Path(folder) / file))

    def download(self, run: str, file: str, folder: Path) -> Path | None:
        """Return a file that was stored with a run, in a folder of this machine; None: the run has none of that name.

        Args:
            run: its id.
            file: its path among those of the run.
            folder: to put it.
        """
        inside = file.rpartition("/")[0]
        if file not in {stored.path for stored in self._mlflow.list_artifacts(run, inside or None)}:
            return None
        return Path(self._mlflow.download_artifacts(run, file, str(folder)))

    def register(self, run: str, name: str, model: Path, tags: dict[str, str], card: str) -> int:
        """Make a model file that a run trained a version of a registered model; see `model_registry.register`."""
        return model_registry.register(self._mlflow, self.experiment, run, name, model, tags, card)

    def remove(self, run: str) -> None:
        """Delete a run, and in the embedded store its artifacts. A server's own garbage collection takes the rest."""
        artifacts = self._mlflow.get_run(run).info.artifact_uri
        self._mlflow.delete_run(run)
        if self._artifacts is not None and artifacts.startswith("file://"):
            folder = Path(url2pathname(urlparse(artifacts).path)).parent.resolve()
            if folder.is_relative_to(self._artifacts.resolve()):  # nothing is removed elsewhere
                shutil.rmtree(folder, ignore_errors=True)

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
    raise_if_permanent(error, home, tracking)
    return first_line(error)


def clean_environment() -> dict[str, str]:
    """Return the environment without what would have MLflow do something else than it is told."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_") or name.startswith(_KEPT)
    }


def _import_mlflow() -> Any:
    for name in set(os.environ) - set(clean_environment()):
        del os.environ[name]
    os.environ.update(_ENVIRONMENT)
    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow
