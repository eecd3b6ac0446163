"""The parts of mt-sweeps that a simulated process is made of. A mutant replaces one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mt_sweeps.execution.attempt import Assignment, Attempt
from mt_sweeps.execution.coordinator import Coordinator, Listener
from mt_sweeps.execution.resources import Share
from mt_sweeps.spec.sections import Tracking
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage.environment import Environment
from mt_sweeps.storage.file_store import FileStore, open_files
from mt_sweeps.storage.home import Home
from mt_sweeps.storage.local import LocalHome, LocalSweep
from mt_sweeps.storage.requests import Request
from mt_sweeps.storage.trial_files import TrialFiles
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.tracking.client import Client
from mt_sweeps.tracking.sweep_run import SweepRun
from tests.helpers.sweeps import ENVIRONMENT
from tests.simulation.mlflow_server import Server
from tests.simulation.storage import Database
from tests.simulation.store import ObjectStore
from tests.simulation.trainer import ScriptedTrainer
from tests.simulation.world import Process, World

STORE = "s3://store/trials"


class SimulatedSweep(LocalSweep):
    """A sweep whose specification and environment need not be read anew each time.

    Attributes:
        has_driver: whether a process has its lock.
        at_removal: hears of each request that is about to be removed.
    """

    has_driver = False
    at_removal: Callable[[Request], None]

    def __init__(self, home: Home, spec: SweepSpec, trials: TrialFiles) -> None:
        super().__init__(home, spec.name)
        self._known = spec
        self._trials = trials

    @property
    def trials(self) -> TrialFiles:
        return self._trials

    @property
    def resume_command(self) -> str:
        return f"mt-sweep resume {self.name}"

    @property
    def is_driven(self) -> bool:
        return self.has_driver

    def remove_request(self, request: Request) -> None:
        self.at_removal(request)
        super().remove_request(request)

    def load_spec(self) -> SweepSpec:
        return self._known

    def spec_text(self) -> str:
        return ""

    def load_environment(self) -> Environment:
        return ENVIRONMENT


@dataclass
class Parts:
    """Of one world.

    Args:
        world: where they are.
        spec: of the sweep.
        folder: of the sweep, and of the nodes.
        is_sqlite: whether the ledger is in a file of SQLite.
        is_stored: whether the trials are kept in an object store.
        diverging: names of the folders of trials that diverge.
    """

    world: World
    spec: SweepSpec
    folder: Path
    is_sqlite: bool = False
    is_stored: bool = False
    diverging: frozenset[str] = frozenset()
    kind_of_sweep = SimulatedSweep

    def __post_init__(self) -> None:
        self.home = LocalHome(self.folder)
        self.store = ObjectStore(self.world)
        self.server = Server(self.world)
        self.database = Database(self.world, self.folder / "ledger.db" if self.is_sqlite else None)

    @cached_property
    def sweep(self) -> SimulatedSweep:
        location = STORE if self.is_stored else str(self.folder / self.spec.name / "trials")
        return self.kind_of_sweep(self.home, self.spec, TrialFiles(location, self.files))

    def files(self, location: str) -> FileStore:
        return self.store.open(location) if location.startswith(STORE) else open_files(location)

    def ledger(self) -> Ledger:
        return Ledger("simulation", self.spec, self.database.open(), self.world.clock)

    def coordinator(self, ledger: Ledger, listener: Listener) -> Coordinator:
        return Coordinator(ledger, self.sweep, Share(0.0, 1, 2), listener, self.world.clock)

    def attempt(self, assignment: Assignment, process: Process) -> Attempt:
        del process
        return Attempt(assignment, make_trainer=self.trainer, files=self.files)

    def trainer(self, assignment: Assignment, folder: Path) -> ScriptedTrainer:
        return ScriptedTrainer(self.world, assignment, folder, folder.parent.name in self.diverging)

    def run_in_mlflow(self, ledger: Ledger) -> SweepRun:
        return SweepRun(self.home, self.sweep, ledger, self._connect)

    def _connect(self, home: Home, tracking: Tracking) -> Client:
        return Client(home, tracking, self.server)

    def request_stop(self) -> None:
        """Do what `mt-sweep stop` does, in another process."""
        process, self.world.process = self.world.process, None
        self.sweep.request_stop()
        self.world.process = process

    def sync(self) -> None:
        """Do what `mt-sweep sync` does, when all is well again."""
        self.world.mlflow_fails, self.world.is_store_away, self.world.is_disk_full = "", False, False
        self.run_in_mlflow(self.ledger()).finish("FINISHED", "")
        self.database.close()
