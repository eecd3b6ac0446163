"""One schedule: drivers one after another, disturbed and then in peace, until the sweep is finished."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mt_sweeps.commands.ending import ending
from mt_sweeps.errors import SweepError
from mt_sweeps.execution import in_process
from mt_sweeps.study.trial import common_failure
from tests.simulation import invariants
from tests.simulation.disk import Disk
from tests.simulation.engine import Engine, Worker
from tests.simulation.faults import CALM, Faults, draw
from tests.simulation.parts import Parts
from tests.simulation.people import People
from tests.simulation.spec import SimulatedSpec, specs
from tests.simulation.world import Crash, Process, Violation, World
from trainers.files import CHECKPOINTS

LIVES = 12  # drivers, at the most
SQLITE_EVERY = 100  # one in so many schedules has its ledger in SQLite


class Simulation:
    """One schedule.

    Args:
        seed: decides everything.
        folder: an empty one.
        make_parts: `Parts`, or a mutant of it.
        faults: None: drawn from the seed.
        spec: None: drawn from the seed.
    """

    def __init__(
        self,
        seed: int,
        folder: Path,
        make_parts: Callable[..., Parts] = Parts,
        faults: Faults | None = None,
        spec: SimulatedSpec | None = None,
    ) -> None:
        self.world = world = World(seed)
        self.faults = faults or draw(world.rng)
        spec = spec or world.rng.choice(specs())
        self.parts = make_parts(
            world,
            spec,
            folder,
            is_sqlite=seed % SQLITE_EVERY == 0,
            is_stored=world.chance(0.3),
            diverging=frozenset({"0001"} if world.chance(0.3) else ()),
        )
        self._is_in_process = world.chance(0.1)
        self._folder = folder
        self._stale: list[Worker] = []
        self._life = 0
        self._sync: Callable[[], object] | None = None
        self.listener = invariants.Listener(self.parts)
        self.people = People(self.parts, self.listener)
        self.parts.sweep.at_removal = self.people.is_answered

    def run(self) -> None:
        """Run the schedule.

        Raises:
            Violation: a promise was broken.
        """
        invariants.prepare(self.parts)
        self.world.at_point = self._at_point
        with Disk(self.world, self._folder):
            self._steer()
            while not self._live():
                if self._life > LIVES:
                    raise Violation(f"not finished after {LIVES} drivers")
                self._steer()
            self._steer()
        self.people.take_up()
        self.parts.sync()
        invariants.check_requests(self.parts, self.people.asked, self.people.accepted)
        invariants.check_end(self.parts)

    def _steer(self) -> None:
        """Let people steer the sweep while nobody drives it."""
        while self.faults.asks and self.world.chance(0.5):
            before = self.parts.database.opened
            self.people.act(is_driven=False)
            self.parts.database.close(before)

    def _live(self, name: str = "driver") -> bool:
        """Have a driver work until it ends; return True if the sweep is finished."""
        faults = self.faults if self._life < self.faults.lives else replace(CALM, concurrent=self.faults.concurrent)
        driver = Process(f"{name} {self._life}", faults.driver_point(self.world.rng, self._life))
        self._life += 1
        opened = self.parts.database.opened
        self.world.is_disk_full = self.world.is_store_away = False
        self.world.mlflow_fails = ""
        try:
            with self.world.running(driver):
                return self._drive(faults)
        except Crash:
            return False
        finally:
            self.parts.database.close(opened)
            self._tear(faults)
            invariants.check_order(self.parts)
            self.people.check_left()

    def _drive(self, faults: Faults) -> bool:
        """Do what the command `resume` does; see `conduct` in `mt_sweeps/commands/conduct.py`."""
        world, parts = self.world, self.parts
        parts.sweep.clear_stop_request()
        ledger = parts.ledger()
        run = parts.run_in_mlflow(ledger)
        engine, is_finished, status = None, False, "FINISHED"
        self._sync = run.sync
        try:
            ledger.take_over()
            coordinator = parts.coordinator(ledger, self.listener)
            engine = Engine(world, faults, parts, coordinator)
            if self._is_in_process:
                in_process.run(coordinator, lambda assignment: parts.attempt(assignment, world.process))
            else:
                engine.run()
            coordinator.conclude()
            is_finished = all(trial.finished for trial in ledger.all_trials())
        except BaseException as error:
            if isinstance(error, Crash):
                raise
            status, failure = ending(error, "resume")
            world.log(f"ends with {error!r}")
            if isinstance(failure, SweepError) and common_failure(ledger.trials("search")) is not None:
                is_finished = True
            elif status != "KILLED":
                raise Violation(f"the driver ended with {error!r}") from error
        finally:
            self._sync = None
            for worker in engine.workers if engine is not None else ():
                worker.process.is_given_up = True
                self._stale.append(worker)
        invariants.check_memory(parts, ledger, is_finished)
        try:
            run.finish(status, "")
        except Exception as error:
            world.log(f"MLflow is not up to date: {error!r}")
        return is_finished

    def _at_point(self, what: str) -> None:
        """Let others work, and time pass, while a driver is between two writes."""
        world, faults = self.world, self.faults
        if world.process is None or "driver" not in world.process.name or self._life > faults.lives:
            return
        if self._stale and world.chance(0.02):
            worker = world.rng.choice(self._stale)
            world.log(f"{worker} has not ended yet")
            if worker.is_waiting or worker.advance(world) is None:
                self._stale.remove(worker)
        if what.startswith("SQLite"):  # a transaction is under way
            return
        if self._sync is not None and world.chance(faults.syncs):
            try:
                self._sync()
            except Exception as error:
                world.log(f"MLflow is behind: {error!r}")
        if world.chance(faults.asks):
            self.people.act(is_driven=True)
        if world.chance(faults.pauses):
            world.log("is stopped")
            world.clock.passed += world.rng.uniform(31, 300)
            if world.chance(faults.is_replaced):
                sync, self._sync = self._sync, None
                if faults.asks and world.chance(0.5):
                    self._steer()
                else:
                    self._live("another driver")
                self._sync = sync
            world.log("goes on")

    def _tear(self, faults: Faults) -> None:
        """Tear a checkpoint, as a machine that loses its power may."""
        if not self.world.chance(faults.tears):
            return
        folder = Path(self.parts.sweep.trials.location)
        files = sorted(file for name in CHECKPOINTS for file in folder.rglob(name))
        if files:
            file = self.world.rng.choice(files)
            file.write_bytes(file.read_bytes()[: self.world.rng.randrange(60)])
            self.world.damaged.add(invariants.trial_of(file.parent.parent.name))
