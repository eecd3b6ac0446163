"""A final training in MLflow: a run, and its model in the registry. Like a sweep's runs, they can be made again."""

import json
from collections.abc import Sequence
from pathlib import Path

from mt_sweeps.results.best_file import TrainingRequest
from mt_sweeps.results.training_result import MODEL, TrainingResult
from mt_sweeps.spec.dotted import dotted
from mt_sweeps.storage import records
from mt_sweeps.storage.home import Home
from mt_sweeps.tracking.client import Client
from mt_sweeps.tracking.mlflow_errors import permanent_errors
from mt_sweeps.tracking.model_card import card_text
from mt_sweeps.tracking.numbers import ROUNDED, param_text, rounded
from mt_sweeps.tracking.shared_view import tag_of, view_page
from trainers.report import Report

_COLOUR = "#c2255c"  # of final trainings in MLflow


class TrainingRun:
    """One training of the exported configuration, with one seed.

    Args:
        home: holds the embedded store.
        request: what is trained; its `trainer.seed` is that of this training.
        file: the best-hyper-parameters file that the user named.
        directory: of the training.
    """

    def __init__(self, home: Home, request: TrainingRequest, file: Path, directory: Path) -> None:
        self._home = home
        self._request = request
        self._file = file
        self._directory = directory
        self._client: Client | None = None
        self._run = ""
        self._is_exact = False  # an earlier version made its run, with all digits
        self._sent = 0  # the last step that MLflow has

    def sync(self) -> None:
        """Send what is new since the last call. After an error, call it again."""
        reports = records.read(self._directory)
        if not reports:
            return
        with permanent_errors(self._home, self._request.best.tracking):
            client = self._client or self._connect(reports[0].time - reports[0].seconds)
            try:
                self._log(client, [report for report in reports if report.step > self._sent])
                self._sent = reports[-1].step
            except Exception:
                self._client = None  # MLflow may have done the last call or not: the next one looks what is there
                raise

    def interrupted(self, status: str) -> None:
        """Send what is left of a training that stopped early.

        Args:
            status: KILLED (it can be resumed) or FAILED.
        """
        self.sync()
        if self._client is not None:
            self._client.log(self._run, tags={"mt.state": status})
            self._client.set_status(self._run, status)

    def finish(self, result: TrainingResult) -> int:
        """Send what is left, the test errors and the model.

        Returns:
            The version of the model in the registry.
        """
        with permanent_errors(self._home, self._request.best.tracking):
            return self._finish(result)

    def _finish(self, result: TrainingResult) -> int:
        self._client = None  # a call that seemed lost may have been done since: look what is there
        self.sync()
        client = self._client or self._connect(result.time)  # its records may be gone
        metrics = {
            f"test.{network}_{key}": value
            for network, error in result.test.items()
            for key, value in error.metrics.items()
        }
        step = self._request.best.trainer.steps
        tags = self._tags(result.cautions) | {"mt.state": "complete"}
        self._log(client, [Report(step, result.time, metrics)] if metrics else [], tags)
        client.log_file(self._run, self._file)
        for file in sorted(self._directory.glob("test_*.*")):  # tables and pictures
            client.log_file(self._run, file)
        if result.test:
            by_class = {network: error.model_dump() for network, error in result.test.items()}
            content = {"classes": result.classes, "test": by_class}
            client.log_text(self._run, json.dumps(content), "class_errors.json")
        error = result.test.get(result.network)
        version_tags = self._tags(result.cautions) | {"mt.test_error": f"{error.error:.4f}" if error else "none"}
        best = self._request.best
        has_view = tag_of(best.sweep_id) in client.experiment_tags
        page = view_page(client.experiment, best.sweep_id) if has_view else None
        client.log_dataset(self._run, best.trainer, result.data_fingerprint, result.images)
        card = card_text(self._request, result, page)
        version = client.register(self._run, best.model_name, self._directory / MODEL, version_tags, card)
        client.set_status(self._run, "FINISHED", result.time)
        return version

    def _tags(self, cautions: Sequence[str]) -> dict[str, str]:
        best = self._request.best
        tags = {"mt.sweep": best.sweep_id, "mt.trial": str(best.trial), "mt.seed": str(best.trainer.seed)}
        tags["mt.trained"] = self._directory.name
        tags |= {"mt.baseline": best.arm} if best.arm != "search" else {}
        # The model is not quite what the sweep found, and whoever uses it must see that.
        tags |= {"mt.changed": ", ".join(self._request.changed)} if self._request.changed else {}
        return tags | ({"mt.cautions": "; ".join(cautions)} if cautions else {})

    def _connect(self, start: float) -> Client:
        best = self._request.best
        client = Client(self._home, best.tracking)
        ours = self._tags(self._request.cautions)
        own = {key: ours[key] for key in ("mt.sweep", "mt.trained")} | {"mt.arm": "train"}
        what = "final training" if best.arm == "search" else f"final training of {best.trial_id.label}"
        name = f"{best.sweep}: {what}, seed {best.trainer.seed}"
        look = {"mlflow.runColor": _COLOUR, ROUNDED: "true"}
        self._run, tags = client.get_or_create_run(own, name, start, look)
        self._is_exact = ROUNDED not in tags
        if tags.get("mlflow.runName") == self._directory.name:  # as an earlier version named it
            client.rename(self._run, name)
        settings = dotted(best.trainer.model_dump())
        params = {key: settings[key] for key in best.searched if key in settings} | {"seed": best.trainer.seed}
        texts = {key: str(value) if self._is_exact else param_text(value) for key, value in params.items()}
        client.log(self._run, params=texts, tags=ours | {"mt.state": "RUNNING"})
        client.log_text(self._run, best.trainer.model_dump_json(indent=2), "config.json")
        client.set_status(self._run, "RUNNING")
        self._client, self._sent = client, 0
        return client

    def _log(self, client: Client, reports: list[Report], tags: dict[str, str] | None = None) -> None:
        client.log(self._run, reports if self._is_exact else map(rounded, reports), tags=tags)
