import time

import pytest
import torch

from mt_sweeps.execution import gpu_metrics
from mt_sweeps.execution.gpu_metrics import GpuSampler
from mt_sweeps.storage import records
from trainers.report import Report


@pytest.fixture
def sampler(monkeypatch):
    """On a GPU whose driver tells no power."""
    readings = iter([20, 40, 60] + [60] * 10_000)
    monkeypatch.setattr(torch.cuda, "utilization", lambda: next(readings))
    monkeypatch.setattr(torch.cuda, "device_memory_used", lambda: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "power_draw", lambda: 1 / 0)
    monkeypatch.setattr(gpu_metrics, "_EVERY", 0.01)
    made = GpuSampler()
    yield made
    made.close()


def test_a_gpu_is_told_by_means_since_the_last_time_and_what_it_does_not_tell_is_left_out(sampler):
    time.sleep(0.5)
    first = sampler.means()
    assert first.keys() == {"system/gpu_utilization_percentage", "system/gpu_memory_usage_megabytes"}
    assert 20 < first["system/gpu_utilization_percentage"] < 60
    assert first["system/gpu_memory_usage_megabytes"] == 3072
    assert sampler.means()["system/gpu_utilization_percentage"] == 60


def test_without_a_gpu_nothing_is_told():
    if torch.cuda.is_available():
        pytest.skip("for machines without a GPU")
    made = GpuSampler()
    assert made.means() == {}
    made.close()


class Run:
    def __init__(self):
        self.history = []

    def run(self):
        yield Report(10, 1.0, {"validation.student_error": 0.5})


def test_what_is_measured_beside_a_run_is_recorded_with_its_report(tmp_path):
    (told,) = records.record_run(Run(), tmp_path, lambda: {"system/gpu_power_usage_watts": 300.0})
    assert told.metrics == {"validation.student_error": 0.5, "system/gpu_power_usage_watts": 300.0}
    assert records.read(tmp_path) == [told]
