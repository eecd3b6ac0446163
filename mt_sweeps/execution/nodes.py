"""What every node of a cluster needs, looked at on each of them before the first trial starts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mt_sweeps.errors import InputError
from mt_sweeps.execution import ray_cluster
from mt_sweeps.execution.preflight import check_data
from mt_sweeps.execution.ray_cluster import Share
from mt_sweeps.formatting import counted
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage import file_store
from mt_sweeps.versions import versions

PATIENCE = 3600  # seconds that a node may take to decode its images, the first time
_ALIKE = ("mt-sweeps", "code", "torch")  # whose other versions would train or record something else


@dataclass(frozen=True)
class Seen:
    """What a node found of itself.

    Attributes:
        versions: of Python and the packages.
        fingerprint: of its images.
        problem: why it cannot run trials; empty: it can.
    """

    versions: dict[str, str]
    fingerprint: str
    problem: str


def check(file: Path, spec: SweepSpec, share: Share, fingerprint: str) -> None:
    """Make sure that each node that may get a trial has our versions, the images, and reaches the storage.

    Args:
        file: to name in an error.
        spec: of the sweep.
        share: what a trial gets.
        fingerprint: of the images that the driver sees.

    Raises:
        InputError: a node cannot run trials; what is wrong with it, and what to do.
    """
    asked = ray_cluster.on_each_node(share, seen, spec.model_dump_json(exclude_none=True))
    if not asked:
        raise InputError(
            f"{file}: resources: no node of the cluster has {share.cpus} cores and {share.gpus:g} GPUs for one trial; "
            "ask for less"
        )
    print(f"looking at {counted(len(asked), 'node')}: versions, images, storage", flush=True)
    problems, gone = [], 0
    for address, answer in asked.items():
        try:
            problem = _differs(answer(PATIENCE), fingerprint)
        except ray_cluster.NodeGone:
            gone += 1
            print(f"the node {address} has left the cluster: the sweep goes on without it", flush=True)
            continue
        except Exception as error:  # of Ray, or whatever the node's own versions raise
            problem = f"cannot run mt-sweeps: {' '.join(str(error).split())[-300:]}"
        if problem:
            problems.append(f"{file}: the node {address}: {problem}")
    if problems:
        raise InputError(*problems)
    if gone == len(asked):
        raise InputError(f"{file}: every node has left the cluster; start one again")


def seen(spec: str) -> Seen:
    """On a node: what it finds of itself, for a sweep of this specification (JSON)."""
    loaded = SweepSpec.model_validate_json(spec)
    try:
        if loaded.storage is not None:
            file_store.check(loaded.storage)
        return Seen(versions(), check_data(Path(loaded.name), loaded).fingerprint, "")
    except InputError as error:
        return Seen(versions(), "", str(error))


def _differs(node: Seen, fingerprint: str) -> str:
    if node.problem:
        return node.problem
    ours: dict[str, Any] = versions()
    others = [
        f"{name} {node.versions.get(name)} (the driver: {ours[name]})"
        for name in _ALIKE
        if node.versions.get(name) != ours[name]
    ]
    if others:
        return f"has other versions: {', '.join(others)}; install the same on every node"
    if node.fingerprint != fingerprint:
        return "has other images than the driver; copy them, or mount one folder on every node"
    return ""
