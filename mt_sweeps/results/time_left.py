"""How long a sweep still takes: from the plan, the measured time of a step, and the pruning that is to be expected."""

import time
from bisect import insort
from collections import defaultdict
from dataclasses import dataclass
from statistics import median

from pydantic import ValidationError

from mt_sweeps.results.finalists_to_come import finalists_to_come
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.environment import Environment
from mt_sweeps.study import pruner
from mt_sweeps.study.ledger_view import LedgerView
from mt_sweeps.study.trial import Trial
from trainers.report import Report

_WORTH = 4  # ended trials that the expectation before the first one counts as


@dataclass(frozen=True)
class Needed:
    """What the trials of a sweep that have not ended need.

    Attributes:
        trials: of the search and its baselines, probes apart.
        search: seconds of these.
        finalists: seconds of the finalists.
    """

    trials: int
    search: float
    finalists: float


class TimeLeft:
    """Estimates the time until a sweep has ended: from its ledger, and from what its driver sees besides.

    Args:
        ledger: of the sweep; only read.
        concurrent: trials at once.
        environment: of the sweep; None: nothing is foreseen of what finalists show.

    Attributes:
        whole: the optimiser steps of each trial if it goes to its end; 0 of a probe, which has none.
    """

    def __init__(self, ledger: LedgerView, concurrent: int, environment: Environment | None = None) -> None:
        self._spec, self._ledger, self._concurrent = ledger.spec, ledger, concurrent
        self._environment = environment
        self._pruning_ends = _pruning_ends(ledger.spec)  # once: many settings are checked for it
        self.whole: dict[TrialId, int] = {}
        # Kept as sums: the time left is computed at the end of each of many trials.
        self._open: dict[TrialId, Trial] = {}  # trials that have not ended
        self._created: dict[Arm, int] = defaultdict(int)  # trials
        self._trained: tuple[int, int] = 0, 0  # optimiser steps of all trials that train, and their number
        self._reports: dict[TrialId, Report] = {}
        self._steps: dict[Arm, float] = defaultdict(float)  # of all reports
        self._seconds: dict[Arm, float] = defaultdict(float)  # that workers trained and evaluated for them
        self._began: dict[TrialId, float] = {}  # of the attempts that began here
        self._active, self._created_at = ledger.active_seconds, time.monotonic()  # it writes them with reports
        self._starting = concurrent  # attempts whose workers start too, which takes long and happens once
        self._extra: list[float] = []  # seconds per trial beyond its training (its model, its end), sorted
        self._reached: list[int] = []  # steps of each trial of the search that is complete or pruned; others are not
        # Those that have ended first, since they were timed better.
        for trial in sorted(ledger.all_trials(), key=lambda trial: not trial.finished):
            self._take(trial, time.time())
        self._finalists = self._finalists_to_come()  # how many, by the arm of what they train again

    def update(self, trial: Trial) -> None:
        """A trial began, or ended, or waits again."""
        if trial.state == "running" and self._starting:
            self._starting -= 1
        elif trial.state == "running":
            self._began[trial.id] = time.monotonic()
        self._remember(trial)
        if trial.arm == "finalists":
            self._finalists = self._finalists_to_come()
        if not trial.finished:
            return
        began, last = self._began.pop(trial.id, None), self._reports.get(trial.id)
        if began is not None and last is not None and trial.attempt == 1:
            insort(self._extra, max(0.0, time.monotonic() - began - last.seconds))
        self._note_how_far(trial)

    def _take(self, trial: Trial, now: float) -> None:
        """Learn of a trial from the ledger alone; `now` in seconds since 1970."""
        self._remember(trial)
        if trial.finished and trial.last is not None:
            self.reported(trial, trial.last)
            if trial.attempt == 1:
                insort(self._extra, max(0.0, trial.seconds - trial.last.seconds))
        elif trial.state == "running" and trial.attempt == 1 and trial.step and not self._steps.get(_kind(trial)):
            self._steps[_kind(trial)] += trial.step
            self._seconds[_kind(trial)] += now - trial.attempt_started
        self._note_how_far(trial)

    def _remember(self, trial: Trial) -> None:
        if trial.id not in self.whole:  # once: its settings take long to check, and trials may be thousands
            self.whole[trial.id] = whole = _whole_steps(self._spec, trial)
            self._created[trial.arm] += 1
            if not trial.is_probe:
                steps, count = self._trained
                self._trained = steps + whole, count + 1
        if trial.finished:
            self._open.pop(trial.id, None)
        else:
            self._open[trial.id] = trial  # last, since another thread may read what is here

    def reported(self, trial: Trial, report: Report) -> None:
        """A trial was evaluated."""
        if trial.is_probe:
            return
        before = self._reports.get(trial.id)
        self._steps[_kind(trial)] += report.step - (before.step if before else 0)
        self._seconds[_kind(trial)] += report.seconds - (before.seconds if before else 0.0)
        self._reports[trial.id] = report

    def seconds(self) -> float | None:
        """Return the seconds that are left, or None if nothing was evaluated yet."""
        if not any(self._steps.values()):
            return None
        active, begun = self.active_seconds, self._begun()
        if self._spec.budget.is_spent(active, 0.0):
            # Nothing follows those that run when the budget is spent: the longest of them is the end.
            return max((seconds for trial, seconds in begun if trial.state == "running"), default=0.0)
        open_seconds = sum(seconds for _, seconds in begun) / self._concurrent
        to_come = sum(self._to_come().values()) / self._concurrent
        if self._spec.budget.hours is not None:  # then no more begin
            to_come = min(to_come, max(0.0, 3600 * self._spec.budget.hours - active - open_seconds))
        return open_seconds + to_come

    def needed(self) -> Needed:
        """Return what all trials that have not ended need, if no budget ends them. A step must have been reported."""
        seconds = {"finalists": 0.0, "search": 0.0}  # the search with its baselines
        for trial, left in self._begun():
            seconds["finalists" if trial.arm == "finalists" else "search"] += left / self._concurrent
        for arm, left in self._to_come().items():
            seconds["finalists" if arm == "finalists" else "search"] += left / self._concurrent
        arms = [arm for arm in self._spec.arms() if arm not in ("finalists", "probe")]
        trials = sum(self._ledger.total(arm) - self._created[arm] for arm in arms)
        trials += sum(trial.arm in arms for trial in list(self._open.values()))
        return Needed(trials, seconds["search"], seconds["finalists"])

    @property
    def steps(self) -> float:
        """Optimiser steps that were reported, of all trials."""
        return sum(self._steps.values())

    @property
    def active_seconds(self) -> float:
        """Seconds that drivers have worked on the sweep."""
        return max(self._ledger.active_seconds, self._active + time.monotonic() - self._created_at)

    def _begun(self) -> list[tuple[Trial, float]]:
        """Return the trials that have not ended, a probe's apart, and the seconds that each still takes."""
        extra, trials = self._extra_seconds(), list(self._open.values())  # another thread may add to them
        return [
            (trial, self._expected(trial, self._step(trial)) * self._pace(_kind(trial)) + extra)
            for trial in trials
            if not trial.is_probe
        ]

    def _to_come(self) -> dict[Arm, float]:
        """Return the seconds that the trials of each arm take which were not created yet, one after the other."""
        extra, whole = self._extra_seconds(), self._trained[0] / self._trained[1]
        seconds: dict[Arm, float] = {}
        for arm in self._spec.arms():
            if arm not in ("probe", "finalists"):
                steps = self._mean_reached(whole) if arm == "search" else whole
                to_come = self._ledger.total(arm) - self._created[arm]
                seconds[arm] = to_come * (steps * self._pace(arm) + extra)
        seconds["finalists"] = sum(
            count * (whole * self._pace(arm) + extra) for arm, count in self._finalists.items() if arm != "probe"
        )
        return seconds

    def _finalists_to_come(self) -> dict[Arm, float]:
        if "finalists" not in self._spec.arms():
            return {}
        environment = self._environment
        if environment is None:
            return finalists_to_come(self._ledger, None)
        return finalists_to_come(self._ledger, environment.images, environment.groups)

    def _extra_seconds(self) -> float:
        return median(self._extra) if self._extra else 0.0

    def _step(self, trial: Trial) -> int:
        last = self._reports.get(trial.id)
        return last.step if last is not None else trial.step

    def _note_how_far(self, trial: Trial) -> None:
        if trial.finished and trial.state != "failed" and trial.arm == "search":
            self._reached.append(self._step(trial))

    def _pace(self, arm: Arm) -> float:
        """Return the seconds per step of an arm; of one that has no report yet, those of all others."""
        if self._steps.get(arm):
            return self._seconds[arm] / self._steps[arm]
        return sum(self._seconds.values()) / sum(self._steps.values())

    def _mean_reached(self, whole: float) -> float:
        """Return how far a trial goes: as was to be expected, and ever more as those that ended did."""
        expected = whole * _share_of_steps(self._spec, self._pruning_ends, 0.0)
        return (_WORTH * expected + sum(self._reached)) / (_WORTH + len(self._reached))

    def _expected(self, trial: Trial, done: int) -> float:
        """Return the steps that an open trial is expected to go on."""
        whole = self.whole[trial.id]
        if trial.arm != "search":
            return max(0, whole - done)
        return whole * _share_of_steps(self._spec, self._pruning_ends, min(1.0, done / whole)) if whole else 0.0


def expected_share(spec: SweepSpec, done: float = 0.0) -> float:
    """Return the share of its steps that a trial is expected to train, if the pruner ends as many as it may.

    `asha` ranks all but one in `reduction_factor` behind the others at each rung, `median` half of them at the first,
    and then hardly any, since who was better than half of the others mostly stays so. About half of those that are
    behind can be told from the others, and end (benchmarks/results/pruning.md).

    Args:
        spec: of the sweep.
        done: the share that it has trained, which is not counted.
    """
    return _share_of_steps(spec, _pruning_ends(spec), done)


def _pruning_ends(spec: SweepSpec) -> list[float]:
    """Return the shares of its steps at which a trial is expected to be ended, if at all."""
    if pruner.why_not_pruning(spec) is not None:
        return []
    rungs = pruner.rungs(spec)
    return [rung / spec.total_steps for rung in (rungs[:1] if spec.pruner.name == "median" else rungs)]


def _share_of_steps(spec: SweepSpec, pruning_ends: list[float], done: float) -> float:
    kept = 1 / spec.pruner.reduction_factor if spec.pruner.name == "asha" else 0.5
    share, chance = 0.0, 1.0
    for end in [*(end for end in pruning_ends if end > done), 1.0]:
        share += chance * (end - done)
        done, chance = end, chance * (1 + kept) / 2
    return share


def _kind(trial: Trial) -> Arm:
    """Return the arm whose pace a trial has: a finalist trains as the trial that it replicates."""
    return trial.arm if trial.replicates is None else trial.replicates.arm


def _whole_steps(spec: SweepSpec, trial: Trial) -> int:
    """Return the optimiser steps that a trial trains if it goes to its end; 0 of a probe, which has none."""
    try:
        return 0 if trial.is_probe else spec.config(trial.values, trial.arm).total_steps
    except ValidationError:  # it will be refused
        return 0
