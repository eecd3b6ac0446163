"""What a ledger holds: the trials of each arm, and how many are still to come. It writes nothing."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mt_sweeps.errors import InputError, SweepError
from mt_sweeps.spec.arms import Arm
from mt_sweeps.spec.changes import forbidden_changes
from mt_sweeps.spec.points import params_of_point
from mt_sweeps.spec.sweep_spec import SweepSpec, Values
from mt_sweeps.storage.home import SweepStore
from mt_sweeps.storage.ledger_rows import StudyRows, rows_of_file
from mt_sweeps.study.trial import Prior, Trial, best_of, trial_from_row

FORMAT = 3


class LedgerView:
    """The studies of one sweep, as they were when this was made.

    Args:
        where: the storage, as `open_storage` takes it.
        spec: of the sweep.

    Attributes:
        steps_done: optimiser steps of all trials that ended, without linear probes, which take none.
        seconds_done: what workers spent on them.

    Raises:
        InputError: the file is missing, no ledger, of another format, or of a sweep with another specification.
    """

    def __init__(self, where: Path | str, spec: SweepSpec) -> None:
        self.spec = spec
        self._trials: dict[Arm, list[Trial]] = {}
        self._waiting: dict[Arm, set[int]] = {}
        self._planned: dict[Arm, list[dict[str, Any]]] = {}
        self._prior: dict[Arm, Prior] = {}
        self._read(where)

    def _read(self, where: Path | str) -> None:
        """Take in what the storage holds now; arguments and errors as of the class."""
        spec, self.steps_done, self.seconds_done = self.spec, 0, 0.0
        try:
            studies = dict(
                zip(spec.arms(), self._rows(where, [study_name(spec, arm) for arm in spec.arms()]), strict=True)
            )
            for study in studies.values():
                self._check(where, study)
            for arm, study in studies.items():
                self._take(arm, study)
            self._active_seconds = float(studies["search"].attributes.get("active_seconds", 0.0))
            self._ended = str(studies["search"].attributes.get("ended", ""))
        except (InputError, SweepError):
            raise
        except Exception as error:  # of Optuna, SQLAlchemy or SQLite, or of a value that cannot be
            raise InputError(
                f"{where}: is no ledger of the sweep {spec.name}, or damaged ({_first_line(error)}); put back what was "
                "here, or remove the sweep and start a new one"
            ) from None

    def trials(self, arm: Arm) -> list[Trial]:
        """Return all trials of an arm so far, by number."""
        return list(self._trials[arm])

    def all_trials(self) -> list[Trial]:
        """Return all trials of every arm."""
        return [trial for arm in self._trials for trial in self._trials[arm]]

    def total(self, arm: Arm) -> int:
        """Return how many trials an arm has when everything is done."""
        planned = len(self._planned[arm]) if arm in self._planned else self.spec.trials_of(arm)
        return max(planned, len(self._trials[arm]))  # `trials` may have been lowered since

    def remaining(self, arm: Arm) -> int:
        """Return how many trials of an arm are still to start: those that wait, and those that do not exist yet."""
        return self.total(arm) - len(self._trials[arm]) + len(self._waiting[arm])

    def open_trials(self) -> int:
        """Return how many trials of the search are still to come whose values the sampler will choose."""
        return self.total("search") - len(self._trials["search"]) - len(self.points_left("search"))

    def points_left(self, arm: Arm) -> list[Values]:
        """Return the points that no trial of an arm has been given yet: of the file, then of its prior.

        A trial of an added point takes none.
        """
        points = [*(self.spec.points if arm == "search" else []), *self.prior(arm).points]
        return points[sum(not trial.request for trial in self._trials[arm]) :] if points else []

    def trial_at(self, params: Values) -> Trial | None:
        """Return the trial of the search that has these parameters, or None. One may be tried again if it failed.

        Args:
            params: as `params_of_point` returns them.
        """
        for trial in self._trials["search"]:
            if trial.state == "failed" or trial.is_ended_by_hand:
                continue
            with suppress(ValueError):  # of an earlier version, which allowed these values
                if params_of_point(self.spec, trial.values) == params:
                    return trial
        return None

    def prior(self, arm: Arm) -> Prior:
        """Return what an arm knows before its first trial: of earlier sweeps, and of `sampler.prior`; often nothing."""
        return self._prior.get(arm, Prior())

    def best(self) -> Trial | None:
        """Return the best completed trial of the search, or None if there is none."""
        return best_of(self._trials["search"], self.spec.metric)

    @property
    def active_seconds(self) -> float:
        """How long drivers have worked on this sweep; written every other second."""
        return self._active_seconds

    @property
    def ended(self) -> str:
        """Why its driver left trials unstarted when it ended (a budget, say), in words; empty: it did not."""
        return self._ended

    def _rows(self, where: Path | str, names: Sequence[str]) -> list[StudyRows]:
        """Return the studies of these names."""
        if isinstance(where, Path):
            return rows_of_file(where, names)
        from mt_sweeps.storage.rdb import open_storage, rows_of_storage  # brings Optuna

        return rows_of_storage(open_storage(where), names)

    def _check(self, where: Path | str, study: StudyRows) -> None:
        """Make sure that the study of an arm is that of the specification."""
        if study.attributes["format"] != FORMAT:
            raise InputError(
                f"{where}: is a ledger of format {study.attributes['format']}, this version reads {FORMAT}; use the "
                "version of mt-sweeps that wrote it"
            )
        changed = forbidden_changes(_with_defaults(study.attributes["spec"]), json.loads(self.spec.model_dump_json()))
        if changed:
            file = where.parent / "spec.yaml" if isinstance(where, Path) else self.spec.name
            raise InputError(
                *(f"{file}: {change}" for change in changed),
                "a sweep goes on only with what it was started with (trials, budget, resources and tracking may "
                "change): change it back, or start a new sweep",
            )

    def _take(self, arm: Arm, study: StudyRows) -> None:
        """Take in the rows of an arm."""
        rows = study.trials
        if [row.number for row in rows] != list(range(len(rows))):
            raise ValueError(f"trials of {arm} are missing")
        if "planned" in study.attributes:
            self._planned[arm] = study.attributes["planned"]
            if len(self._planned[arm]) < len(rows) or not all(
                isinstance(one["values"], dict) for one in self._planned[arm]
            ):
                raise ValueError(f"the plan of {arm} is not whole")
        if "prior" in study.attributes:
            self._prior[arm] = Prior.from_json(study.attributes["prior"])
        self._trials[arm] = [trial_from_row(arm, row, self.spec.metric) for row in rows]
        ended = [trial for trial in self._trials[arm] if trial.finished and not trial.is_probe]
        self.steps_done += sum(trial.step for trial in ended)
        self.seconds_done += sum(trial.seconds for trial in ended)
        self._waiting[arm] = {trial.number for trial in self._trials[arm] if trial.state == "waiting"}


def ledger_of(sweep: SweepStore) -> LedgerView:
    """Return the ledger of a sweep, for reading.

    Raises:
        InputError: it cannot be read, or a plugin that the sweep needs is not imported.
    """
    sweep.check_plugins()
    return LedgerView(sweep.ledger, sweep.load_spec())


def study_name(spec: SweepSpec, arm: Arm) -> str:
    """Return what the study of an arm is called in the storage."""
    return spec.name if arm == "search" else f"{spec.name}/{arm}"


def _with_defaults(spec: str) -> dict[str, Any]:
    """Return a specification as this version writes it: an earlier one has not all of today's entries."""
    with suppress(ValidationError):  # of another version: the differences are reported
        spec = SweepSpec.model_validate_json(spec).model_dump_json()
    content: dict[str, Any] = json.loads(spec)
    return content


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
