"""The Ray Tune driver: runs what the ledger has waiting to its end, whatever arm it belongs to.

Tune decides when and where a trial runs. What runs, what is pruned and what is tried again is the ledger's to say:
Tune neither keeps checkpoints nor retries, and may die at any moment.
"""

import gc
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from ray import tune
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from mt_sweeps.errors import SweepError, Unfinished, disk_full_text
from mt_sweeps.execution import ray_cluster
from mt_sweeps.execution.resources import Share
from mt_sweeps.execution.worker import DISK_FULL, STORAGE_LOST, TrialWorker
from mt_sweeps.results import finalists
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study import budget
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial
from trainers.report import Report

TRIALS_AT_MOST = 1000  # of one Tune experiment: what it keeps of them is let go of, and new workers cost seconds

logging.getLogger("ray.tune.tune").setLevel(logging.CRITICAL)  # of trials that were lost it says that they are not done
# Tune would send a store's credentials with each worker, and Ray write them into its logs. Every node has its own.
ENV_VARS_TO_PROPAGATE.difference_update([name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")])


class Listener(Protocol):
    """Who wants to hear of a sweep as it goes: the console."""

    def started(self, trial: Trial) -> None:
        """A worker was given the trial."""

    def reported(self, trial: Trial, report: Report) -> None:
        """The trial was evaluated."""

    def ended(self, trial: Trial) -> None:
        """The trial is complete, pruned, failed, or waits again since its worker was lost."""

    def message(self, text: str) -> None:
        """Something is to be known of the sweep as a whole."""


def run(ledger: Ledger, directory: SweepStore, share: Share, listener: Listener) -> str:
    """Run all trials that the ledger asks for.

    Args:
        ledger: says what runs, and hears what came of it.
        directory: of the sweep.
        share: what a trial gets, and how many run at once.
        listener: told of everything.

    Returns:
        Why no more trials were started, where some were left to start; empty otherwise.

    Raises:
        SweepError: the first three trials failed alike.
        Unfinished: the disk is full, or Ray died.
        KeyboardInterrupt: another process asked for the end.
    """
    engine = _Engine(ledger, directory, share, listener)
    with ray_cluster.watchdog(directory.resume_command):
        while _run_some(engine, share) and not engine.is_over():
            pass
    if engine.trouble is not None:
        raise engine.trouble
    ledger.save_time()
    if engine.stopped:
        raise KeyboardInterrupt
    if engine.failure is not None:
        raise SweepError(
            f"the first three trials all failed with {engine.failure.reason}, so the configuration is at fault: "
            f"{engine.failure.message}\nsee {directory.trials.address(engine.failure.id, 1)}"
        )
    return engine.search_is_over() if any(ledger.remaining(arm) for arm in ledger.spec.arms()) else ""


def _run_some(engine: "_Engine", share: Share) -> bool:
    """One Tune experiment; whether it ended since it was full.

    Tune remembers every trial (30 to 60 kB each were seen): a long sweep is made of several experiments.
    """
    engine.started = 0
    with tempfile.TemporaryDirectory(prefix="mt-sweeps-") as scratch:  # Tune's own files, which nobody reads
        tune.Tuner(
            tune.with_resources(TrialWorker, {"cpu": share.cpus, "gpu": share.gpus}),
            tune_config=tune.TuneConfig(
                search_alg=_Asker(engine),
                scheduler=_Teller(engine),
                num_samples=-1,
                max_concurrent_trials=share.concurrent,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name="sweep",
                storage_path=scratch,
                stop=_Ender(engine),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    gc.collect()  # what Tune leaves refers to itself in circles, which Python would look for when there are many more
    return engine.started >= TRIALS_AT_MOST


class _Engine:
    """What Tune's three hooks share."""

    def __init__(self, ledger: Ledger, directory: SweepStore, share: Share, listener: Listener) -> None:
        self.ledger = ledger
        self.failure: Trial | None = None
        self.trouble: Exception | None = None
        self.stopped = False
        self.started = 0  # trials, in this Tune experiment
        self._completed = sum(trial.state == "complete" for trial in ledger.trials("search"))
        self._directory = directory
        self._share = share
        self._listener = listener
        self._running: dict[str, Trial] = {}
        self._pruned: set[str] = set()
        self._asked_to_stop = 0.0  # when it was looked for last
        self._start = time.monotonic() - ledger.active_seconds

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()  # Tune pickles its settings to restore them later; ours are in the ledger

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Engine":
        return self

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What goes wrong within (a full disk, say) ends the sweep, and is raised where Tune cannot dress it up."""
        try:
            yield
        except Exception as error:
            self.trouble = error

    def next(self, tune_id: str) -> dict[str, Any] | str | None:
        """The configuration of the next trial; none: not now; FINISHED: no more."""
        if self.started >= TRIALS_AT_MOST:
            return str(Searcher.FINISHED)
        while True:
            trial = self._ask()
            if trial is None:
                # A running trial may yet lose its worker and wait again.
                return None if self._running else Searcher.FINISHED
            files = self._directory.trials
            again = trial.attempt > 1
            previous = files.last_checkpoint(trial.id, trial.attempt) if again else None
            known = files.records(trial.id) if again else []
            # What a crash kept from the ledger; and it may have come between a report and its decision.
            decisions = [self.ledger.report(trial, report) for report in known]
            if decisions and decisions[-1]:
                self._account(self.ledger.prune(trial, known[-1]))
                continue
            if known:
                files.begin(trial.id, trial.attempt, known)
            self._running[tune_id] = trial
            self.started += 1
            self._listener.started(trial)
            config = self.ledger.spec.config(trial.values, trial.arm)
            return {
                "config": config.model_dump_json(),
                "address": files.address(trial.id, trial.attempt),
                "previous": previous,
                "threads": self._share.cpus,
                "gpus": self._share.gpus,
            }

    def _ask(self) -> Trial | None:
        if self.failure or budget.is_spent(self.ledger, *self._spent()):
            return None
        trial = None if self.search_is_over() else self.ledger.ask_search()
        if trial is not None or "finalists" not in self.ledger.spec.arms():
            return trial
        # What is planned already may run beside the last of the search; more is planned when that has ended.
        trial = self.ledger.ask_finalist()
        if trial is None and not self._running and self.ledger.add_finalists(finalists.plan(self.ledger)):
            trial = self.ledger.ask_finalist()
            self._listener.message(
                f"the best and the baselines are trained again: {self.ledger.total('finalists')} trials"
            )
        return trial

    def reported(self, tune_id: str, report: Report) -> bool:
        """Whether the trial ends here."""
        trial = self._running[tune_id]
        pruned = self.ledger.report(trial, report)
        self.ledger.record_active_seconds(time.monotonic() - self._start)
        self._listener.reported(trial, report)
        if pruned:
            self._pruned.add(tune_id)
        return pruned

    def ended(self, tune_id: str, result: dict[str, Any]) -> None:
        """The trial trained to its end, was pruned, or failed."""
        trial = self._running.pop(tune_id)
        report, failure = result["report"], result["failure"]
        # No fault of the trial's: it goes on when there is room, or the store is back.
        if failure is not None and failure.reason == DISK_FULL:
            raise Unfinished(disk_full_text(failure.message, self._directory.resume_command))
        if failure is not None and failure.reason == STORAGE_LOST:
            raise Unfinished(f"the storage is away ({failure.message}); go on with `{self._directory.resume_command}`")
        if failure is not None:
            trial = self.ledger.fail(trial, failure.reason, failure.message, None)
        elif tune_id in self._pruned:
            self._pruned.remove(tune_id)
            trial = self.ledger.prune(trial, report)
        else:
            self.ledger.report(trial, report)
            self._listener.reported(trial, report)
            trial = self.ledger.complete(trial, report)
        self._account(trial)

    def lost(self, tune_id: str, message: str) -> None:
        """The worker of the trial died; where it died with its node, that is no loss to hold against the trial."""
        if ray_cluster.dead_process():
            return
        self._account(self.ledger.worker_lost(self._running.pop(tune_id), message))

    def is_over(self) -> bool:
        """Whether the trials that run are to end, too."""
        if time.monotonic() - self._asked_to_stop > 0.5:
            self._asked_to_stop = time.monotonic()
            with self.watched():
                self._directory.check_lock()
                self.stopped = self.stopped or self._directory.is_stop_requested()
        return self.stopped or self.failure is not None or self.trouble is not None

    def search_is_over(self) -> str:
        """Why no more trials are searched with; empty: they are."""
        return budget.stop_reason(self.ledger, *self._spent(), self._share.gpus, self._share.concurrent)

    def _spent(self) -> tuple[float, float]:
        return time.monotonic() - self._start, self.ledger.seconds_done * self._share.gpus

    def _account(self, trial: Trial) -> None:
        if trial.finished:
            self._directory.trials.drop_checkpoints(trial.id)
        self.ledger.record_active_seconds(time.monotonic() - self._start)
        self.failure = self.ledger.common_failure()
        self._listener.ended(trial)
        if trial.arm == "search" and trial.state == "complete":
            self._completed += 1
            if self._completed >= 8 and self._completed.bit_count() == 1:  # 8, 16, 32, ...
                for correlation in self.ledger.correlations():
                    self._listener.message(str(correlation))


class _Asker(Searcher):  # type: ignore[misc]
    """Tune asks it what to run next."""

    def __init__(self, engine: _Engine) -> None:
        super().__init__()
        self._engine = engine

    def suggest(self, trial_id: str) -> Any:
        if self._engine.trouble is None:
            with self._engine.watched():
                return self._engine.next(trial_id)
        return self.FINISHED

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """The scheduler tells the ledger; once is enough."""

    def save(self, checkpoint_path: str) -> None:
        """Tune keeps no state of ours."""

    def restore(self, checkpoint_path: str) -> None:
        """Tune keeps no state of ours."""


class _Teller(FIFOScheduler):  # type: ignore[misc]
    """Tune tells it what came of a trial, and hears whether the trial goes on.

    Once something went wrong the ledger hears no more: a report after one that it could not write would leave a gap.
    """

    def __init__(self, engine: _Engine) -> None:
        super().__init__()
        self._engine = engine

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ARG002
        if self._engine.trouble is None:
            with self._engine.watched():
                return str(self.STOP if self._engine.reported(trial.trial_id, result["report"]) else self.CONTINUE)
        return str(self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:  # noqa: ARG002
        if self._engine.trouble is None:
            with self._engine.watched():
                self._engine.ended(trial.trial_id, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:  # noqa: ARG002
        # Whatever a trial raises is a result (see TrialWorker.step), so this is a lost process.
        if self._engine.trouble is None:
            with self._engine.watched():
                self._engine.lost(trial.trial_id, str(trial.get_error() or "its process died").strip().splitlines()[-1])

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """A trial that never started is still WAITING or RUNNING in the ledger, and is taken up again from there."""


class _Ender(tune.Stopper):  # type: ignore[misc]
    """Tune asks it whether all should end."""

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
        return False

    def stop_all(self) -> bool:
        return self._engine.is_over()
