"""Ray: started on this machine for one sweep, reachable by nobody else, and gone with it; or a cluster that is joined.

A cluster is joined where RAY_ADDRESS is set, as it is in what Ray's own `job submit` runs. Its token is then the
environment's (RAY_AUTH_MODE, RAY_AUTH_TOKEN), and it is left running.
"""

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from mt_sweeps.errors import InputError, Unfinished
from mt_sweeps.execution.resources import Share

T = TypeVar("T")
_INDISPENSABLE = ("raylet", "gcs_server")  # Ray itself waits for minutes, or for ever, for one that died
_PATIENCE = 15  # seconds that a call into Ray may need to notice an interrupt, before the process is ended around it

# Ray reads these when it is imported.
_ENVIRONMENT = {
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # else every worker rebuilds the environment under `uv run`
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative data folders stay what they were
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the worker hides the GPUs; else Ray warns of its future
    # What Ray measures of itself it would tell everybody who asks, on three ports of all interfaces.
    "RAY_enable_metrics_collection": "0",
    "AUTOSCALER_METRIC_PORT": "-1",
    "DASHBOARD_METRIC_PORT": "-1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # an interrupt leaves at once; the ledger knows what to do after it
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # seconds: what Tune knows of an experiment is in the ledger
    "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # failures are told by the console
    "TUNE_WARN_THRESHOLD_S": "60",
}
_before: dict[str, str | None] = {}  # of the environment, while Ray runs on this machine


def address() -> str:
    """Of the cluster that is joined; empty: Ray is started on this machine."""
    return os.environ.get("RAY_ADDRESS", "")


def start() -> dict[str, float]:
    """Start Ray on this machine, or join a cluster.

    Returns:
        What there is: `CPU`, and `GPU` where there are any.

    Raises:
        InputError: the cluster cannot be joined.
    """
    set_environment()
    if address():
        _check_reachable(address())
        chosen: dict[str, Any] = {
            "address": address(),
            "runtime_env": {"env_vars": {"RAY_CHDIR_TO_TRIAL_DIR": _ENVIRONMENT["RAY_CHDIR_TO_TRIAL_DIR"]}},
        }
    else:
        _before.update({name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")})
        os.environ["RAY_AUTH_MODE"] = "token"  # its ports listen on all interfaces, so they must ask for a token
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # of this sweep alone, in no file
        chosen = {
            "address": "local",
            "num_cpus": len(os.sched_getaffinity(0)),
            "include_dashboard": False,
            "object_store_memory": 100 * 2**20,  # reports are small; nothing else travels through it
        }
    import ray

    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**chosen, log_to_driver=False, logging_level="ERROR")
    except SystemExit:  # a SIGTERM meanwhile
        raise KeyboardInterrupt from None
    except (RuntimeError, OSError, ValueError) as error:
        if not address():
            raise
        raise InputError(
            f"RAY_ADDRESS: the cluster at {address()} cannot be joined ({first_line(error)}); a driver runs on a node "
            "of the cluster, with its versions of Ray and Python and its RAY_AUTH_TOKEN; from elsewhere, use "
            "`mt-sweep submit`"
        ) from None
    signal.signal(signal.SIGTERM, terminate)  # Ray puts one of its own there, which ends the process
    found: dict[str, float] = ray.cluster_resources()
    return found


def set_environment() -> None:
    """Before Ray is imported."""
    os.environ.update(_ENVIRONMENT)


def _check_reachable(at: str) -> None:
    """Ray itself would try for minutes."""
    parts = urlsplit(at if "//" in at else f"//{at}")
    if at == "auto" or not parts.hostname or not parts.port:
        return
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except OSError as error:
        raise InputError(
            f"RAY_ADDRESS: nothing answers at {at} ({error.strerror or error}); start the cluster, correct the "
            "address, or take RAY_ADDRESS out of the environment to run on this machine"
        ) from None


def first_line(error: Exception) -> str:
    """What an error of Ray's says, on one line."""
    return " ".join(str(error).split())[:300]


def local_resources() -> dict[str, float]:
    """What `start` would find on this machine, without starting anything."""
    import torch

    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())}


class NodeGone(Exception):
    """A node has left the cluster."""


def on_each_node(a_trial: Share, call: Callable[[Any], T], argument: Any) -> dict[str, Callable[[float], T]]:
    """Call something on every node that could run a trial.

    Args:
        a_trial: what a trial gets.
        call: a function of a module that the nodes have, too.
        argument: of it.

    Returns:
        By the address of the node, what waits so many seconds for its answer; it raises what the node raised, or
        `NodeGone`.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def answer(node: dict[str, Any]) -> Callable[[float], T]:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        told = ray.remote(num_cpus=0, max_retries=0)(call).options(scheduling_strategy=there).remote(argument)

        def wait(seconds: float) -> T:
            try:
                return cast(T, ray.get(told, timeout=seconds))
            except ray.exceptions.RayError:
                if any(one["NodeID"] == node["NodeID"] and one["Alive"] for one in ray.nodes()):
                    raise
                raise NodeGone(f"the node {node['NodeManagerAddress']} has left the cluster") from None

        return wait

    wanted = {"CPU": float(a_trial.cpus), "GPU": a_trial.gpus}
    return {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": answer(node)
        for node in ray.nodes()
        if node["Alive"] and all(node["Resources"].get(kind, 0.0) >= amount for kind, amount in wanted.items())
    }


def stop() -> None:
    """End what `start` started, and nothing else."""
    import ray

    if dead_process():
        _kill()
    else:
        ray.shutdown()
    for name, value in _before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    _before.clear()


def dead_process() -> str:
    """The name of a process of Ray's own that died and that no trial can run without; empty: all are alive.

    Of a cluster that is joined Ray itself tells: it ends a driver whose node is gone.
    """
    if address():
        return ""
    node = _node()
    alive = [name for name, _ in node.live_processes()] if node is not None else _INDISPENSABLE
    return next((name for name in _INDISPENSABLE if name not in alive), "")


@contextmanager
def watchdog(resume: str) -> Iterator[None]:
    """Within it, the death of a process that Ray cannot do without ends the work of the main thread at once.

    Args:
        resume: what to type to go on.

    Raises:
        Unfinished: one died.
    """
    over, found = threading.Event(), ""

    def death(name: str) -> Unfinished:
        return Unfinished(
            f"Ray's {name} has died: something killed it, or the machine ran out of memory; nothing is lost, go on "
            f"with `{resume}`"
        )

    def watch() -> None:
        nonlocal found
        while not over.wait(0.2):
            found = dead_process()
            if found:
                os.kill(os.getpid(), signal.SIGTERM)  # a KeyboardInterrupt in the main thread, whatever it waits for
                if not over.wait(_PATIENCE):
                    print(f"error: {death(found)}", file=sys.stderr, flush=True)
                    os._exit(Unfinished.exit_status)
                return

    threading.Thread(target=watch, name="ray-watch", daemon=True).start()
    try:
        yield
    except BaseException:
        name = found or dead_process()
        if name:
            _kill()  # at once: what is left of Ray would go on to print its own logs
            raise death(name) from None
        raise
    finally:
        over.set()


def _kill() -> None:
    """An orderly end would wait for what is not there any more."""
    _node().kill_all_processes(check_alive=False)


def _node() -> Any:
    from ray._private import worker  # Ray tells of its node only here

    return worker._global_node
