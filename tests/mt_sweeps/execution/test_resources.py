import pynvml
import pytest
import torch

from mt_sweeps.execution.resources import have_bf16_units
from trainers.devices import has_bf16_units


def test_without_gpus_the_processor_is_asked():
    assert have_bf16_units(0.0) == has_bf16_units(torch.device("cpu"))


@pytest.mark.parametrize(("capabilities", "have"), [([(8, 0), (9, 0)], True), ([(9, 0), (7, 5)], False)])
def test_all_gpus_must_have_units_since_a_trial_may_get_any(capabilities, have, monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: len(capabilities))
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCudaComputeCapability", lambda handle: capabilities[handle])
    assert have_bf16_units(1.0) == have


def test_a_driver_that_cannot_be_asked_promises_nothing(monkeypatch):
    def fails():
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fails)
    assert not have_bf16_units(1.0)
