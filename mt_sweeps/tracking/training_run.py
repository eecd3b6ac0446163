"""A final training in MLflow: a run of its own, and its model in the registry. Like a sweep's, it can be made again."""

from pathlib import Path

from mt_sweeps.results.best_file import TrainingRequest
from mt_sweeps.results.training_result import MODEL, TrainingResult
from mt_sweeps.spec.sweep_spec import dotted
from mt_sweeps.storage import records
from mt_sweeps.storage.home import Home
from mt_sweeps.tracking.client import Client
from trainers.report import Report


class TrainingRun:
    """One training of the exported configuration, with one seed.

    Args:
        home: holds the embedded store.
        asked: what is trained; its `trainer.seed` is that of this training.
        file: that the user gave.
        directory: of the training.
    """

    def __init__(self, home: Home, asked: TrainingRequest, file: Path, directory: Path) -> None:
        self._home = home
        self._asked = asked
        self._file = file
        self._directory = directory
        self._client: Client | None = None
        self._run = ""
        self._sent = 0  # the last step of what is there

    def sync(self) -> None:
        """Send what is new since the last time; after a failure, simply call it again."""
        reports = records.read(self._directory)
        if not reports:
            return
        client = self._client or self._connected(reports[0])
        try:
            client.log(self._run, [report for report in reports if report.step > self._sent])
            self._sent = reports[-1].step
        except Exception:
            self._client = None  # what was asked for last may have been done or not: looked up anew
            raise

    def interrupted(self, status: str) -> None:
        """It has ended before its end: KILLED (it can go on) or FAILED."""
        self.sync()
        if self._client is not None:
            self._client.log(self._run, tags={"mt.state": status})
            self._client.set_status(self._run, status)

    def finish(self, trained: TrainingResult) -> int:
        """It has ended: what the test showed, and the model.

        Returns:
            The version in the registry.
        """
        self._client = None  # looked up once more: what was late is there by now
        self.sync()
        assert self._client is not None  # who has ended has reported
        shown = {
            f"test.{network}_{key}": getattr(error, key)
            for network, error in trained.test.items()
            for key in ("error", "standard_error")
        }
        step = self._asked.best.trainer.steps
        tags = self._tags | {"mt.state": "complete"}
        self._client.log(self._run, [Report(step, trained.time, shown)] if shown else [], tags=tags)
        self._client.log_file(self._run, self._file)
        error = trained.test.get(trained.network)
        of_version = self._tags | {"mt.test_error": f"{error.error:.4f}" if error else "none"}
        name = self._asked.best.sweep
        version = self._client.register(self._run, name, self._directory / MODEL, of_version)
        self._client.set_status(self._run, "FINISHED", trained.time)
        return version

    @property
    def _tags(self) -> dict[str, str]:
        best = self._asked.best
        tags = {"mt.sweep": best.sweep_id, "mt.trial": str(best.trial), "mt.seed": str(best.trainer.seed)}
        tags["mt.trained"] = self._directory.name
        # Not what the sweep found: whoever looks at the model must see that.
        return tags | ({"mt.changed": ", ".join(self._asked.changed)} if self._asked.changed else {})

    def _connected(self, first: Report) -> Client:
        best = self._asked.best
        client = Client(self._home, best.tracking)
        own = {key: self._tags[key] for key in ("mt.sweep", "mt.trained")} | {"mt.arm": "train"}
        self._run = client.get_or_create_run(own, self._directory.name, first.time - first.seconds)
        settings = dotted(best.trainer.model_dump())
        params = {key: settings[key] for key in best.searched if key in settings}
        client.log(self._run, params=params | {"seed": best.trainer.seed}, tags=self._tags | {"mt.state": "RUNNING"})
        client.log_text(self._run, best.trainer.model_dump_json(indent=2), "config.json")
        client.set_status(self._run, "RUNNING")
        self._client, self._sent = client, 0
        return client
