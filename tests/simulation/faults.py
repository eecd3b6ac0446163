"""What goes wrong in a schedule, and how often: drawn from its seed."""

import random
from dataclasses import dataclass

_POINTS = 250  # of a driver's life, about


@dataclass(frozen=True)
class Faults:
    """How often what goes wrong. Probabilities are per step of the engine, or per point where it says so.

    Attributes:
        lives: drivers that are disturbed; the next one is not, and finishes the sweep.
        concurrent: trials at once.
        driver_dies: probability that a driver is killed at one of its points.
        worker_dies: that a worker is killed at one of its points.
        node_dies: that all workers of a node are killed.
        is_cut_off: that a living worker is taken for dead.
        repeats: that a message arrives again.
        syncs: per point of the driver: that the thread of MLflow comes to work there.
        mlflow_changes: that MLflow breaks, or is well again.
        disk_fills: that the disk is full, until the driver has ended.
        store_goes: that the object store is away, until the driver has ended.
        clock_jumps: that the wall clock is set.
        pauses: per point of the driver: that it is stopped for longer than anything waits.
        is_replaced: that another driver takes over during such a pause: the lock was lost with a connection.
        asks: per point of the driver: that a person adds a point, or ends a trial.
        stop: that somebody asks the driver to stop.
        tears: that a checkpoint is torn when a driver has died.
        driver_dies_at: the point at which the first driver dies; 0: drawn.
        worker_dies_at: the point at which the first worker of each trial dies; 0: drawn.
    """

    lives: int = 0
    concurrent: int = 2
    driver_dies: float = 0.0
    worker_dies: float = 0.0
    node_dies: float = 0.0
    is_cut_off: float = 0.0
    repeats: float = 0.0
    syncs: float = 0.02
    mlflow_changes: float = 0.0
    disk_fills: float = 0.0
    store_goes: float = 0.0
    clock_jumps: float = 0.0
    pauses: float = 0.0
    is_replaced: float = 0.0
    asks: float = 0.0
    stop: float = 0.0
    tears: float = 0.0
    driver_dies_at: int = 0
    worker_dies_at: int = 0

    def driver_point(self, rng: random.Random, life: int) -> int:
        """Return the point at which the driver of a life dies; 0: it does not."""
        if life >= self.lives:
            return 0
        if self.driver_dies_at:
            return self.driver_dies_at if life == 0 else 0
        return rng.randint(1, _POINTS) if rng.random() < self.driver_dies else 0

    def worker_point(self, rng: random.Random, attempt: int) -> int:
        """Return the point at which the worker of an attempt dies; 0: it does not."""
        if self.worker_dies_at:
            return self.worker_dies_at if attempt == 1 else 0
        return rng.randint(1, 30) if rng.random() < self.worker_dies else 0


CALM = Faults()


def draw(rng: random.Random) -> Faults:
    """Return the faults of a schedule: a few kinds of them, so that each is also met alone."""
    often = {
        "driver_dies": (0.5, 1.0),
        "worker_dies": (0.1, 0.5),
        "node_dies": (0.01, 0.05),
        "is_cut_off": (0.02, 0.1),
        "repeats": (0.05, 0.3),
        "mlflow_changes": (0.05, 0.3),
        "disk_fills": (0.005, 0.03),
        "store_goes": (0.005, 0.03),
        "clock_jumps": (0.05, 0.2),
        "pauses": (0.002, 0.01),
        "asks": (0.01, 0.06),
        "stop": (0.005, 0.02),
        "tears": (0.3, 1.0),
    }
    kinds = rng.sample(sorted(often), rng.randint(1, 5))
    rates = {kind: rng.uniform(*often[kind]) for kind in kinds}
    return Faults(
        lives=rng.randint(1, 4),
        concurrent=rng.randint(1, 3),
        syncs=rng.choice((0.0, 0.02, 0.1)),
        is_replaced=rng.choice((0.0, 0.7)),
        **rates,
    )
