"""What we use of Ray beyond its public interface is still there. Fails loudly when Ray changes it."""

import inspect

from ray._private import worker
from ray._private.node import Node
from ray.job_submission import JobSubmissionClient

from mt_sweeps.execution import ray_private


def test_ray_still_keeps_its_own_node_where_we_look_for_it():
    assert hasattr(worker, "_global_node"), "Ray has moved _global_node: see mt_sweeps/execution/ray_private.py"
    assert ray_private.local_node() is worker._global_node


def test_a_node_still_lists_and_kills_its_processes():
    assert callable(Node.live_processes), "Ray has no Node.live_processes: see mt_sweeps/execution/ray_private.py"
    assert "check_alive" in inspect.signature(Node.kill_all_processes).parameters


def test_a_node_starts_no_needless_process_and_is_as_it_was_afterwards():
    before = {name: getattr(Node, name) for name in ray_private._NEEDLESS}  # an AttributeError: Ray has renamed one
    with ray_private.only_what_trials_need():
        assert [getattr(Node, name)(object()) for name in before] == [None] * 3
    assert {name: getattr(Node, name) for name in before} == before


def test_a_job_client_still_asks_for_the_clusters_version():
    parameters = list(inspect.signature(JobSubmissionClient._do_request).parameters)
    assert parameters[1:3] == ["method", "endpoint"], "see mt_sweeps/execution/ray_private.py"


def test_a_nodes_processes_are_named():
    class Alive:
        def live_processes(self):
            return [("raylet", object()), ("gcs_server", object())]

    assert ray_private.live_processes(Alive()) == ["raylet", "gcs_server"]
