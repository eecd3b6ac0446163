"""What one trial gets of the machine or the cluster, and how many trials run at once."""

from dataclasses import dataclass
from pathlib import Path

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Resources
from mt_sweeps.spec.sweep_spec import SweepSpec


@dataclass(frozen=True)
class Share:
    """What one trial gets, and how many run at once."""

    gpus: float
    cpus: int
    concurrent: int


def allocate(resources: Resources, found: dict[str, float], device: str) -> Share:
    """What a trial gets of what there is.

    Args:
        resources: as the file asks.
        found: as `start` returned.
        device: that the trials are to run on: auto, cpu or cuda.

    Raises:
        ValueError: the file asks for more than there is; it would wait for ever.
    """
    cpus, gpus = int(found.get("CPU", 1)), found.get("GPU", 0.0)
    auto = 1.0 if device == "cuda" or (gpus and device == "auto") else 0.0
    a_trial = auto if resources.gpus_per_trial == "auto" else float(resources.gpus_per_trial)
    if device == "cuda" and not a_trial:
        raise ValueError("trainer.device: cuda is set and resources.gpus_per_trial is 0; set device: auto, or raise it")
    if a_trial > gpus:
        raise ValueError(
            f"resources.gpus_per_trial: asks for {a_trial:g} and there are {gpus:g} GPUs; lower it, or set it and "
            "trainer.device to auto"
        )
    # A fraction is of one GPU: 0.6 of three GPUs is three trials, not five.
    at_once = (int(gpus) * int(1 / a_trial) if a_trial < 1 else int(gpus / a_trial)) if a_trial else cpus
    cpus_a_trial = (
        (max(1, cpus // at_once) if a_trial else 1)
        if resources.cpus_per_trial == "auto"
        else (resources.cpus_per_trial)
    )
    if cpus_a_trial > cpus:
        raise ValueError(
            f"resources.cpus_per_trial: asks for {cpus_a_trial} and there are {cpus} cores; lower it, or set it to auto"
        )
    at_once = min(at_once, cpus // cpus_a_trial)
    if resources.max_concurrent != "auto":
        at_once = min(at_once, resources.max_concurrent)
    return Share(a_trial, cpus_a_trial, at_once)


def share_of(file: Path, spec: SweepSpec, found: dict[str, float]) -> Share:
    """What a trial gets of what Ray found.

    Raises:
        InputError: the file asks for more.
    """
    try:
        return allocate(spec.resources, found, spec.sample_config().device)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
