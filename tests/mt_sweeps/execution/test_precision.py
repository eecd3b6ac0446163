import pynvml
import pytest
import torch

from mt_sweeps.execution import precision
from mt_sweeps.execution.precision import have_bf16_units, with_precision
from mt_sweeps.execution.resources import Share
from tests.helpers.sweeps import digits
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


HERE = Share(0.0, 2, 1)


def test_auto_is_one_precision_for_all_trials_of_a_sweep(capsys):
    auto = digits("trainer.precision=auto")
    assert with_precision(auto, HERE, True).trainer["precision"] == "bf16"
    assert with_precision(auto, HERE, False).trainer["precision"] == "fp32"
    other = digits("trainer.precision=auto", "trainer.model={name: wide_resnet}")
    assert with_precision(other, HERE, True).trainer["precision"] == "fp32"
    assert capsys.readouterr().out.splitlines() == [
        "precision: bf16: measured to cost this network nothing, and there are units for it where trials run",
        "precision: fp32: where trials run there are no units for bf16",
        "precision: fp32: bf16 was not measured with these networks",
    ]
    assert with_precision(digits(), HERE, True) == digits()


def test_on_this_machine_what_trials_run_on_decides(monkeypatch):
    monkeypatch.setattr(precision, "have_bf16_units", lambda gpus: gpus == 1.0)
    auto = digits("trainer.precision=auto")
    assert with_precision(auto, Share(1.0, 2, 1), None).trainer["precision"] == "bf16"
    assert with_precision(auto, HERE, None).trainer["precision"] == "fp32"
