"""The ledger: which trials there are, what they reported, and what was decided.

There is one Optuna study per arm, all in one transactional storage, and the storage is the truth. One process writes it
and keeps a copy in memory, so that the ten thousandth trial of a sweep costs as little as the tenth.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState, create_trial

from mt_sweeps.clock import Clock
from mt_sweeps.errors import Unfinished
from mt_sweeps.spec.arms import Arm, TrialId
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.storage.ledger_rows import RANKED, StudyRows, check_file
from mt_sweeps.storage.rdb import DRIVER, LedgerStorage, open_storage, rows_of_storage
from mt_sweeps.study.ledger_view import FORMAT, LedgerView, study_name
from mt_sweeps.study.pruner import Correlation, RungRanking
from mt_sweeps.study.ranking_error import RankingError
from mt_sweeps.study.sampler import ArmSampler, Suggestion, is_model_based
from mt_sweeps.study.trial import BY_HAND, STATES, Prior, Trial
from trainers.report import Report

LOSSES = 3  # workers that a trial may lose; with the last of them it fails
STORAGE_ERRORS = (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)
"""What the storage of the ledger raises. They are no trial's fault."""
REFUSED = "refused"  # the reason of a trial that could not be prepared: no worker has seen it
_SAVE_TIME_EVERY = 2.0  # seconds


class Ledger(LedgerView):
    """The studies of one sweep, for the process that writes them.

    Args:
        where: the storage, as `open_storage` takes it; `create` has made the studies. Only one process may write.
        spec: of the sweep.
        storage: an open storage; None: the one that is opened at `where`.
        clock: that moments and durations are read from.

    Raises:
        InputError: as for `LedgerView`.
    """

    def __init__(
        self,
        where: Path | str,
        spec: SweepSpec,
        storage: LedgerStorage | None = None,
        clock: Clock = time,
    ) -> None:
        if storage is None and isinstance(where, Path):
            check_file(where)
        self._storage = storage or open_storage(where)
        self._where = where
        self._clock = clock
        self._driver = ""  # of `take_over`
        self._attempt_began: dict[TrialId, float] = {}  # on the clock that never jumps, of attempts of this process
        self._ids: dict[Arm, list[int]] = {}
        self._studies: dict[Arm, int] = {}
        self._samplers: dict[Arm, ArmSampler]
        self._ranking: RungRanking
        super().__init__(where, spec)
        self._saved = clock.monotonic()

    @classmethod
    def create(
        cls,
        where: Path | str,
        spec: SweepSpec,
        published: Values,
        storage: LedgerStorage | None = None,
        prior: Mapping[Arm, Prior] | None = None,
    ) -> "Ledger":
        """Create a ledger without trials.

        Args:
            where: the storage, as `open_storage` takes it.
            spec: of the sweep.
            published: all settings of the published baseline, if the sweep has this arm.
            storage: as for the class.
            prior: what arms know before their first trial.
        """
        opened = storage or open_storage(where)
        for arm in spec.arms():
            study = optuna.create_study(
                storage=opened,
                study_name=study_name(spec, arm),
                direction=spec.objective.direction,
                load_if_exists=True,
            )
            study.set_user_attr("spec", spec.model_dump_json())
            if arm == "published":
                study.set_user_attr("planned", [{"values": published}])
            if prior and arm in prior:
                study.set_user_attr("prior", asdict(prior[arm]))
            study.set_user_attr("format", FORMAT)
        if storage is None:
            _close(opened)
        return cls(where, spec, storage=storage)

    def ask_search(self) -> Trial | None:
        """Return the next trial of the search or a baseline, now RUNNING in the ledger, or None if none is left.

        A waiting trial comes before a new one. A trial whose values cannot be chosen is FAILED already. The next arm is
        the one that has started the smallest share of its trials, so that the baselines run beside the search.
        """
        arms = [arm for arm in self._trials if arm != "finalists" and self.remaining(arm)]
        arm = max(arms, key=lambda arm: self.remaining(arm) / self.total(arm), default=None)
        return None if arm is None else self._ask(arm)

    def ask_finalist(self) -> Trial | None:
        """Return the next trial of the finalists, now RUNNING in the ledger, or None if none is left."""
        return self._ask("finalists") if "finalists" in self._planned and self.remaining("finalists") else None

    def plan_finalists(self, trials: list[dict[str, Any]]) -> None:
        """Plan finalists: those that have started stay, of the others there are these and no more.

        Args:
            trials: `values`, and `of`: the arm and number of the trial that is trained again.
        """
        before = self._planned.get("finalists")
        started = (before or [])[: len(self._trials["finalists"])]
        done = {_key(trial) for trial in started}
        planned = started + [trial for trial in json.loads(json.dumps(trials)) if _key(trial) not in done]  # as read
        if planned != before:
            self._planned["finalists"] = planned
            with self._signed() as storage:
                storage.set_study_user_attr(self._studies["finalists"], "planned", planned)

    def report(self, trial: Trial, report: Report) -> bool:
        """Record an evaluation of a running trial; one that is recorded already changes nothing.

        Returns:
            True if the trial is to be pruned here. The answer depends on the values in the ledger alone, so it is the
            same after a crash. For a step before the last recorded one it is False: the trial went on from there.
        """
        if not self.is_current_attempt(trial) or report.step < self._trials[trial.arm][trial.number].step:
            return False
        self._record(trial, report)
        return trial.arm == "search" and self._ranking.should_prune(trial.number, report.step)

    def complete(self, trial: Trial, last: Report) -> Trial:
        """Record that a trial trained to its end, and its last evaluation, whose error is its objective."""
        return self._end(trial, TrialState.COMPLETE, last)

    def prune(self, trial: Trial, last: Report) -> Trial:
        """Record that a trial was pruned."""
        return self._end(trial, TrialState.PRUNED, last)

    def fail(self, trial: Trial, reason: str, message: str, last: Report | None) -> Trial:
        """Record that a trial cannot give a result. It counts as a trial, and the sampler learns of it if it may."""
        return self._end(trial, TrialState.FAIL, last, reason, message)

    def add_point(self, request: str, values: Values) -> Trial:
        """Have a point that a person gives wait as the next trial of the search. Done again, it changes nothing.

        Args:
            request: an id of the wish, which is kept with the trial.
            values: of searched keys; the sampler chooses the others.

        Returns:
            The trial: WAITING, or FAILED if its values cannot be chosen.
        """
        for trial in self._trials["search"]:
            if trial.request == request:
                return trial
        return self._create("search", request, values)

    def end_by_hand(self, trial: Trial, known: Sequence[Report]) -> Trial:
        """Record that a person ended a running or waiting trial: it is pruned, and the sampler learns what it measured.

        Args:
            trial: if it runs, in its current attempt.
            known: its reports, by step; those that the ledger lacks are recorded first.
        """
        now = self._trials[trial.arm][trial.number]
        if now.state != "waiting" and not self.is_current_attempt(trial):
            return now
        for report in known:
            self._record(trial, report)
        message = f"ended by hand at step {known[-1].step}" if known else "ended by hand before its first evaluation"
        self._waiting[trial.arm].discard(trial.number)
        return self._finish(trial, TrialState.PRUNED, known[-1] if known else None, BY_HAND, message)

    def restart(self, before: Trial) -> Trial:
        """Begin the next attempt of a waiting trial, which is RUNNING then."""
        arm, number, now = before.arm, before.number, self._clock.time()
        facts = {
            "values": before.values,
            "of": before.replicates,
            "attempt": before.attempt + 1,
            "started": before.started if before.attempt else now,
            "began": now,
            "origin": before.origin,
            "request": before.request,
        }
        with self._signed() as storage:
            storage.set_trial_user_attr(self._ids[arm][number], "asked", facts)
            storage.set_trial_state_values(self._ids[arm][number], TrialState.RUNNING)
        self._attempt_began[before.id] = self._clock.monotonic()
        self._waiting[arm].remove(number)
        return self._change(
            before, state="running", attempt=facts["attempt"], started=facts["started"], attempt_started=now
        )

    def requeue(self, trial: Trial) -> Trial:
        """Have a trial that lost its driver wait for its next attempt."""
        if not self.is_current_attempt(trial):
            return self._trials[trial.arm][trial.number]
        with self._signed() as storage:
            storage.set_trial_state_values(self._id(trial), TrialState.WAITING)
        self._waiting[trial.arm].add(trial.number)
        return self._change(trial, state="waiting")

    def worker_lost(self, trial: Trial, message: str) -> Trial:
        """Have a trial that lost its worker wait for its next attempt, or fail if it has lost too many."""
        now = self._trials[trial.arm][trial.number]
        if not self.is_current_attempt(trial):
            return now
        lost = {"workers": now.lost_workers + 1, "seconds": now.seconds + self._seconds_of_attempt(trial)}
        with self._signed() as storage:
            storage.set_trial_user_attr(self._id(trial), "lost", lost)
        self._attempt_began.pop(trial.id, None)
        return self._retry(self._change(trial, lost_workers=lost["workers"], seconds=lost["seconds"]), message)

    def is_current_attempt(self, trial: Trial) -> bool:
        """Return True if the trial still runs in this attempt. Reports of any other attempt are ignored."""
        now = self._trials[trial.arm][trial.number]
        return now.state == "running" and now.attempt == trial.attempt

    def separated(self) -> tuple[int, int]:
        """Return how many trials are ranked behind those that go on at a rung, and how many are so beyond noise."""
        return self._ranking.separated()

    def correlations(self) -> list[Correlation]:
        """Return how well the ranking at each rung predicted the final ranking of the completed trials."""
        ends = {t.number: t.objective(self.spec.metric) for t in self._trials["search"] if t.state == "complete"}
        return self._ranking.correlations(ends)

    def record_active_seconds(self, seconds: float) -> None:
        """Set `active_seconds`; written to the storage every other second."""
        self._active_seconds = seconds
        if self._clock.monotonic() - self._saved > _SAVE_TIME_EVERY:
            self.save_time()

    def save_time(self) -> None:
        """Write `active_seconds` to the storage."""
        with self._signed() as storage:
            storage.set_study_user_attr(self._studies["search"], "active_seconds", self._active_seconds)
        self._saved = self._clock.monotonic()

    def record_end(self, reason: str) -> None:
        """Set `ended`; empty: nothing was left to start, or somebody drives the sweep again."""
        if reason != self._ended:
            with self._signed() as storage:
                storage.set_study_user_attr(self._studies["search"], "ended", reason)
            self._ended = reason

    def close(self) -> None:
        """Close the storage."""
        _close(self._storage)

    def take_over(self) -> None:
        """Drive the sweep from now on. What the driver before left running waits for its next attempt.

        If that one is not dead after all, its next write is refused. So what it wrote until now is read here, after
        the signature.
        """
        self._driver = uuid.uuid4().hex
        self._storage.set_study_user_attr(self._studies["search"], DRIVER, self._driver)
        self._read(self._where)
        if self._attributes("search")["spec"] != (spec := self.spec.model_dump_json()):
            with self._signed() as storage:  # the copy that the sweep goes on from if its own is lost
                storage.set_study_user_attr(self._studies["search"], "spec", spec)
        self.record_end("")
        for trial in self.all_trials():
            if trial.state == "running":
                self._retry(trial, "its driver was lost too")

    def check_driver(self) -> None:
        """Make sure that no other process has taken the sweep over since this one did.

        The lock of the sweep prevents it, unless the connection to the database that holds it was lost. Writes to the
        ledger need no look before them: each makes sure of it in its transaction.

        Raises:
            Unfinished: one has.
        """
        if self._driver and self._attributes("search").get(DRIVER) != self._driver:
            raise Unfinished(self._replaced)

    @contextmanager
    def _signed(self) -> Iterator[BaseStorage]:
        """Yield the storage; it refuses what is written in the block once another process has taken the sweep over."""
        if not self._driver:  # nobody drives yet
            yield self._storage
            return
        with self._storage.signed(self._studies["search"], self._driver, self._replaced):
            yield self._storage

    @property
    def _replaced(self) -> str:
        return f"{self.spec.name}: another process has taken the sweep over, and goes on with it"

    def _rows(self, where: Path | str, names: Sequence[str]) -> list[StudyRows]:  # noqa: ARG002
        return rows_of_storage(self._storage, names)

    def _read(self, where: Path | str) -> None:
        self._samplers, self._ranking = {}, RungRanking(self.spec)
        super()._read(where)

    def _take(self, arm: Arm, study: StudyRows) -> None:
        super()._take(arm, study)
        self._studies[arm] = study.id
        self._ids[arm] = [row.id for row in study.trials]
        for row in study.trials if arm == "search" else []:
            for step, value in sorted(row.values.items()):
                error = RankingError.from_json(value, row.attributes.get(f"{RANKED}{step}"))
                self._ranking.report(row.number, step, error)

    def _ask(self, arm: Arm) -> Trial:
        return self.restart(self._trials[arm][min(self._waiting[arm])]) if self._waiting[arm] else self._create(arm)

    def _create(self, arm: Arm, request: str = "", values: Values | None = None) -> Trial:
        """Create the next trial of an arm: RUNNING, or, of a point that was requested, WAITING."""
        number, now, problem = len(self._trials[arm]), self._clock.time(), ""
        try:
            suggested = self._suggest(arm, number, values)
        except STORAGE_ERRORS:
            raise
        except Exception as error:  # of the sampler: the sweep goes on without this trial
            suggested = Suggestion({}, "", create_trial(state=TrialState.RUNNING))
            problem = f"its values cannot be chosen: {type(error).__name__}: {error}"
        of = self._planned[arm][number].get("of") if arm in self._planned else None
        attempt, template = 0 if request else 1, suggested.template
        facts = {"values": suggested.values, "of": of, "attempt": attempt, "started": now, "began": now}
        template.set_user_attr("asked", facts | {"origin": suggested.origin, "request": request})
        if request:
            template.state, template.datetime_start = TrialState.WAITING, None
        # In one step: a driver that is killed meanwhile leaves no trial without values.
        with self._signed() as storage:
            trial_id = storage.create_new_trial(self._studies[arm], template_trial=template)
        self._ids[arm].append(trial_id)
        if request:
            self._waiting[arm].add(number)
        else:
            self._attempt_began[TrialId(arm, number)] = self._clock.monotonic()
        self._trials[arm].append(
            Trial(
                arm=arm,
                number=number,
                state="waiting" if request else "running",
                values=suggested.values,
                attempt=attempt,
                started=now,
                attempt_started=now,
                origin=suggested.origin,
                replicates=of and TrialId(*of),
                request=request,
            )
        )
        trial = self._trials[arm][number]
        if problem:
            self._waiting[arm].discard(number)
            return self._finish(trial, TrialState.FAIL, None, REFUSED, problem)
        return trial

    def _suggest(self, arm: Arm, number: int, added: Values | None = None) -> Suggestion:
        if arm in self._planned:
            return Suggestion(self._planned[arm][number]["values"], "", create_trial(state=TrialState.RUNNING))
        space = self.spec.space(arm)
        if arm not in self._samplers:
            learns = is_model_based(self.spec.sampler)  # to read ten thousand trials takes seconds
            past = self._storage.get_all_trials(self._studies[arm], deepcopy=False) if learns else []
            self._samplers[arm] = ArmSampler(self.spec.sampler, space, past, self.prior(arm).trials)
        combinations = self.spec.enumerated(arm)
        points = self.points_left(arm) if combinations is None else combinations[number:]
        points = points if added is None else [added]
        suggested = self._samplers[arm].suggest(number, space.to_params(points[0]) if points else {})
        return suggested if combinations is None else replace(suggested, origin="")

    def _end(self, trial: Trial, state: TrialState, last: Report | None, reason: str = "", message: str = "") -> Trial:
        if not self.is_current_attempt(trial):
            return self._trials[trial.arm][trial.number]
        return self._finish(trial, state, last, reason, message)

    def _record(self, trial: Trial, report: Report) -> None:
        """Record an evaluation of a trial that has not ended, unless it is recorded already."""
        if self._is_new(trial, report):
            with self._signed() as storage:
                self._write(storage, trial, report)
            self._remember(trial, report)

    def _is_new(self, trial: Trial, report: Report) -> bool:
        return report.step > self._trials[trial.arm][trial.number].step

    def _write(self, storage: BaseStorage, trial: Trial, report: Report) -> None:
        """Write a new evaluation to the storage."""
        error = RankingError.of(report, self.spec.metric)
        if trial.arm == "search" and self._ranking.is_at_rung(trial.number, report.step):
            # First, so that a rate never lacks it. After a crash between the two the report comes again.
            storage.set_trial_user_attr(self._id(trial), f"{RANKED}{report.step}", error.as_json())
        storage.set_trial_intermediate_value(self._id(trial), report.step, error.rate)

    def _remember(self, trial: Trial, report: Report) -> None:
        """Take in a new evaluation that the storage has."""
        if trial.arm == "search":
            self._ranking.report(trial.number, report.step, RankingError.of(report, self.spec.metric))
        self._change(trial, step=report.step)

    def _finish(self, trial: Trial, state: TrialState, last: Report | None, reason: str, message: str) -> Trial:
        now, report = self._trials[trial.arm][trial.number], last
        seconds = now.seconds + self._seconds_of_attempt(trial)
        facts: dict[str, Any] = {"reason": reason, "message": message, "seconds": seconds}
        if last is not None:
            last = replace(last, confusion={}, correct={})  # the records have them
            facts["last"] = {"step": last.step, "time": last.time, "metrics": last.metrics}
        ended = replace(
            now, state=STATES[state.name], reason=reason, message=message, seconds=seconds, last=last or now.last
        )
        objective = ended.objective(self.spec.metric) if state == TrialState.COMPLETE else None
        is_new = report is not None and state == TrialState.COMPLETE and self._is_new(trial, report)
        with self._signed() as storage:
            if report is not None and is_new:
                self._write(storage, trial, report)
            storage.set_trial_user_attr(self._id(trial), "end", facts)
            storage.set_trial_state_values(self._id(trial), state, None if objective is None else [objective])
        if report is not None and is_new:
            self._remember(trial, report)
            ended = replace(ended, step=report.step)
        self._attempt_began.pop(trial.id, None)
        self._trials[trial.arm][trial.number] = ended
        if not ended.is_probe:
            self.steps_done, self.seconds_done = self.steps_done + ended.step, self.seconds_done + ended.seconds
        if trial.arm in self._samplers:
            curve = {last.step: RankingError.of(last, self.spec.metric).rate} if last is not None else {}
            self._samplers[trial.arm].observe(trial.number, state, objective, curve, reason)
        return ended

    def _change(self, trial: Trial, **changes: Any) -> Trial:
        changed = replace(self._trials[trial.arm][trial.number], **changes)
        self._trials[trial.arm][trial.number] = changed
        return changed

    def _retry(self, trial: Trial, message: str) -> Trial:
        """Requeue a trial, or fail it if it has lost too many workers: its driver may have died between the two."""
        if trial.lost_workers < LOSSES:
            return self.requeue(trial)
        text = f"its worker was lost {trial.lost_workers} times, at last: {message}"
        return self.fail(trial, "lost_worker", text, None)

    def _seconds_of_attempt(self, trial: Trial) -> float:
        now = self._clock.monotonic()
        return now - self._attempt_began.get(trial.id, now)

    def _id(self, trial: Trial) -> int:
        return self._ids[trial.arm][trial.number]

    def _attributes(self, arm: Arm) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(self._studies[arm])


def _key(planned: dict[str, Any]) -> str:
    return json.dumps([planned["of"], planned["values"]], sort_keys=True)


def _close(storage: BaseStorage) -> None:
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()
