"""Start Ray on this machine for one sweep, reachable by nobody else, and end it; or join a cluster, which runs on.

The token of a cluster is in the environment (RAY_AUTH_MODE, RAY_AUTH_TOKEN).
"""

import contextlib
import functools
import os
import secrets
import signal
import threading
from collections.abc import Callable
from typing import Any

from mt_sweeps.errors import InputError
from mt_sweeps.execution import ray_address, ray_private, ray_watch
from mt_sweeps.execution.ray_folder import RayFolder
from mt_sweeps.execution.variables import Before, restore_variables, set_variables
from mt_sweeps.program import program

_STARTS = 2  # that are tried: two that look for free ports at the same moment may take the same one

# Ray reads these when it is imported.
_ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else every worker rebuilds the environment under `uv run`
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative data folders stay what they were
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the worker hides the GPUs; else Ray warns of its future
    # Ray would show its metrics to everybody who asks, on three ports of all interfaces.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt ends the driver at once; the ledger knows how to go on
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # seconds, so never: the ledger has all that Tune knows
    "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # the console shows failures
    "TUNE_WARN_THRESHOLD_S": "60",
}
_folder: RayFolder | None = None  # of the Ray that was started
_stopping: threading.Thread | None = None  # ends Ray
_saved: Before = {}  # variables of the environment as they were before Ray was started


def start(meanwhile: Callable[[], object] | None = None) -> list[dict[str, float]]:
    """Start Ray on this machine, or join a cluster. What is in the environment for other uses of Ray has no effect.

    Args:
        meanwhile: runs in a thread while this waits for Ray's processes; what it raises is dropped. None: nothing.

    Returns:
        The resources of each node: `CPU`, and `GPU` if there are any.

    Raises:
        InputError: the cluster cannot be joined, or there is no folder for Ray's files.
        Unfinished: Ray does not start on this machine.
    """
    set_environment()
    address = ray_address.cluster_address()
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        nodes = _start_here(meanwhile) if address is None else _join(address, meanwhile)
    except SystemExit:  # a SIGTERM arrived meanwhile
        _remove_folder()
        raise KeyboardInterrupt from None
    signal.signal(signal.SIGTERM, terminate)  # Ray's own handler would end the process
    return nodes


def _start_here(meanwhile: Callable[[], object] | None) -> list[dict[str, float]]:
    global _folder
    # Ray's ports listen on all interfaces, so they must ask for a token.
    _saved.update(set_variables({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _token()}))
    failure = ""
    for _ in range(_STARTS):
        _folder = RayFolder()
        try:
            with ray_watch.watched_start(_remove_folder), ray_private.only_what_trials_need():
                return _init(
                    meanwhile,
                    address="local",
                    _temp_dir=str(_folder.inner),
                    num_cpus=len(os.sched_getaffinity(0)),
                    include_dashboard=False,
                    object_store_memory=100 * 2**20,  # bytes: only reports travel through it, and they are small
                )
        except Exception as error:  # Ray raises whatever comes, a bare Exception too where its raylet was killed
            failure = first_line(error)
            ray_watch.kill()
            _remove_folder()
    raise ray_watch.not_started(failure)


def _join(address: str, meanwhile: Callable[[], object] | None) -> list[dict[str, float]]:
    ray_address.check_reachable(address)
    variables = {"RAY_CHDIR_TO_TRIAL_DIR": _ENVIRONMENT["RAY_CHDIR_TO_TRIAL_DIR"]}
    try:
        return _init(meanwhile, address=address, runtime_env={"env_vars": variables})
    except Exception as error:
        raise InputError(
            f"RAY_ADDRESS: the cluster at {address} cannot be joined ({first_line(error)}); a driver runs on a node "
            "of the cluster, with its versions of Ray and Python and its RAY_AUTH_TOKEN; from elsewhere, use "
            f"`{program()} submit`"
        ) from None


def _init(meanwhile: Callable[[], object] | None, **options: Any) -> list[dict[str, float]]:
    import ray  # it reads its token now

    if meanwhile is not None:
        threading.Thread(target=_quietly, args=(meanwhile,), name="ray-meanwhile", daemon=True).start()
    ray.init(**options, log_to_driver=False, logging_level="ERROR")
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _quietly(call: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        call()


@functools.cache
def _token() -> str:
    """Return what Ray's ports ask for: for this process alone, in no file. Ray would not take a second one from it."""
    return secrets.token_hex(32)


def set_environment() -> None:
    """Set the variables that Ray reads, and remove others that Tune would obey; call it before Ray is imported."""
    # The last: Ray would then not tell a trial which GPU is its own, and all would take the first.
    others = ("TUNE_", "RAY_TMPDIR", "RAY_EXPERIMENTAL_NOSET_")
    for name in [name for name in os.environ if name.startswith(others)]:
        del os.environ[name]
    os.environ.update(_ENVIRONMENT)


def first_line(error: Exception) -> str:
    """Return the message of an error on one line, shortened."""
    return " ".join(str(error).split())[:300]


def begin_to_stop() -> None:
    """Begin to end what `start` started, beside what this process has left to do; `stop` waits for it."""
    global _stopping
    _stopping = threading.Thread(target=_stop, name="ray-stop")
    _stopping.start()


def stop() -> None:
    """End what `start` started, and nothing else."""
    global _stopping
    if _stopping is None:
        _stop()
    else:
        _stopping.join()
        _stopping = None


def _stop() -> None:
    import ray

    if ray_watch.dead_process() is not None:
        ray_watch.kill()
    else:
        ray.shutdown()
    _remove_folder()
    restore_variables(_saved)
    _saved.clear()


def _remove_folder() -> None:
    global _folder
    if _folder is not None:
        _folder.remove()
    _folder = None
