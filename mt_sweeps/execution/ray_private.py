"""What we use of Ray beyond its public interface. tests/mt_sweeps/execution/test_ray_private.py guards it."""

import contextlib
from collections.abc import Iterator
from typing import Any

_NEEDLESS = ("start_monitor", "start_log_monitor", "start_api_server")  # methods of Ray's Node, a process each


@contextlib.contextmanager
def only_what_trials_need() -> Iterator[None]:
    """While Ray starts here, leave out its autoscaler, its reader of logs and its web server.

    Each would import Ray in a process of its own while the first trials are waited for. The autoscaler does not end
    at SIGTERM, so Ray would wait a second for it. The web server listens on a port.
    """
    from ray._private.node import Node

    methods = {name: getattr(Node, name) for name in _NEEDLESS}
    for name in methods:
        setattr(Node, name, lambda *_, **__: None)
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(Node, name, method)


def local_node() -> Any | None:
    """Return the node that this process started, or None if it started none."""
    from ray._private import worker

    return worker._global_node


def live_processes(node: Any) -> list[str]:
    """Return the names of a node's processes that are alive: `raylet`, `gcs_server` and others."""
    return [name for name, _ in node.live_processes()]


def kill_all_processes(node: Any) -> None:
    """Kill all processes of a node, without waiting for an orderly end."""
    node.kill_all_processes(check_alive=False)


def cluster_version(client: Any) -> str:
    """Return the version of Ray that a cluster runs; the client's own `get_version` gives that of its interface.

    Args:
        client: a `JobSubmissionClient`.
    """
    return str(client._do_request("GET", "/api/version").json()["ray_version"])
