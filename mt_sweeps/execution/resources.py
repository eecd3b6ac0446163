"""What one trial gets of the machine or the cluster, and how many trials run at once."""

import os
from collections.abc import Mapping, Sequence
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


def local_resources() -> dict[str, float]:
    """Return what Ray would find on this machine, without starting anything: `CPU` and `GPU`."""
    import torch

    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())}


def allocate(resources: Resources, nodes: Sequence[Mapping[str, float]], device: str) -> Share:
    """Return what a trial gets of what there is.

    Args:
        resources: as the file asks.
        nodes: of each machine, `CPU` and `GPU`, as Ray counts them.
        device: that the trials are to run on: auto, cpu or cuda.

    Raises:
        ValueError: the file asks for more than there is; Ray would wait for ever.
    """
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    auto = 1.0 if device == "cuda" or (gpus and device == "auto") else 0.0
    gpus_per_trial = auto if resources.gpus_per_trial == "auto" else float(resources.gpus_per_trial)
    if device == "cuda" and not gpus_per_trial:
        raise ValueError("trainer.device: cuda is set and resources.gpus_per_trial is 0; set device: auto, or raise it")
    if gpus_per_trial > gpus:
        raise ValueError(
            f"resources.gpus_per_trial: asks for {gpus_per_trial:g} and there are {gpus} GPUs; lower it, or set it "
            "and trainer.device to auto"
        )
    # Cores, and at most how many trials, per node that can run any. A fraction is of one GPU: three GPUs are enough for
    # three trials with 0.6 of a GPU each, and not for five.
    room, fair_share = [(int(node.get("CPU", 0)), int(node.get("CPU", 0))) for node in nodes], 1
    if gpus_per_trial:
        per_gpu = int(1 / gpus_per_trial)
        room = [(int(node.get("CPU", 0)), int(node["GPU"]) * per_gpu) for node in nodes if node.get("GPU", 0) >= 1]
        fair_share = min(max(1, cpus // trials) for cpus, trials in room)
    cpus_per_trial = fair_share if resources.cpus_per_trial == "auto" else resources.cpus_per_trial
    most = max(cpus for cpus, _ in room)
    if cpus_per_trial > most:
        raise ValueError(
            f"resources.cpus_per_trial: asks for {cpus_per_trial} and there are {most} cores; lower it, or set it to "
            "auto"
        )
    concurrent = sum(min(trials, cpus // cpus_per_trial) for cpus, trials in room)
    if resources.max_concurrent != "auto":
        concurrent = min(concurrent, resources.max_concurrent)
    return Share(gpus_per_trial, cpus_per_trial, concurrent)


def share_of(file: Path, spec: SweepSpec, nodes: Sequence[Mapping[str, float]]) -> Share:
    """Return what a trial of a sweep gets of what there is.

    Args:
        file: to name in an error.
        spec: of the sweep.
        nodes: as for `allocate`.

    Raises:
        InputError: the file asks for more than there is.
    """
    try:
        return allocate(spec.resources, nodes, spec.sample_config().device)
    except ValueError as error:
        raise InputError(f"{file}: {error}") from None
