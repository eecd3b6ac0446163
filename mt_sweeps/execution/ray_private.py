"""What we use of Ray beyond its public interface. tests/mt_sweeps/execution/test_ray_private.py guards it."""

from typing import Any


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
