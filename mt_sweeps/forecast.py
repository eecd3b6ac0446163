"""What a sweep will take, from the file alone: said before anything starts."""

from dataclasses import dataclass

from mt_sweeps import pruning
from mt_sweeps.spec import Arm, SweepSpec

OVERHEAD_BYTES = 30_000_000  # ledger, MLflow's database, records and logs of a usual sweep


@dataclass(frozen=True)
class Forecast:
    """An upper bound: pruning makes it less.

    Attributes:
        trials: of each arm.
        steps: optimiser steps of all trials together, were none pruned.
        rungs: at which steps trials are ranked and ended.
        disk_bytes: kept at the end or needed on the way, whichever is more.
    """

    trials: dict[Arm, int]
    steps: int
    rungs: list[int]
    disk_bytes: int


def forecast(spec: SweepSpec, concurrent: int) -> Forecast:
    """What a sweep will take.

    Args:
        spec: of the sweep.
        concurrent: trials at once.
    """
    trials = {arm: spec.trials_of(arm) for arm in spec.arms()}
    weights = max(spec.config(values).model.weights for values in spec.space().corners())
    # A model is 4 bytes a weight. A checkpoint holds student, teacher and at most two moments; there are the last, the
    # one before, and the one that is being written.
    models, checkpoints = 4 * weights * sum(trials.values()), 3 * 16 * weights * concurrent
    return Forecast(
        trials=trials,
        steps=spec.steps * sum(trials.values()),
        rungs=pruning.rungs(spec),
        disk_bytes=models + checkpoints + OVERHEAD_BYTES,
    )
