"""What changes over a run, as functions of the optimiser step."""

import math

from trainers.config import Consistency, Ema, HalfCosine, QuarterCosine, RampDown, Schedule, StepDecay


def sigmoid_ramp_up(step: int, length: int) -> float:
    """exp(-5 (1 - x)^2) with x = step / length, 1 from `length` on (section 3 of the paper)."""
    return 1.0 if step >= length else math.exp(-5.0 * (1.0 - step / length) ** 2)


def linear_ramp_up(step: int, length: int) -> float:
    """step / length, 1 from `length` on."""
    return 1.0 if step >= length else step / length


def half_cosine(step: int, length: int) -> float:
    """1 at step 0, falling as half a cosine to 0 at `length`."""
    return 0.5 * (1.0 + math.cos(math.pi * step / length))


def quarter_cosine(step: int, length: int) -> float:
    """1 at step 0, falling as a quarter of a cosine to 0 at `length`."""
    return math.cos(0.5 * math.pi * step / length)


def ramp_down(step: int, length: int, end: int) -> float:
    """exp(-12.5 x^2), x going from 0 to 1 over the `length` steps before `end` (the authors' TensorFlow code)."""
    return math.exp(-12.5 * max(0.0, 1.0 - (end - step) / length) ** 2)


def consistency_weight(step: int, config: Consistency, ramp_up_steps: int) -> float:
    """The weight of the consistency loss in the step after `step` others."""
    ramp_up = {"sigmoid": sigmoid_ramp_up, "linear": linear_ramp_up}[config.ramp_up]
    return config.weight * ramp_up(step, ramp_up_steps)


def learning_rate_factor(step: int, config: Schedule, steps: int) -> float:
    """What the learning rate is multiplied with in the step after `step` of `steps`: warm-up times decay."""
    warm_up, begin = config.warm_up_steps, config.warm_up_from
    if config.warm_up == "sigmoid":
        factor = sigmoid_ramp_up(step, warm_up)
    else:
        factor = begin + (1.0 - begin) * linear_ramp_up(step, warm_up)
    if isinstance(config, HalfCosine):
        factor *= half_cosine(step, config.length or steps)
    elif isinstance(config, QuarterCosine):
        factor *= quarter_cosine(step, config.length or steps)
    elif isinstance(config, RampDown):
        factor *= ramp_down(step, config.ramp_down_steps, steps)
    elif isinstance(config, StepDecay):
        factor *= config.factor ** sum(step >= at for at in config.at)
    return factor


def ema_decay(updates: int, config: Ema, ramp_up_steps: int) -> float:
    """The decay of an update of the average: min(1 - 1 / (updates + 1), alpha), a plain mean until alpha is reached.

    Args:
        updates: optimiser steps taken, this one included; at least 1.
        config: alpha of the paper's section 2, and what it is until the consistency ramp-up ends.
        ramp_up_steps: when that is.
    """
    alpha = config.decay
    if config.ramp_up_decay is not None and updates <= ramp_up_steps:
        alpha = config.ramp_up_decay
    return min(1.0 - 1.0 / (updates + 1), alpha)
