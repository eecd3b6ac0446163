"""What runs next, what is pruned, what waits again, and when a sweep stops. Every engine asks it; it knows none.

An engine (Ray Tune in `driver`, this very process in `in_process`) decides when and where a trial runs. It takes
assignments from the coordinator, hands on each outcome, and ends a trial when the coordinator says so. All that the
coordinator decides is written to the ledger, so that an engine may die at any moment.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from pydantic import ValidationError

from mt_sweeps.clock import Clock
from mt_sweeps.errors import SweepError, Unfinished, disk_full_text
from mt_sweeps.execution.attempt import (
    DISK_FULL,
    MACHINE_FAULTS,
    STORAGE_LOST,
    Assignment,
    Failure,
    Outcome,
    failure_reason,
)
from mt_sweeps.execution.resources import Share
from mt_sweeps.plugins import plugin_code
from mt_sweeps.results import finalists
from mt_sweeps.spec.arms import TrialId
from mt_sweeps.spec.load import config_problems
from mt_sweeps.storage.environment import weights_key
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.study import budget
from mt_sweeps.study.ledger import REFUSED, STORAGE_ERRORS, Ledger
from mt_sweeps.study.requests import take_requests
from mt_sweeps.study.trial import Trial, common_failure
from trainers.config import TrainerConfig
from trainers.report import Report

_POLL_SECONDS = 0.5  # between two looks at the lock and at what people ask for


class Listener(Protocol):
    """Follows a sweep as it runs: the console does."""

    def started(self, trial: Trial) -> None:
        """A worker was given the trial."""

    def reported(self, trial: Trial, report: Report) -> None:
        """The trial was evaluated."""

    def ended(self, trial: Trial) -> None:
        """The trial is complete, pruned or failed, or it lost its worker and waits again."""

    def message(self, text: str) -> None:
        """There is news of the sweep as a whole."""


class Coordinator:
    """Decides for one sweep.

    Args:
        ledger: where every decision is written.
        sweep: of which it is.
        share: what a trial gets, and how many run at once.
        listener: hears of everything.
        clock: that durations are read from.

    Attributes:
        error: what went wrong with the sweep itself (a full disk, say), or None. After it the ledger changes no more:
            a report after one that was not written would leave a gap.
    """

    def __init__(
        self, ledger: Ledger, sweep: SweepStore, share: Share, listener: Listener, clock: Clock = time
    ) -> None:
        self.error: Exception | None = None
        self._ledger = ledger
        self._sweep = sweep
        self._share = share
        self._environment = sweep.load_environment()
        self._listener = listener
        self._clock = clock
        self._running: dict[TrialId, Trial] = {}
        self._reported: dict[TrialId, int] = {}  # the last step of each running trial that was decided on
        self._pruned: set[TrialId] = set()  # running trials that were told to end, and have not yet
        self._to_end: set[TrialId] = set()  # running trials that a person wants to end
        self._ended_by_hand: set[TrialId] = set()  # those of the pruned ones that a person ended
        self._common_failure: Trial | None = None
        self._stopped = False
        self._completed = sum(trial.state == "complete" for trial in ledger.trials("search"))
        self._best = ledger.best()
        self._planned_after = -1  # how many trials had ended when finalists were planned
        self._settled: list[str] = []  # comparisons of finalists that were told
        self._is_spent_announced = self._is_search_end_announced = False
        self._polled = 0.0
        self._start = clock.monotonic() - ledger.active_seconds

    @property
    def is_idle(self) -> bool:
        """Whether no trial runs. A running one may yet lose its worker and wait again."""
        return not self._running

    @property
    def should_stop(self) -> bool:
        """Whether everything is to end now, the running trials too."""
        return self._stopped or self._common_failure is not None or self.error is not None

    @contextmanager
    def capture_errors(self) -> Iterator[None]:
        """Keep an error for `conclude`: raised inside an engine, it would be lost or changed there."""
        try:
            yield
        except Exception as error:
            self.error = error

    def poll(self) -> None:
        """Look whether this process still holds the sweep's lock, and take up what people ask for meanwhile.

        Raises:
            Unfinished: another process has the lock.
        """
        if self._clock.monotonic() - self._polled > _POLL_SECONDS:
            self._polled = self._clock.monotonic()
            self._sweep.check_lock()
            self._ledger.check_driver()
            self._stopped = self._stopped or self._sweep.is_stop_requested()
            if not self.should_stop:
                self._take_requests()
                self._announce_spent()

    def next_assignment(self) -> Assignment | None:
        """Return the next trial to run, now RUNNING in the ledger, or None if there is none now.

        None does not mean that the sweep is over while a trial runs: see `is_idle`.
        """
        if self._sweep.is_gone:  # a worker would make its folder again
            raise Unfinished(self._sweep.gone_text)
        while (trial := self._choose()) is not None:
            if (assignment := self._prepare(trial)) is not None:
                self._running[trial.id] = trial
                self._listener.started(trial)
                return assignment
        return None

    def reported(self, assignment: Assignment, report: Report) -> bool:
        """Take a report of a running trial; return True if the trial is to end here.

        One that comes a second time changes nothing, and gets the same answer. One of an attempt that is over, from a
        worker that was given up, changes nothing either, and the answer is True.
        """
        if not self._is_current(assignment):
            return True
        trial = self._running[assignment.trial]
        if report.step <= self._reported[trial.id]:
            # Its rank may have changed since, but the trial went on from there, and is not pruned in hindsight.
            return trial.id in self._pruned
        is_pruned = self._ledger.report(trial, report)
        self._reported[trial.id] = report.step
        self._record_time()
        self._listener.reported(trial, report)
        if not is_pruned and trial.id in self._to_end:
            self._ended_by_hand.add(trial.id)
        if is_pruned or trial.id in self._to_end:
            self._pruned.add(trial.id)
        return trial.id in self._pruned

    def ended(self, assignment: Assignment, outcome: Outcome) -> None:
        """Take the last outcome of a trial: it trained to its end, was pruned, or failed.

        One of an attempt that is over changes nothing.

        Raises:
            Unfinished: the disk is full or the storage is away, which is no fault of the trial; it can be resumed.
        """
        if not self._is_current(assignment):
            return
        trial, failure, report = self._running.pop(assignment.trial), outcome.failure, outcome.report
        if failure is not None and failure.reason in (DISK_FULL, STORAGE_LOST):
            raise self._unfinished(failure)
        if failure is not None:
            trial = self._ledger.fail(trial, failure.reason, failure.message, None)
        else:
            assert report is not None  # an outcome has one or the other
            if trial.id in self._pruned:
                self._pruned.remove(trial.id)
                if trial.id in self._ended_by_hand:
                    trial = self._ledger.end_by_hand(trial, [report])
                else:
                    trial = self._ledger.prune(trial, report)
            else:
                running, trial = trial, self._ledger.complete(trial, report)
                self._listener.reported(running, report)
        self._trial_ended(trial)

    def worker_lost(self, assignment: Assignment, message: str) -> None:
        """Have a trial wait for another worker, or fail if it lost too many, unless its attempt is over already."""
        if self._is_current(assignment):
            self._pruned.discard(assignment.trial)
            self._ended_by_hand.discard(assignment.trial)
            trial = self._ledger.worker_lost(self._running.pop(assignment.trial), message)
            self._trial_ended(trial if trial.finished else replace(trial, message=message))

    def conclude(self) -> str | None:
        """Return why trials were left unstarted (a budget, say), or None if there were none. Call it at the end.

        Raises:
            SweepError: the first three trials failed alike.
            Unfinished: the machine failed the sweep; it can be resumed.
            KeyboardInterrupt: another process asked this one to stop.
        """
        if self.error is not None:
            raise self.error
        self._record_time()  # else a budget that this process found spent would not be for those who read the ledger
        self._ledger.save_time()
        if self._stopped:
            raise KeyboardInterrupt
        if (failed := self._common_failure) is not None:
            raise SweepError(
                f"the first three trials all failed with {failed.reason}, so the configuration is at fault: "
                f"{failed.message}\nsee {self._sweep.trials.address(failed.id, 1)}"
            )
        is_left = any(map(self._ledger.remaining, self._ledger.spec.arms()))
        reason = self._stop_reason() if is_left else None
        self._ledger.record_end(reason or "")
        return reason

    def _take_requests(self) -> None:
        changes = take_requests(
            self._sweep, self._ledger, self._running.keys(), lambda: self._stop_reason() is not None
        )
        for trial in changes.added:
            self._listener.message(f"{trial.id.label} is added, and comes next")
        for trial in changes.ended:
            self._trial_ended(trial)
        self._to_end = changes.to_end

    def _announce_spent(self) -> None:
        """Say once, when it happens, that the budget is spent while trials run and others are left."""
        if self._is_spent_announced or not self._running or not budget.is_spent(self._ledger, *self._spent()):
            return
        self._is_spent_announced = True
        if any(map(self._ledger.remaining, self._ledger.spec.arms())):
            self._listener.message(f"{budget.SPENT}: running trials are finished, no more are started")

    def _announce_search_end(self, reason: str) -> None:
        """Say once that the search ends before its last trial, and what it would take."""
        arms = [arm for arm in self._ledger.spec.arms() if arm != "finalists" and self._ledger.remaining(arm)]
        if self._is_search_end_announced or not arms:
            return
        self._is_search_end_announced = True
        left = ", ".join(f"{self._ledger.remaining(arm)} {arm}" for arm in arms)
        hours, more = budget.hours_to_search_on(self._ledger, self._spent()[0], self._share.concurrent), ""
        if hours is not None and reason == budget.FOR_FINALISTS:
            command = self._sweep.command("resume", self._sweep.name, "--hours", f"+{hours:g}")
            more = f"; for all of them, give it more hours when it has ended: `{command}`"
        self._listener.message(f"the search ends, {reason}; trials that do not start: {left}{more}")

    def _is_current(self, assignment: Assignment) -> bool:
        trial = self._running.get(assignment.trial)
        return trial is not None and trial.attempt == assignment.attempt

    def _choose(self) -> Trial | None:
        """Ask the ledger for a trial, as far as the budget allows: first of the search and the baselines."""
        if self._common_failure or budget.is_spent(self._ledger, *self._spent()):
            return None
        if (reason := self._stop_reason()) is not None:
            self._announce_search_end(reason)
        trial = self._ledger.ask_search() if reason is None else None
        if trial is not None or "finalists" not in self._ledger.spec.arms():
            return trial
        if any(running.arm != "finalists" for running in self._running):
            return None  # what is the best is not known yet
        self._plan_finalists()
        return self._ledger.ask_finalist()

    def _plan_finalists(self) -> None:
        """Plan what the finalists still need, if one of them has ended since; say what is settled."""
        ended = sum(trial.finished for trial in self._ledger.all_trials())
        if ended == self._planned_after:
            return
        self._planned_after = ended
        images, groups = self._environment.images, self._environment.groups
        self._ledger.plan_finalists(finalists.plan(self._ledger, images, groups))
        if not self._ledger.trials("finalists") and (total := self._ledger.total("finalists")):
            self._listener.message(f"the best and the baselines are trained again: {total} trials at most")
        for text in finalists.settled(self._ledger, images, groups):
            if text not in self._settled:
                self._settled.append(text)
                self._listener.message(text)

    def _prepare(self, trial: Trial) -> Assignment | None:
        """Return the assignment of a trial, or None if it ends here: it is pruned, or cannot be prepared.

        What raises here for one trial would raise again at every resume. So it is this trial's failure, unless it is
        the machine's.
        """
        if trial.finished:
            self._trial_ended(trial)
            return None
        spec = self._ledger.spec
        try:
            config = spec.config(trial.values, trial.arm)
            return self._assignment(trial, config) if self._replay(trial, config.total_steps) else None
        except ValidationError:
            problem = "; ".join(config_problems(spec, trial.values, trial.arm))
        except Exception as error:
            if failure_reason(error) in MACHINE_FAULTS or isinstance(error, STORAGE_ERRORS):
                raise
            problem = f"{type(error).__name__}: {error}"
        self._trial_ended(self._ledger.fail(trial, REFUSED, problem, None))
        return None

    def _replay(self, trial: Trial, steps: int) -> bool:
        """Report to the ledger what earlier attempts recorded; return False if the trial is thereby pruned.

        A crash may have come between a record and the ledger, or between a report and its decision. A trial that has
        trained all its steps is not pruned.
        """
        files = self._sweep.trials
        known = files.records(trial.id) if trial.attempt > 1 else []
        if trial.attempt > 1:
            # First, and also if there are none: what a worker that was given up records from now on is not read.
            files.begin(trial.id, trial.attempt, known)
        decisions = [self._ledger.report(trial, report) for report in known]
        if decisions and decisions[-1] and known[-1].step < steps:
            self._trial_ended(self._ledger.prune(trial, known[-1]))
            return False
        self._reported[trial.id] = known[-1].step if known else 0
        return True

    def _assignment(self, trial: Trial, config: TrainerConfig) -> Assignment:
        files = self._sweep.trials
        weights = weights_key(config.model)
        return Assignment(
            trial=trial.id,
            attempt=trial.attempt,
            settings=config.model_dump_json(),
            plugins=plugin_code(config),
            address=files.address(trial.id, trial.attempt),
            previous=files.last_checkpoint(trial.id, trial.attempt) if trial.attempt > 1 else None,
            threads=self._share.cpus,
            gpus=self._share.gpus,
            first_weights=None if weights is None else self._environment.weights.get(weights),
            data_fingerprint=self._environment.data_fingerprint,
        )

    def _unfinished(self, failure: Failure) -> Unfinished:
        how_to_resume = f"resume with `{self._sweep.resume_command}`"
        if failure.reason == DISK_FULL:
            return Unfinished(disk_full_text(failure.message, how_to_resume))
        return Unfinished(f"the storage is away ({failure.message}); {how_to_resume}")

    def _trial_ended(self, trial: Trial) -> None:
        if trial.finished:
            self._sweep.trials.drop_checkpoints(trial.id)
        self._record_time()
        self._common_failure = common_failure(self._ledger.trials("search"))
        self._listener.ended(trial)
        if trial.arm == "search" and trial.state == "complete":
            self._keep_pictures_of_the_best(trial)
            self._completed += 1
            if self._completed >= 8 and self._completed.bit_count() == 1:  # 8, 16, 32, ...
                for correlation in self._ledger.correlations():
                    self._listener.message(str(correlation))

    def _keep_pictures_of_the_best(self, completed: Trial) -> None:
        """Delete the pictures of a completed trial that is not the best so far: the report shows those of the best."""
        metric, best = self._ledger.spec.metric, self._best
        if best is None or completed.objective(metric) < best.objective(metric):
            self._best = completed
        else:
            self._sweep.trials.drop_pictures(completed.id)

    def _stop_reason(self) -> str | None:
        return budget.stop_reason(self._ledger, *self._spent(), self._share.gpus, self._share.concurrent)

    def _spent(self) -> tuple[float, float]:
        return self._clock.monotonic() - self._start, self._ledger.seconds_done * self._share.gpus

    def _record_time(self) -> None:
        self._ledger.record_active_seconds(self._clock.monotonic() - self._start)
