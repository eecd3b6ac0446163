"""The engine that runs trials with Ray Tune: on this machine's cores and GPUs, or on those of a cluster.

Tune decides when and where a trial runs. The coordinator decides everything else: Tune keeps no checkpoints, retries
nothing, and may die at any moment.
"""

import gc
import logging
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.execution.class_cache import DEFAULT_ENV_VARS, ENV_VARS_TO_PROPAGATE
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from mt_sweeps.execution import ray_cluster, ray_watch
from mt_sweeps.execution.attempt import Assignment, GpuLost
from mt_sweeps.execution.coordinator import Coordinator
from mt_sweeps.execution.resources import Share
from mt_sweeps.execution.worker import TrialWorker

TRIALS_AT_MOST = 1000  # per Tune experiment: Tune remembers 30 to 60 kB of each; a new experiment costs seconds

logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # it would list lost trials as unfinished
# Tune would give each worker an environment of its own. So the workers that Ray has started beforehand could take no
# trial; and a store's credentials would be in it, and Ray would log them. Every node has its own.
ENV_VARS_TO_PROPAGATE.clear()
DEFAULT_ENV_VARS.clear()


def run(coordinator: Coordinator, share: Share, resume_command: str) -> None:
    """Run trials until the coordinator has no more, or says that everything is to stop. Then Ray begins to end.

    Args:
        coordinator: decides what runs.
        share: what a trial gets, and how many run at once.
        resume_command: what to type if Ray dies.

    Raises:
        Unfinished: a process of Ray died.
    """
    driver = _Driver(coordinator)
    with ray_watch.watchdog(resume_command):
        while _run_experiment(driver, share) and not driver.should_stop():
            pass
    ray_cluster.begin_to_stop()  # the report and MLflow need no Ray


def _run_experiment(driver: "_Driver", share: Share) -> bool:
    """Run one Tune experiment; return True if it ended because it reached its limit of trials."""
    driver.started = 0
    with tempfile.TemporaryDirectory(prefix="mt-sweeps-") as scratch:  # for Tune's own files, which nobody reads
        tune.Tuner(
            tune.with_resources(TrialWorker, {"cpu": share.cpus, "gpu": share.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_LedgerSearcher(driver),
                scheduler=_LedgerScheduler(driver),
                num_samples=-1,
                max_concurrent_trials=share.concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                stop=_SweepStopper(driver),
                verbose=0,
                progress_reporter=tune.CLIReporter(),  # silent at 0; Tune's own for notebooks clears the cell
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    gc.collect()  # what Tune leaves behind refers to itself in circles, which Python would collect much later
    return driver.started >= TRIALS_AT_MOST


class _Driver:
    """What Tune's three hooks share: the coordinator, and which of its assignments Tune calls by which id."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.started = 0  # trials, in this Tune experiment
        self._coordinator = coordinator
        self._assignments: dict[str, Assignment] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()  # Tune pickles its settings to restore them later; ours are in the ledger

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Driver":
        return self

    def suggest(self, tune_id: str) -> dict[str, Any] | str | None:
        """Return the configuration of the next trial, None if there is none now, or FINISHED."""
        if self._coordinator.error is not None or self.started >= TRIALS_AT_MOST:
            return str(Searcher.FINISHED)
        with self._coordinator.capture_errors():
            assignment = self._coordinator.next_assignment()
            if assignment is not None:
                self.started += 1
                self._assignments[tune_id] = assignment
                return {"assignment": assignment}
            if not self._coordinator.is_idle:
                return None
        return str(Searcher.FINISHED)

    def reported(self, tune_id: str, result: dict[str, Any]) -> bool:
        """Return True if the trial is to end at this report."""
        if self._coordinator.error is None:
            with self._coordinator.capture_errors():
                return self._coordinator.reported(self._assignments[tune_id], result["outcome"].report)
        return False

    def ended(self, tune_id: str, result: dict[str, Any]) -> None:
        """Hand on the last outcome of a trial."""
        if self._coordinator.error is None:
            with self._coordinator.capture_errors():
                self._coordinator.ended(self._assignments.pop(tune_id), result["outcome"])

    def worker_lost(self, tune_id: str, message: str) -> None:
        """Hand on that a worker died; if it died with Ray itself, that does not count against the trial."""
        if self._coordinator.error is None and ray_watch.dead_process() is None:
            with self._coordinator.capture_errors():
                self._coordinator.worker_lost(self._assignments.pop(tune_id), message)

    def should_stop(self) -> bool:
        """Return True if the experiment is to end, with the trials that run."""
        with self._coordinator.capture_errors():
            self._coordinator.poll()
        return self._coordinator.should_stop


class _LedgerSearcher(Searcher):  # type: ignore[misc]
    """Tune asks it what to run next."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver

    def suggest(self, trial_id: str) -> Any:
        return self._driver.suggest(trial_id)

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The scheduler hears of it, too, and hands it on."""

    def save(self, checkpoint_path: str) -> None:
        """Tune keeps no state of ours."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune keeps no state of ours."""


class _LedgerScheduler(FIFOScheduler):  # type: ignore[misc]
    """Tune reports to it what came of a trial, and asks whether the trial goes on."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self._driver = driver

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        return str(self.STOP if self._driver.reported(trial.trial_id, result) else self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        self._driver.ended(trial.trial_id, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        # What a trial raises is an outcome (see `Attempt`), so this is a process that was lost.
        self._driver.worker_lost(trial.trial_id, _why_lost(trial))

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial that never started is still WAITING or RUNNING in the ledger, and is taken up again from there."""


class _SweepStopper(tune.Stopper):  # type: ignore[misc]
    """Tune asks it whether everything is to end."""

    def __init__(self, driver: _Driver) -> None:
        self._driver = driver

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._driver.should_stop()


def _why_lost(trial: Any) -> str:
    """Return why the process of a trial was lost, as far as it is known.

    Tune writes what Ray says into a file; its `get_error` would look for it in the storage, where it comes later.
    """
    text = ""
    with suppress(OSError, TypeError):
        text = Path(trial.error_file).read_text(errors="replace")
    if f"{GpuLost.__name__}: " in text:
        return text.rpartition(f"{GpuLost.__name__}: ")[2].partition("\n")[0]
    if "low on memory" in text:
        return "Ray ended its process, since the node ran low on memory"
    return "its process died"
