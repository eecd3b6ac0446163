"""The settings that affect speed: bf16, memory layout, compiled passes. They may change only the rounding."""

import functools
import itertools
import os
import shutil
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.training import (
    EVERY_NOISE,
    METHODS,
    REVISITED,
    assert_same,
    config,
    finished,
    results,
    saved_state,
    weights,
    write_image,
)
from trainers import Trainer, TrainerConfig, devices

NOISY = EVERY_NOISE | {"steps": 6, "evaluate_every": 1}
NO_UNITS = "precision: bf16 is slower than fp32 here: this CPU has no units for it"
WARNED_OR_NOT = pytest.mark.filterwarnings("ignore:precision. bf16 is slower than fp32 here")


def losses(settings: TrainerConfig, name: str) -> list[float]:
    return [report.metrics[f"train.{name}"] for report in finished(settings).history]


# --- auto


@pytest.mark.parametrize(
    ("model", "has_units", "chosen"),
    [("small_cnn", True, "bf16"), ("small_cnn", False, "fp32"), ("wide_resnet", True, "fp32")],
)
def test_auto_is_bf16_where_it_is_faster_and_was_measured_to_cost_nothing(model, has_units, chosen):
    settings = config(model={"name": model}, precision="auto")
    assert settings.chosen_precision(has_units) == chosen
    assert settings.model_copy(update={"precision": "tf32"}).chosen_precision(has_units) == "tf32"


@WARNED_OR_NOT
def test_what_auto_chose_where_a_run_began_holds_where_it_goes_on(tmp_path, monkeypatch, caplog):
    settings = config(**NOISY, precision="auto")
    monkeypatch.setattr("trainers.trainer.has_bf16_units", lambda device: device.type == "cpu")
    whole = finished(settings.model_copy(update={"precision": "bf16"}))
    with caplog.at_level("INFO", "trainers"):
        began = Trainer(settings, tmp_path)
    assert "bf16 was chosen for small_cnn on this cpu" in caplog.text
    for _ in itertools.islice(began.run(), 2):
        pass
    monkeypatch.setattr("trainers.trainer.has_bf16_units", lambda _: False)
    resumed = finished(settings, tmp_path)
    assert resumed.precision == "bf16"
    assert results(resumed) == results(whole)
    assert Trainer(settings).precision == "fp32"


# --- bf16


@WARNED_OR_NOT
@pytest.mark.parametrize("method", METHODS)
def test_the_losses_of_a_bf16_run_differ_from_those_of_fp32_by_rounding_alone(method):
    # bf16 keeps 8 bits: a relative 0.004 a value, averaged over a batch.
    full, narrow = (losses(config(method=method, **NOISY, precision=each), "loss") for each in ("fp32", "bf16"))
    assert all(ours != theirs for ours, theirs in zip(full, narrow, strict=True))
    assert narrow == pytest.approx(full, rel=0.01)


@WARNED_OR_NOT
@pytest.mark.parametrize("method", METHODS)
def test_a_bf16_run_keeps_whatever_it_keeps_in_float32(tmp_path, method):
    # An average in bf16 stands still: at a decay of 0.999 the thousandth part of a step is below its resolution.
    finished(config(method=method, **NOISY, precision="bf16", optimizer={"name": "adam"}), tmp_path)
    kept = saved_state(tmp_path / "checkpoint.pt")
    networks = kept["networks"]
    assert set(networks) == ({"student", "teacher"} if method == "mean_teacher" else {"student"})
    tensors = [tensor for network in networks.values() for tensor in network.values()]
    tensors += [moment for of in kept["optimization"]["optimizer"]["state"].values() for moment in of.values()]
    tensors += kept["method"].values()
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}


@WARNED_OR_NOT
def test_the_teacher_of_a_bf16_run_follows_in_steps_that_bf16_could_not_take():
    settings = config(**NOISY, precision="bf16", optimizer={"learning_rate": 1e-3})
    trainer = Trainer(settings)
    before, after = [trainer._networks()["teacher"].classifier.weight.clone() for _ in trainer.run()][-2:]
    assert (after != before).double().mean() > 0.99
    assert (after.bfloat16() == before.bfloat16()).double().mean() > 0.9


@WARNED_OR_NOT
@pytest.mark.parametrize("method", METHODS)
def test_a_stopped_and_resumed_bf16_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path, method):
    settings = config(method=method, **NOISY, precision="bf16")
    uninterrupted = finished(settings)
    for _ in itertools.islice(Trainer(settings, tmp_path).run(), 4):
        pass
    torch.rand(7)
    resumed = finished(settings, tmp_path)
    assert results(resumed) == results(uninterrupted)
    assert_same(weights(resumed, tmp_path / "resumed"), weights(uninterrupted, tmp_path / "uninterrupted"))


@pytest.mark.parametrize(
    ("precision", "units", "warned"), [("bf16", False, True), ("bf16", True, False), ("fp32", False, False)]
)
def test_bf16_on_a_cpu_without_units_for_it_is_warned_of(monkeypatch, precision, units, warned):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: units)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Trainer(config(precision=precision))
    assert [str(one.message) for one in caught] == ([NO_UNITS] if warned else [])


# --- the memory layout


@pytest.fixture
def coloured(tmp_path) -> dict[str, Any]:
    """Return settings of a run on images with three channels, since with one channel both layouts are the same."""
    rng = np.random.default_rng(0)
    for i in range(60):
        write_image(tmp_path / f"images/train/{'ab'[i % 2]}/{i}.png", rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    dataset = {"name": "image_folder", "root": str(tmp_path / "images"), "labels": 4, "validation": 8}
    return {"dataset": dataset, "augmentation": {"translate": 1, "noise": 0.1}, "evaluate_every": 1}


def test_the_memory_layout_does_not_change_a_run_beyond_rounding(coloured):
    one, other = (losses(config(**coloured, channels_last=each), "loss") for each in (True, False))
    assert one == pytest.approx(other, rel=1e-5)


def has_layout(tensor: torch.Tensor, channels_last: bool) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


@pytest.mark.parametrize("channels_last", [True, False])
def test_the_weights_of_both_networks_have_the_memory_layout_that_was_set(coloured, channels_last):
    for network in Trainer(config(**coloured, channels_last=channels_last))._networks().values():
        weight = network.features[1][0].weight
        assert has_layout(weight, channels_last)
        assert not has_layout(weight, not channels_last)


@pytest.mark.parametrize("channels_last", [True, False])
def test_features_have_the_memory_layout_that_was_set_while_they_are_trained(coloured, channels_last):
    trainer = Trainer(config(**coloured, channels_last=channels_last))
    seen = []
    for network in trainer._networks().values():
        network.features[1].register_forward_hook(
            lambda layer, given, made: seen.extend([*given, made] if layer.training else [])
        )
    next(trainer.run())
    assert seen
    assert all(has_layout(each, channels_last) and not has_layout(each, not channels_last) for each in seen)


# --- compiled passes


@pytest.fixture
def compiled(monkeypatch):
    """Record the graphs that torch.compile captures, without compiling them, which would take seconds each."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=backend))
    yield graphs
    torch._dynamo.reset()


@pytest.mark.system
@pytest.mark.parametrize(
    ("method", "passes"), [("supervised", 1), ("pi_model", 2), ("temporal_ensembling", 1), ("mean_teacher", 2)]
)
@pytest.mark.parametrize("heads", [1, 2])
def test_each_kind_of_pass_is_compiled_whole_and_once(compiled, method, passes, heads):
    settings = config(**NOISY | {"method": method, "consistency": {"heads": heads}, "compile": True})
    in_one_piece = finished(settings)
    assert len(compiled) == passes
    plain = finished(settings.model_copy(update={"compile": False}))
    assert len(compiled) == passes
    assert results(in_one_piece) == results(plain)


def test_a_run_that_is_not_to_be_compiled_is_not(compiled):
    finished(config(**NOISY))
    assert compiled == []


def test_a_network_that_cannot_be_compiled_is_trained_uncompiled_and_that_is_told_once(monkeypatch, caplog):
    def failing(*_):
        raise RuntimeError("no C compiler")

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=failing))
    told = finished(config(**NOISY | {"method": "supervised", "compile": True}))
    torch._dynamo.reset()
    (message,) = [record.message for record in caplog.records if "compile" in record.message]
    assert "no C compiler" in message
    assert results(told) == results(finished(config(**NOISY | {"method": "supervised"})))


ANOTHER_TRIAL = {
    "dropout": {"model": {"name": "small_cnn", "width": 4, "dropout": 0.5}},
    "no dropout": {"model": {"name": "small_cnn", "width": 4}},
    "noise": {"augmentation": {"translate": 1, "noise": 0.5}},
    "teacher": {"teacher": {"dropout": 0.7, "noise": 0.3, "start": "independent"}},
    "decay": {"ema": {"decay": 0.5, "ramp_up_decay": 0.1}},
    "consistency": {"consistency": {"weight": 3.0, "loss": "kl", "images": "unlabeled", "ramp_up_steps": 1}},
    "optimizer": {"optimizer": {"name": "adam", "learning_rate": 0.1}},
    "learning rate": {"optimizer": {"learning_rate": 0.2}, "schedule": {"name": "constant"}},
    "normalizer": {"class_loss_normalizer": "whole_batch", "labeled_batch_fraction": 0.5},
    "split": {"dataset": REVISITED | {"split_seed": 3, "labels": 30}},
    "seed": {"seed": 5},
}


@pytest.mark.system
def test_another_trial_of_the_same_shapes_compiles_nothing_anew_and_has_its_own_settings(compiled):
    first = finished(config(**NOISY, compile=True))
    assert len(compiled) == 2
    for name, changes in ANOTHER_TRIAL.items():
        second = finished(config(**NOISY | {"compile": True} | changes))
        assert len(compiled) == 2, name
        assert results(second) != results(first), name
        assert results(second) == results(finished(config(**NOISY | changes))), name


@pytest.mark.system
def test_a_worker_compiles_the_trials_of_many_shapes(compiled):
    # torch's own limit is 8 a function: beyond it, it would go on uncompiled, with no more than a line in a log.
    for width in range(1, 6):
        finished(config(model={"name": "small_cnn", "width": width}, steps=1, compile=True))
    assert len(compiled) == 10
    finished(config(model={"name": "small_cnn", "width": 1}, steps=1, compile=True))
    assert len(compiled) == 10


COMPILERS = [os.environ.get("CXX"), "g++", "clang++"]


@pytest.mark.system
@pytest.mark.skipif(
    not any(map(shutil.which, filter(None, COMPILERS))), reason="needs a C++ compiler: apt-get install g++"
)
def test_a_run_with_compiled_kernels_agrees_with_one_without_and_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    torch._dynamo.reset()
    noiseless = NOISY | {"model": {"name": "small_cnn", "width": 4}}  # kernels draw other masks of dropout
    one, other = (finished(config(**noiseless, compile=each)) for each in (True, False))
    assert any((tmp_path / "kernels").rglob("*.cpp"))
    for ours, theirs in zip(results(one), results(other), strict=True):
        assert numbers(ours) == pytest.approx(numbers(theirs), rel=1e-3, abs=1e-6)

    settings = config(**NOISY, compile=True)
    uninterrupted = finished(settings)
    assert results(uninterrupted) != results(one)  # the compiled kernels take the dropout of the second trial
    for _ in itertools.islice(Trainer(settings, tmp_path / "run").run(), 4):
        pass
    resumed = finished(settings, tmp_path / "run")
    assert results(resumed) == results(uninterrupted)
    torch._dynamo.reset()


def numbers(result):
    return {name: value for name, value in result.items() if not name.startswith("correct.")}


# --- CUDA, without a GPU


@pytest.fixture
def _torch_settings():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", False), ("tf32", True), ("bf16", False)])
@pytest.mark.usefixtures("_torch_settings")
def test_on_cuda_fp32_is_not_rounded_to_tf32(monkeypatch, precision, allowed):
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not allowed
    monkeypatch.setattr(devices, "has_bf16_units", lambda _: True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*CUDA is not available")  # of torch
        devices.autocast(torch.device("cuda"), precision)
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is allowed


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.usefixtures("_torch_settings")
def test_a_gpu_without_units_for_bf16_is_used_with_a_warning(monkeypatch):
    monkeypatch.setattr(devices, "has_bf16_units", lambda _: False)
    with pytest.warns(UserWarning, match="bf16 is slower than fp32 here: this GPU has no units for it"):
        assert devices.autocast(torch.device("cuda"), "bf16").fast_dtype == torch.bfloat16


def test_tf32_on_a_cpu_is_fp32_with_a_warning():
    with pytest.warns(UserWarning, match="tf32 is fp32 here"):
        assert not devices.autocast(torch.device("cpu"), "tf32")._enabled
