"""The ledger: what was asked, reported and decided. One Optuna study an arm, all in one transactional storage."""

import time
import warnings
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from mt_sweeps import pruning
from mt_sweeps.errors import InputError
from mt_sweeps.space import Suggester
from mt_sweeps.spec import Arm, Sampler, SweepSpec, Values
from trainers.report import Report

FORMAT = 2
LOSSES = 3  # how often the worker of a trial may be lost before the trial is given up

_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True)
class Trial:
    """One trial, as the ledger has it.

    Attributes:
        arm: the study it belongs to.
        number: in its arm, from 0.
        state: waiting, running, complete, pruned or failed.
        values: what was searched, under the dotted keys of the search space; of the published baseline, all settings.
        attempt: which try this is, from 1; 0 while it waits for its first.
        reason: of a failure, one word; empty otherwise.
        message: of a failure, a sentence; empty otherwise.
        step: optimiser steps of its last report, 0 where there is none.
        last: its last report, once it is finished and had any.
        started: when its first attempt began, in seconds since 1970; 0 before.
        seconds: that workers spent on it, once it is finished; an attempt whose driver was lost is not counted.
    """

    arm: Arm
    number: int
    state: str
    values: Values
    attempt: int
    reason: str
    message: str
    step: int
    last: Report | None
    started: float
    seconds: float

    @property
    def finished(self) -> bool:
        """Whether its state will not change any more."""
        return self.state in ("complete", "pruned", "failed")

    def error(self, metric: str) -> tuple[float, float] | None:
        """The error named by `metric` (the student's, where there is no teacher) and its standard error."""
        if self.last is None:
            return None
        name = metric if metric in self.last.metrics else "validation.student_error"
        return self.last.metrics[name], self.last.metrics[name.replace("_error", "_standard_error")]


class Ledger:
    """The studies of one sweep.

    Args:
        path: of the SQLite file, made by `create`. One process may write.
        spec: of the sweep.

    Raises:
        InputError: the file is missing, or was written by a version that keeps its ledger differently.
    """

    def __init__(self, path: Path, spec: SweepSpec) -> None:
        if not path.exists():
            raise InputError(f"{path}: the ledger is missing, and with it all that this sweep found; start a new one")
        self.spec = spec
        self._rungs = pruning.rungs(spec)
        self._storage = _storage(path)
        self._studies: dict[Arm, optuna.Study] = {}
        for arm in spec.arms():
            study = optuna.load_study(storage=self._storage, study_name=_study_name(spec, arm))
            found = study.user_attrs.get("format")
            if found != FORMAT:
                raise InputError(f"{path}: is a ledger of format {found}, this version reads {FORMAT}")
            self._studies[arm] = study

    @classmethod
    def create(cls, path: Path, spec: SweepSpec, published: Values) -> "Ledger":
        """A new ledger, the hand-added points waiting in it, and the published baseline.

        Args:
            path: of the SQLite file.
            spec: of the sweep.
            published: `spec.published` of the data set, where the sweep has this arm.
        """
        storage = _storage(path)
        for arm in spec.arms():
            study = optuna.create_study(
                storage=storage, study_name=_study_name(spec, arm), direction=spec.objective.direction
            )
            for point in spec.points if arm == "search" else []:
                study.enqueue_trial(spec.space().internal(point))
            if arm == "published":
                study.enqueue_trial({}, user_attrs={"values": published})
            study.set_user_attr("format", FORMAT)
        storage.engine.dispose()
        return cls(path, spec)

    def trials(self, arm: Arm) -> list[Trial]:
        """All trials of an arm so far, by number."""
        return [_trial(arm, frozen) for frozen in self._studies[arm].get_trials(deepcopy=False)]

    def all_trials(self) -> list[Trial]:
        """Those of every arm."""
        return [trial for arm in self._studies for trial in self.trials(arm)]

    def ask(self) -> Trial | None:
        """The next trial to run, now RUNNING in the ledger: one that waits, or a new one; none: all have been asked.

        The arm that has had the smallest share of its trials is next, so that a baseline runs beside the search.
        """
        arms = [arm for arm in self._studies if self.remaining(arm)]
        if not arms:
            return None
        arm = max(arms, key=lambda arm: self.remaining(arm) / self.spec.trials_of(arm))
        study = self._studies[arm]
        trials = study.get_trials(deepcopy=False)
        waiting = [trial.number for trial in trials if trial.state == TrialState.WAITING]
        # Reseeded for every ask: a resumed sweep goes on where it was and never repeats its suggestions.
        study.sampler = _sampler(self.spec.sampler, min(waiting, default=len(trials)))
        asked = study.ask()
        before = asked.user_attrs.get("asked", {"attempt": 0, "started": time.time()})
        values = asked.user_attrs.get("values") or self.spec.space(arm).suggest(cast(Suggester, asked))
        asked.set_user_attr("asked", {**before, "values": values, "attempt": before["attempt"] + 1})
        return self._read(arm, asked.number)

    def report(self, trial: Trial, report: Report) -> bool:
        """Write down an evaluation of a running trial.

        Returns:
            Whether the trial is to end here: the same answer whenever the same values are in the ledger.
        """
        metrics = report.metrics
        rank = min(metrics["validation.student_error"], metrics.get("validation.teacher_error", 1.0))
        trial_id = self._id(trial.arm, trial.number)
        self._storage.set_trial_intermediate_value(trial_id, report.step, rank)
        if trial.arm != "search" or not self._rungs:
            return False
        curves = {t.number: t.intermediate_values for t in self._studies[trial.arm].get_trials(deepcopy=False)}
        mine = {step: value for step, value in curves.pop(trial.number).items() if step <= report.step}
        others = [curve for curve in curves.values() if curve]
        return pruning.is_pruned(mine, others, self._rungs, self.spec.pruner.reduction_factor)

    def complete(self, trial: Trial, last: Report) -> Trial:
        """The trial trained to its end; its objective is its last evaluation."""
        self._finish(trial, last)
        error = replace(trial, last=last).error(self.spec.metric)
        assert error is not None
        self._studies[trial.arm].tell(trial.number, values=error[0], state=TrialState.COMPLETE)
        return self._read(trial.arm, trial.number)

    def prune(self, trial: Trial, last: Report) -> Trial:
        """The trial was ended at a rung."""
        self._finish(trial, last)
        self._studies[trial.arm].tell(trial.number, state=TrialState.PRUNED)
        return self._read(trial.arm, trial.number)

    def fail(self, trial: Trial, reason: str, message: str, last: Report | None) -> Trial:
        """The trial cannot give a result. It counts as a trial; the sampler learns nothing from it."""
        self._finish(trial, last, reason, message)
        self._studies[trial.arm].tell(trial.number, state=TrialState.FAIL)
        return self._read(trial.arm, trial.number)

    def requeue(self, trial: Trial) -> Trial:
        """The trial lost its driver: it waits for its next attempt."""
        self._storage.set_trial_state_values(self._id(trial.arm, trial.number), TrialState.WAITING)
        return self._read(trial.arm, trial.number)

    def lose(self, trial: Trial, message: str) -> Trial:
        """The trial lost its worker: it waits for its next attempt, or fails where that has happened too often."""
        trial_id = self._id(trial.arm, trial.number)
        frozen = self._storage.get_trial(trial_id)
        lost = frozen.user_attrs.get("lost", {"workers": 0, "seconds": 0.0})
        started = frozen.datetime_start or datetime.now()
        workers, seconds = lost["workers"] + 1, lost["seconds"] + (datetime.now() - started).total_seconds()
        self._storage.set_trial_user_attr(trial_id, "lost", {"workers": workers, "seconds": seconds})
        if workers >= LOSSES:
            return self.fail(trial, "lost_worker", f"its worker was lost {workers} times, at last: {message}", None)
        return self.requeue(trial)

    def remaining(self, arm: Arm) -> int:
        """How many trials of an arm are yet to start: those that wait, and those not yet asked for."""
        trials = self.trials(arm)
        return self.spec.trials_of(arm) - len(trials) + sum(trial.state == "waiting" for trial in trials)

    def best(self) -> Trial | None:
        """The completed trial of the search arm with the lowest objective; the earliest of several."""
        return best_of(self.trials("search"), self.spec.metric)

    def common_failure(self) -> Trial | None:
        """The first failed trial, if the first three that ended all failed for one reason: a configuration error."""
        ended = [trial for trial in self.trials("search") if trial.finished]
        alike = len(ended) >= 3 and all(t.state == "failed" and t.reason == ended[0].reason for t in ended)
        return ended[0] if alike else None

    @property
    def active_seconds(self) -> float:
        """How long drivers have worked on this sweep."""
        return float(self._studies["search"].user_attrs.get("active_seconds", 0.0))

    @active_seconds.setter
    def active_seconds(self, seconds: float) -> None:
        self._studies["search"].set_user_attr("active_seconds", seconds)

    def close(self) -> None:
        """Let go of the file."""
        self._storage.engine.dispose()

    def _finish(self, trial: Trial, last: Report | None, reason: str = "", message: str = "") -> None:
        facts: dict[str, Any] = {"reason": reason, "message": message}
        if last is not None:
            facts["last"] = {"step": last.step, "time": last.time, "metrics": last.metrics}
        self._storage.set_trial_user_attr(self._id(trial.arm, trial.number), "end", facts)

    def _id(self, arm: Arm, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._studies[arm]._study_id, number)

    def _read(self, arm: Arm, number: int) -> Trial:
        return _trial(arm, self._storage.get_trial(self._id(arm, number)))


def best_of(trials: list[Trial], metric: str) -> Trial | None:
    """The completed one with the lowest error; the earliest of several; none: none has completed."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return min(complete, key=lambda trial: trial.error(metric) or (1.0, 0.0), default=None)


def _storage(path: Path) -> optuna.storages.RDBStorage:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 60}})


def _study_name(spec: SweepSpec, arm: Arm) -> str:
    return spec.name if arm == "search" else f"{spec.name}/{arm}"


def _sampler(settings: Sampler, number: int) -> BaseSampler:
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    if settings.name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, multivariate=True, group=True)


def _trial(arm: Arm, frozen: FrozenTrial) -> Trial:
    asked, end = frozen.user_attrs.get("asked", {}), frozen.user_attrs.get("end", {})
    lost = frozen.user_attrs.get("lost", {"seconds": 0.0})["seconds"]
    return Trial(
        arm=arm,
        number=frozen.number,
        state=_STATES[frozen.state],
        values=asked.get("values") or frozen.user_attrs.get("values", {}),
        attempt=asked.get("attempt", 0),
        reason=end.get("reason", ""),
        message=end.get("message", ""),
        step=max(frozen.intermediate_values, default=0),
        last=Report(**end["last"]) if "last" in end else None,
        started=asked.get("started", 0.0),
        seconds=lost + (frozen.duration.total_seconds() if frozen.duration else 0.0),
    )
