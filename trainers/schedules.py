"""Values that change during a run, as functions of the optimiser step."""

import math

from trainers.config import Adam, Consistency, Ema, HalfCosine, QuarterCosine, RampDown, Schedule, StepDecay


def sigmoid_ramp_up(step: int, length: int) -> float:
    """Return exp(-5 (1 - x)^2) with x = step / length; 1 from `length` on (section 3 of the paper)."""
    return 1.0 if step >= length else math.exp(-5.0 * (1.0 - step / length) ** 2)


def linear_ramp_up(step: int, length: int) -> float:
    """Return step / length; 1 from `length` on."""
    return 1.0 if step >= length else step / length


def half_cosine(step: int, length: int) -> float:
    """Return half a period of a cosine, falling from 1 at step 0 to 0 at `length`."""
    return 0.5 * (1.0 + math.cos(math.pi * step / length))


def quarter_cosine(step: int, length: int) -> float:
    """Return a quarter of a period of a cosine, falling from 1 at step 0 to 0 at `length`."""
    return math.cos(0.5 * math.pi * step / length)


def ramp_down(step: int, length: int, end: int) -> float:
    """Return exp(-12.5 x^2), where x rises from 0 to 1 over the `length` steps before `end`.

    Source: the authors' TensorFlow code.
    """
    return math.exp(-12.5 * max(0.0, 1.0 - (end - step) / length) ** 2)


def consistency_weight(step: int, config: Consistency, ramp_up_steps: int) -> float:
    """Return the weight of the consistency loss, after `step` steps were taken; 0 before `consistency.start`."""
    ramp_up = {"sigmoid": sigmoid_ramp_up, "linear": linear_ramp_up}[config.ramp_up]
    return config.weight * ramp_up(step - config.start, ramp_up_steps) if step >= config.start else 0.0


def learning_rate_factor(step: int, config: Schedule, steps: int) -> float:
    """Return the factor on the learning rate, warm-up times decay, after `step` of `steps` steps were taken."""
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


def ema_decay(updates: int, config: Ema, ramp_end: int) -> float:
    """Return the EMA decay of an update: min(1 - 1 / (updates + 1), alpha), a plain mean until alpha is reached.

    Args:
        updates: optimiser steps taken, this one included; at least 1.
        config: alpha (section 2 of the paper), and its value until the consistency ramp-up ends.
        ramp_end: the step at which the consistency ramp-up ends.
    """
    alpha = config.decay
    if config.ramp_up_decay is not None and updates <= ramp_end:
        alpha = config.ramp_up_decay
    return min(1.0 - 1.0 / (updates + 1), alpha)


def adam_betas(step: int, config: Adam, schedule: Schedule, steps: int) -> tuple[float, float]:
    """Return beta1 and beta2 after `step` of `steps` steps were taken.

    beta2 changes after the warm-up, beta1 during the ramp-down (the authors' TensorFlow code).
    """
    beta1, beta2 = config.beta1, config.beta2
    if config.ramp_down_beta1 is not None and isinstance(schedule, RampDown):
        factor = ramp_down(step, schedule.ramp_down_steps, steps)
        beta1 = factor * beta1 + (1.0 - factor) * config.ramp_down_beta1
    if config.warm_up_beta2 is not None and step < schedule.warm_up_steps:
        beta2 = config.warm_up_beta2
    return beta1, beta2
