"""Asynchronous successive halving, decided from reported values alone, so that a crash changes no decision.

No rung stands before the consistency ramp-up is over: until then early results mislead (a larger weight looks worse).
"""

from collections.abc import Mapping, Sequence

from mt_sweeps.spec import SweepSpec

Curve = Mapping[int, float]
"""What a trial is ranked on, by optimiser step: the better of student and teacher error, as a teacher lags behind."""


def rungs(spec: SweepSpec) -> list[int]:
    """The optimiser steps at which trials are ranked, the same for the whole study; none: nothing is pruned.

    The first is the later of 0.3 of the steps and the latest end of a consistency ramp-up in the space; each next one
    is `reduction_factor` times later. None stands in the last fifth, where it would cost a result and save little.
    """
    if spec.pruner.name == "none":
        return []
    configs = [spec.config(corner) for corner in spec.space().corners()]
    steps = max(config.steps for config in configs)
    rung = max(max(config.ramp_up_steps for config in configs), -(-3 * steps // 10))
    found = []
    while rung <= 0.8 * steps:
        found.append(rung)
        rung *= spec.pruner.reduction_factor
    return found


def is_pruned(curve: Curve, others: Sequence[Curve], at: Sequence[int], reduction_factor: int) -> bool:
    """Whether a trial ends at its last report: at a rung, only one in `reduction_factor` goes on.

    Args:
        curve: of the trial, its last report included.
        others: of the other trials of the study.
        at: the rungs.
        reduction_factor: with fewer trials than this at a rung, all go on.
    """
    last = max(curve)
    before = max((step for step in curve if step < last), default=0)
    for rung in at:
        if not before < rung <= last:
            continue
        rivals = [value for value in (_at_rung(other, rung) for other in others) if value is not None]
        reached = 1 + len(rivals)
        better = sum(value < curve[last] for value in rivals)
        if reached >= reduction_factor and better >= reached // reduction_factor:
            return True
    return False


def _at_rung(curve: Curve, rung: int) -> float | None:
    reached = [step for step in curve if step >= rung]
    return curve[min(reached)] if reached else None
