"""The nodes of a cluster: call a function on each, and check before the first trial that each can run trials."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from mt_sweeps.errors import InputError
from mt_sweeps.execution.precision import have_bf16_units
from mt_sweeps.execution.preflight import DatasetCheck, check_data, spec_versions
from mt_sweeps.execution.resources import Share
from mt_sweeps.formatting import counted
from mt_sweeps.plugins import import_plugins, modules_in
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.storage import file_store
from mt_sweeps.terminal import print
from mt_sweeps.versions import versions

T = TypeVar("T")
NODE_SECONDS = 3600  # seconds that a node may take to decode its images, the first time
_SAME = ("mt-sweeps", "code", "torch")  # other versions of these would train or record something else


class NodeGone(Exception):
    """A node has left the cluster."""


def on_each_node(share: Share, call: Callable[[Any], T], argument: Any) -> dict[str, Callable[[float], T]]:
    """Call a function on every node that could run a trial.

    Args:
        share: what a trial gets.
        call: a function of a module that the nodes have, too.
        argument: its only argument.

    Returns:
        By the name of the node: a function that waits so many seconds for its answer, and raises what the node raised,
        or `NodeGone`.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def start(node: dict[str, Any]) -> Callable[[float], T]:
        on_node = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_retries=0)(call).options(scheduling_strategy=on_node).remote(argument)

        def wait(seconds: float) -> T:
            try:
                return cast(T, ray.get(task, timeout=seconds))
            except ray.exceptions.RayError:
                if any(other["NodeID"] == node["NodeID"] and other["Alive"] for other in ray.nodes()):
                    raise
                raise NodeGone(f"the node {node['NodeManagerAddress']} has left the cluster") from None

        return wait

    wanted = {"CPU": float(share.cpus), "GPU": share.gpus}
    return {
        f"{node['NodeManagerAddress']} ({node['NodeID'][:8]})": start(node)
        for node in ray.nodes()
        if node["Alive"] and all(node["Resources"].get(kind, 0.0) >= amount for kind, amount in wanted.items())
    }


@dataclass(frozen=True)
class NodeReport:
    """What a node reports about itself.

    Attributes:
        versions: of Python and the packages.
        fingerprint: of its images; empty if there is a problem.
        weights: SHA-256 of its files of first weights, as in `DatasetCheck`.
        problem: why it cannot run trials, or None.
        has_bf16_units: whether trials there could compute in bfloat16.
    """

    versions: dict[str, str]
    fingerprint: str
    weights: dict[str, str]
    problem: str | None
    has_bf16_units: bool = False


def check_nodes(file: Path, spec: SweepSpec, share: Share, data: DatasetCheck) -> bool:
    """Make sure that each node that may get a trial has our versions and the images, and reaches the storage.

    Args:
        file: to name in an error.
        spec: of the sweep.
        share: what a trial gets.
        data: the images and the first weights that the driver sees.

    Returns:
        Whether trials compute in bfloat16 on every node.

    Raises:
        InputError: a node cannot run trials; what is wrong with it, and what to do.
    """
    own = spec_versions(spec)
    sweep = modules_in(own), spec.model_dump_json(exclude_none=True), share.gpus
    answers = on_each_node(share, inspect_node, sweep)
    if not answers:
        raise InputError(
            f"{file}: resources: no node of the cluster has {share.cpus} cores and {share.gpus:g} GPUs for one trial; "
            "ask for less"
        )
    print(f"checking {counted(len(answers), 'node')}: versions, images, storage", flush=True)
    problems, gone, have_units = [], 0, True
    for node, answer in answers.items():
        try:
            report = answer(NODE_SECONDS)
            problem = _node_problem(report, own, data)
            have_units = have_units and report.has_bf16_units
        except NodeGone:
            gone += 1
            print(f"the node {node} has left the cluster: the sweep goes on without it", flush=True)
            continue
        except Exception as error:  # of Ray, or whatever the node's own versions raise
            problem = f"cannot run mt-sweeps: {' '.join(str(error).split())[-300:]}"
        if problem is not None:
            problems.append(f"{file}: the node {node}: {problem}")
    if problems:
        raise InputError(*problems)
    if gone == len(answers):
        raise InputError(f"{file}: every node has left the cluster; start one again")
    return have_units


def inspect_node(sweep_of: tuple[list[str], str, float]) -> NodeReport:
    """Inspect the node that this runs on.

    Args:
        sweep_of: the modules of the sweep's plugins, its specification as JSON, and the GPUs that a trial gets.
    """
    modules, spec, gpus = sweep_of
    sweep = SweepSpec.model_validate_json(spec)
    try:
        import_plugins(modules, "plugin")
        if sweep.storage is not None:
            file_store.check_file_store(sweep.storage)
        data = check_data(Path(sweep.name), sweep)
        return NodeReport(spec_versions(sweep), data.fingerprint, data.weights, None, have_bf16_units(gpus))
    except InputError as error:
        return NodeReport(versions(), "", {}, str(error))


def _node_problem(node: NodeReport, own: dict[str, str], data: DatasetCheck) -> str | None:
    """Return why a node cannot run trials of this driver, or None."""
    if node.problem is not None:
        return node.problem
    others = [
        f"{name} {node.versions.get(name)} (the driver: {own[name]})"
        for name in own
        if name in _SAME or name not in versions()  # that of a plugin
        if node.versions.get(name) != own[name]
    ]
    if others:
        return f"has other versions: {', '.join(others)}; install the same on every node"
    if node.fingerprint != data.fingerprint:
        return "has other images than the driver; copy them, or mount one folder on every node"
    if node.weights != data.weights:
        other = ", ".join(key for key, digest in data.weights.items() if node.weights.get(key) != digest)
        return (
            f"has another file of model.weights than the driver ({other}); copy it, or mount one folder on every node"
        )
    return None
