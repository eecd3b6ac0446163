"""What is started for the trials of a sweep before Ray, and what ends after it."""

from contextlib import contextmanager

import pytest

from mt_sweeps.commands import conduct
from mt_sweeps.execution import gpu_sharing, ray_cluster
from mt_sweeps.execution.preflight import check_data
from mt_sweeps.spec.load import load_spec
from tests.helpers.command_line import DIGITS


@pytest.mark.parametrize(("cluster", "problem"), [(False, ""), (False, "it is refused"), (True, "not needed")])
def test_the_service_for_shared_gpus_runs_as_long_as_ray_does(monkeypatch, capsys, cluster, problem):
    order = []

    @contextmanager
    def shared_gpus(resources):
        order.append(f"service for {resources.gpus_per_trial}")
        yield problem
        order.append("no service")

    monkeypatch.setattr(gpu_sharing, "shared_gpus", shared_gpus)
    monkeypatch.setattr(ray_cluster, "start", lambda _: order.append("Ray") or [{"CPU": 4.0, "GPU": 1.0}])
    monkeypatch.setattr(ray_cluster, "stop", lambda: order.append("no Ray"))
    monkeypatch.setattr(conduct, "cluster_address", lambda: "head:6379" if cluster else None)
    monkeypatch.setattr(conduct, "check_nodes", lambda *_: None)
    monkeypatch.setattr(conduct, "with_precision", lambda spec, *_: spec)
    spec = load_spec(DIGITS, ("resources.gpus_per_trial=0.25",))
    with conduct.started_engine(DIGITS, spec, check_data(DIGITS, spec), in_process=False) as (share, _):
        assert (share.gpus, share.concurrent) == (0.25, 4)
    around_ray = ["Ray", "no Ray"] if cluster else ["service for 0.25", "Ray", "no Ray", "no service"]
    assert order == around_ray
    warning = f"warning: NVIDIA's Multi-Process Service cannot be used ({problem}): the 4 trials of a GPU take turns"
    assert (warning in capsys.readouterr().out) == bool(problem and not cluster)
