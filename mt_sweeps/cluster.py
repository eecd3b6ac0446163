"""Ray: started on this machine for one sweep, reachable by nobody else, and gone with it."""

import os
import secrets
import signal
from dataclasses import dataclass

from mt_sweeps.spec import Resources

# Ray reads these when it is imported.
_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",  # its ports listen on all interfaces, so they must ask for a token
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else every worker rebuilds the environment under `uv run`
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative data folders stay what they were
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the worker hides the GPUs; else Ray warns of its future
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt leaves at once; the ledger knows what to do after it
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # seconds: what Tune knows of an experiment is in the ledger
    "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # failures are told by the console
    "TUNE_WARN_THRESHOLD_S": "60",
}


@dataclass(frozen=True)
class Share:
    """What one trial gets, and how many run at once."""

    gpus: float
    cpus: int
    concurrent: int


def start() -> dict[str, float]:
    """Start Ray on this machine.

    Returns:
        What it found: `CPU`, and `GPU` where there are any.
    """
    os.environ.update(_ENVIRONMENT)
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # of this sweep alone, in no file
    import ray

    terminate = signal.getsignal(signal.SIGTERM)
    ray.init(
        address="local",
        num_cpus=len(os.sched_getaffinity(0)),
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 * 2**20,  # reports are small; nothing else travels through it
    )
    signal.signal(signal.SIGTERM, terminate)  # Ray puts one of its own there, which aborts the process
    found: dict[str, float] = ray.cluster_resources()
    return found


def found_here() -> dict[str, float]:
    """What `start` would find on this machine, without starting anything."""
    import torch

    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())}


def stop() -> None:
    """End what `start` started, and nothing else."""
    import ray

    ray.shutdown()
    os.environ.pop("RAY_AUTH_TOKEN", None)


def share(resources: Resources, found: dict[str, float], device: str) -> Share:
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
