"""The simulated engine: workers on nodes, and messages that are late, come twice, or tell of the dead.

As Ray Tune does, a worker trains to its next evaluation, and waits for what becomes of it.
"""

from dataclasses import dataclass

from mt_sweeps.execution.attempt import Assignment, Attempt, Outcome
from mt_sweeps.execution.coordinator import Coordinator
from tests.simulation.faults import Faults
from tests.simulation.parts import Parts
from tests.simulation.world import Crash, Process, World

_NODES = 2


@dataclass
class Worker:
    """A process that trains one attempt."""

    assignment: Assignment
    attempt: Attempt
    process: Process
    node: int
    is_waiting: bool = False  # for the answer to its report

    def advance(self, world: World) -> Outcome | None:
        """Train to the next evaluation; return None if the process died meanwhile."""
        with world.running(self.process):
            try:
                outcome = self.attempt.advance()
                world.log(f"computed {outcome}")
            except Crash:
                return None
        self.is_waiting = True
        return outcome

    def __str__(self) -> str:
        return self.process.name


class Engine:
    """Runs the trials of one driver.

    Args:
        world: where.
        faults: how often what goes wrong.
        parts: of which attempts are made.
        coordinator: of the driver.
    """

    def __init__(self, world: World, faults: Faults, parts: Parts, coordinator: Coordinator) -> None:
        self._world = world
        self._faults = faults
        self._parts = parts
        self._coordinator = coordinator
        self.workers: list[Worker] = []
        self._messages: list[tuple[Worker, Outcome | None]] = []  # None: it is lost
        self._delivered: list[tuple[Worker, Outcome]] = []
        self._is_finished = False

    def run(self) -> None:
        """Run trials until the coordinator has no more, or says that everything is to stop."""
        while not self._stops():
            actions = [self._start] if self._has_room() else []
            actions += [self._advance] * any(not worker.is_waiting for worker in self.workers)
            actions += [self._deliver] * (2 * bool(self._messages))
            if not actions:
                return
            self._world.clock.passed += self._world.rng.choice((0.05, 0.2, 0.6))
            self._world.point("between two messages")
            self._world.rng.choice(actions)()
            self._go_wrong()

    def _stops(self) -> bool:
        with self._coordinator.capture_errors():
            self._coordinator.poll()
        return self._coordinator.should_stop

    def _has_room(self) -> bool:
        return not self._is_finished and len(self._active()) < self._faults.concurrent

    def _active(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.process.is_given_up]

    def _start(self) -> None:
        with self._coordinator.capture_errors():
            assignment = self._coordinator.next_assignment()
            if assignment is None:
                self._is_finished = self._coordinator.is_idle
                if not self._is_finished and not self._messages and all(w.is_waiting for w in self._active()):
                    raise AssertionError("the coordinator waits for a trial that nobody runs")
                return
            name = f"{assignment.trial.slug}/{assignment.attempt}"
            process = Process(name, self._faults.worker_point(self._world.rng, assignment.attempt))
            attempt = self._parts.attempt(assignment, process)
            self.workers.append(Worker(assignment, attempt, process, self._world.rng.randrange(_NODES)))

    def _advance(self) -> None:
        worker = self._world.rng.choice([worker for worker in self.workers if not worker.is_waiting])
        outcome = worker.advance(self._world)
        if outcome is None:
            self._lost(worker)
        else:
            self._messages.append((worker, outcome))

    def _deliver(self) -> None:
        worker, outcome = self._messages.pop(self._world.rng.randrange(len(self._messages)))
        self._hand_on(worker, outcome)
        if outcome is not None:
            self._delivered.append((worker, outcome))

    def _hand_on(self, worker: Worker, outcome: Outcome | None) -> None:
        """Do what `driver` does with a message of Tune."""
        coordinator = self._coordinator
        if coordinator.error is not None:
            return
        self._world.log(f"of {worker}: {outcome}")
        with coordinator.capture_errors():
            if outcome is None:
                coordinator.worker_lost(worker.assignment, "its node died")
                self._is_finished = False
            elif outcome.done or outcome.report is None or coordinator.reported(worker.assignment, outcome.report):
                coordinator.ended(worker.assignment, outcome)
                self._remove(worker)
            else:
                worker.is_waiting = False

    def _go_wrong(self) -> None:
        world, faults = self._world, self._faults
        if world.chance(faults.clock_jumps):
            world.clock.offset += world.rng.choice((-7200.0, -3.0, 3600.0, 1e6))
        if world.chance(faults.mlflow_changes):
            world.mlflow_fails = world.rng.choice(("", "refuses", "loses"))
        world.is_disk_full = world.is_disk_full or world.chance(faults.disk_fills)
        world.is_store_away = world.is_store_away or world.chance(faults.store_goes)
        if world.chance(faults.stop):
            self._parts.request_stop()
        if self._delivered and world.chance(faults.repeats):
            worker, outcome = world.rng.choice(self._delivered)
            world.log(f"again, of {worker}:")
            was_waiting = worker.is_waiting
            self._hand_on(worker, outcome)
            worker.is_waiting = was_waiting  # it waits for the answer to another report, or for none
        if self.workers and world.chance(faults.node_dies):
            node = world.rng.choice(self.workers).node
            world.log(f"node {node} is lost")
            for worker in [worker for worker in self.workers if worker.node == node]:
                world.kill(worker.process)
                self._lost(worker)
        if self._active() and world.chance(faults.is_cut_off):
            worker = world.rng.choice(self._active())
            world.log(f"{worker} is taken for dead, and is not")
            worker.process.is_given_up = True
            self._messages.append((worker, None))

    def _lost(self, worker: Worker) -> None:
        self._remove(worker)
        if not worker.process.is_given_up:
            if self._world.chance(0.5):  # else its last report arrives yet, before the news of its end or after it
                self._messages = [message for message in self._messages if message[0] is not worker]
            self._messages.append((worker, None))

    def _remove(self, worker: Worker) -> None:
        if worker in self.workers:
            self.workers.remove(worker)
