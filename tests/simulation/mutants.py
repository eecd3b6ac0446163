"""Eight ways to get it wrong, each of which the simulation must find."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from optuna.storages import BaseStorage

from mt_sweeps.execution.attempt import Assignment
from mt_sweeps.execution.coordinator import Coordinator, Listener
from mt_sweeps.spec.sweep_spec import Values
from mt_sweeps.storage.requests import Request
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.trial import Trial
from tests.simulation.parts import Parts, SimulatedSweep
from tests.simulation.trainer import ScriptedTrainer
from tests.simulation.world import World
from trainers.report import Report


class _LosesReport(Ledger):
    def report(self, trial: Trial, report: Report) -> bool:
        """Drop the first new report of a later attempt."""
        if (
            trial.attempt > 1
            and trial.id not in self._dropped
            and report.step > self.trials(trial.arm)[trial.number].step
        ):
            self._dropped.add(trial.id)
            return False
        return super().report(trial, report)

    @property
    def _dropped(self) -> set[object]:
        return self.__dict__.setdefault("dropped", set())


class _PrunesTwice(Ledger):
    is_again = False

    def report(self, trial: Trial, report: Report) -> bool:
        """Answer the report after one that pruned a trial as that one."""
        is_pruned = super().report(trial, report)
        is_pruned, self.is_again = is_pruned or self.is_again, is_pruned
        return is_pruned


class _RequeuesOne(Ledger):
    def requeue(self, trial: Trial) -> Trial:
        """Leave the first trial running that lost its driver."""
        is_lost = trial.number == min(one.number for one in self.trials(trial.arm) if one.state == "running")
        return trial if is_lost and trial.lost_workers == 0 else super().requeue(trial)


class _NeverLooks(Ledger):
    def check_driver(self) -> None:
        """Believe to drive the sweep, whoever has taken it over."""

    @contextmanager
    def _signed(self) -> Iterator[BaseStorage]:
        yield self._storage


class _LooksEarly(Ledger):
    @contextmanager
    def _signed(self) -> Iterator[BaseStorage]:
        """Look who drives before the transaction of the write, and not in it."""
        self.check_driver()
        yield self._storage


class _AddsAgain(Ledger):
    def add_point(self, request: str, values: Values) -> Trial:
        """Do not look whether the trial of a request is there."""
        return self._create("search", request, values)


class _RemovesFirst(SimulatedSweep):
    world: World

    def requests(self) -> list[Request]:
        """Remove the request for a point as its driver reads it: before its trial is written."""
        requests = super().requests()
        for request in requests:
            if request.action == "add" and self.world.process is not None and "driver" in self.world.process.name:
                self.remove_request(request)
        return requests


class _ReportsFirst(ScriptedTrainer):
    tell: Callable[[Report], object]

    def run(self) -> Iterator[Report]:
        """Report before the record is written."""
        for report in super().run():
            self.tell(report)
            yield report


def _with_ledger(kind: type[Ledger]) -> type[Parts]:
    """Return the parts with a ledger that makes a mistake."""

    class Mutant(Parts):
        def ledger(self) -> Ledger:
            return kind("simulation", self.spec, self.database.open(), self.world.clock)

    return Mutant


class RequestFirst(Parts):
    kind_of_sweep = _RemovesFirst

    def __post_init__(self) -> None:
        super().__post_init__()
        self.sweep.world = self.world


class WriteBeforeRecord(Parts):
    """The report is in the ledger before its record is on the disk."""

    driver: Coordinator

    def coordinator(self, ledger: Ledger, listener: Listener) -> Coordinator:
        self.driver = super().coordinator(ledger, listener)
        return self.driver

    def trainer(self, assignment: Assignment, folder) -> ScriptedTrainer:
        trainer = _ReportsFirst(self.world, assignment, folder, folder.parent.name in self.diverging)
        trainer.tell = lambda report: self.driver.reported(assignment, report)
        return trainer


MUTANTS = {
    "LostReport": _with_ledger(_LosesReport),
    "DoublePrune": _with_ledger(_PrunesTwice),
    "WrongRequeue": _with_ledger(_RequeuesOne),
    "WriteBeforeRecord": WriteBeforeRecord,
    "StaleOwner": _with_ledger(_NeverLooks),
    "EarlyLook": _with_ledger(_LooksEarly),
    "RequestFirst": RequestFirst,
    "PointTwice": _with_ledger(_AddsAgain),
}
