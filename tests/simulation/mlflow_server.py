"""The simulated MLflow: runs in memory, and a server that may refuse a call, or do it and lose the answer."""

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tests.simulation.world import World


@dataclass
class Run:
    """A run as the server has it. Points are counted by metric, step, time and value: MLflow keeps equal ones once."""

    id: str
    tags: dict[str, str]
    status: str = "RUNNING"
    is_deleted: bool = False
    params: dict[str, str] = field(default_factory=dict)
    points: set[tuple[str, int, int, float]] = field(default_factory=set)

    def steps(self, metric: str) -> Counter[int]:
        """Return how often a metric was logged at each step."""
        return Counter(step for name, step, _, _ in self.points if name == metric)


class Server:
    """What mt-sweeps calls of `mlflow.MlflowClient`.

    Args:
        world: of it.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.runs: dict[str, Run] = {}
        self.experiment_tags: dict[str, str] = {}

    def get_experiment_by_name(self, name: str) -> Any:
        self._call("get_experiment_by_name")
        return SimpleNamespace(experiment_id="0", lifecycle_stage="active", name=name, tags=self.experiment_tags)

    def set_experiment_tag(self, experiment: str, key: str, value: str) -> None:
        del experiment
        self._call("set_experiment_tag")
        self.experiment_tags = {**self.experiment_tags, key: value}
        self._answer("set_experiment_tag")

    def log_inputs(self, run: str, datasets: list[Any]) -> None:
        del run, datasets
        self._call("log_inputs")
        self._answer("log_inputs")

    def search_runs(self, experiments: list[str], query: str, max_results: int, page_token: str | None) -> Any:
        del experiments, max_results, page_token
        self._call("search_runs")
        wanted = dict(part.split(" = ") for part in query.split(" and "))
        tags = {key.removeprefix("tags.").strip("`"): value.strip("'") for key, value in wanted.items()}
        found = [run for run in self.runs.values() if not run.is_deleted and tags.items() <= run.tags.items()]
        return _Page(map(_shown, found))

    def create_run(self, experiment: str, start: int, tags: dict[str, str], name: str) -> Any:
        del experiment, start
        self._call("create_run")
        run = Run(str(len(self.runs)), {**tags, "mlflow.runName": name})
        self.runs[run.id] = run
        self._answer("create_run")
        return _shown(run)

    def get_run(self, run: str) -> Any:
        self._call("get_run")
        return _shown(self.runs[run])

    def log_batch(self, run: str, metrics: list[Any], params: list[Any], tags: list[Any]) -> None:
        self._call("log_batch")
        for param in params:
            assert self.runs[run].params.setdefault(param.key, param.value) == param.value, "a parameter never changes"
        self.runs[run].points |= {(one.key, one.step, one.timestamp, one.value) for one in metrics}
        self.runs[run].tags |= {tag.key: tag.value for tag in tags}
        self._answer("log_batch")

    def log_text(self, run: str, text: str, file: str) -> None:
        del run, text, file
        self._call("log_text")
        self._answer("log_text")

    def update_run(self, run: str, status: str) -> None:
        self._call("update_run")
        self.runs[run].status = status
        self._answer("update_run")

    def set_terminated(self, run: str, status: str, end: int | None) -> None:
        del end
        self.update_run(run, status)

    def delete_run(self, run: str) -> None:
        self._call("delete_run")
        self.runs[run].is_deleted = True
        self._answer("delete_run")

    def _call(self, name: str) -> None:
        self._world.point(f"MLflow: {name}")
        if self._world.mlflow_fails == "refuses":
            raise ConnectionError("MLflow does not answer")

    def _answer(self, name: str) -> None:
        self._world.point(f"MLflow: {name} is done")
        if self._world.mlflow_fails == "loses":
            raise ConnectionError("the answer was lost")


class _Page(list[Any]):
    """The one page of an answer."""

    token = None


def _shown(run: Run) -> Any:
    info = SimpleNamespace(run_id=run.id, artifact_uri="mlflow-artifacts:/", status=run.status)
    metrics = {name: value for name, _, _, value in run.points}
    return SimpleNamespace(info=info, data=SimpleNamespace(tags=dict(run.tags), params=run.params, metrics=metrics))
