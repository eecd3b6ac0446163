"""The simulated world: a seed, a clock, processes that die, and the points at which something happens to them."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mt_sweeps.spec.arms import TrialId


class Crash(BaseException):
    """The process is dead. It is no `Exception`: nothing in a process handles its own end."""


class Violation(Exception):
    """A promise of docs/chaos.md was broken."""


@dataclass
class Process:
    """A simulated process.

    Attributes:
        name: for the trace.
        dies_at: the point, counted from 1, at which it dies; 0: at none.
        points: that it has passed.
        is_dead: it can do nothing more, not even clean up.
        is_given_up: a worker whose driver is gone, or takes it for dead.
    """

    name: str
    dies_at: int = 0
    points: int = 0
    is_dead: bool = False
    is_given_up: bool = False


@dataclass
class Clock:
    """Time passes only when the world says so. The wall clock jumps, the other one does not."""

    passed: float = 0.0
    offset: float = 1_700_000_000.0

    def time(self) -> float:
        return self.offset + self.passed

    def monotonic(self) -> float:
        self.passed += 0.001
        return self.passed


@dataclass
class World:
    """What all simulated parts share.

    Args:
        seed: decides everything.

    Attributes:
        rng: draws everything.
        clock: of all processes.
        at_point: called at each point of a process that lives, with its description; makes other things happen.
        trace: what happened, line by line.
        computed: evaluations that workers computed, by trial, without those of workers that were given up.
        damaged: trials whose checkpoints were damaged, or lost with their node.
        is_disk_full: writes to the disk fail.
        is_store_away: the object store does not answer.
        mlflow_fails: "", "refuses" (nothing is done), or "loses" (it is done, and the answer is lost).
    """

    seed: int
    rng: random.Random = field(init=False)
    clock: Clock = field(default_factory=Clock)
    at_point: Callable[[str], None] = lambda what: None  # noqa: ARG005
    trace: list[str] = field(default_factory=list)
    computed: Counter[TrialId] = field(default_factory=Counter)
    damaged: set[TrialId] = field(default_factory=set)
    is_disk_full: bool = False
    is_store_away: bool = False
    mlflow_fails: str = ""
    process: Process | None = None
    _is_handling: bool = False

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def log(self, text: str) -> None:
        name = self.process.name if self.process is not None else "world"
        self.trace.append(f"{self.clock.passed:9.3f} {name:12} {text}")

    @contextmanager
    def running(self, process: Process) -> Iterator[None]:
        """Whatever is done in the block is done by this process."""
        before, self.process = self.process, process
        try:
            yield
        finally:
            self.process = before

    def point(self, what: str) -> None:
        """Pass a point between two writes of the process that runs.

        Raises:
            Crash: it dies here, or is dead already.
        """
        process = self.process
        if process is None:
            return
        if process.is_dead:
            raise Crash
        process.points += 1
        self.log(what)
        if process.points == process.dies_at:
            self.kill(process)
        if not self._is_handling:
            self._is_handling = True
            try:
                self.at_point(what)
            finally:
                self._is_handling = False
        if process.is_dead:
            raise Crash

    def kill(self, process: Process) -> None:
        """End a process. It learns of it at its next point."""
        if not process.is_dead:
            process.is_dead = True
            self.log(f"{process.name} is killed")
