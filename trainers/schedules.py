"""What changes over a run, as functions of the optimiser step."""

import math


def sigmoid_ramp_up(step: int, length: int) -> float:
    """exp(-5 (1 - x)^2) with x = step / length, 1 from `length` on (section 3 of the paper)."""
    if step >= length:
        return 1.0
    return math.exp(-5.0 * (1.0 - step / length) ** 2)


def half_cosine(step: int, length: int) -> float:
    """1 at step 0, falling as half a cosine to 0 at `length`."""
    return 0.5 * (1.0 + math.cos(math.pi * step / length))


def ema_decay(updates: int, decay: float) -> float:
    """The EMA decay of an update: min(1 - 1 / (updates + 1), decay), a plain mean until `decay` is reached.

    Args:
        updates: optimiser steps taken, this one included; at least 1.
        decay: alpha of the paper's section 2, in [0, 1).
    """
    return min(1.0 - 1.0 / (updates + 1), decay)
