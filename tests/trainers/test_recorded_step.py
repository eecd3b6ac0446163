"""Two steps of a run are the same program: a CUDA graph of one is the other, and neither waits for the device."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.recorded_step import RecordedStep
from tests.helpers.training import config, write_image
from trainers import Trainer
from trainers.data import image_operations
from trainers.planned_rows import PLANNED

NARROW = {"name": "small_cnn", "width": 4, "dropout": 0.2}
AUTHORS = {
    "optimizer": {"name": "adam", "warm_up_beta2": 0.99, "ramp_down_beta1": 0.5, "weight_decay": 0.01},
    "schedule": {"name": "ramp_down", "ramp_down_steps": 5, "warm_up_steps": 5},
}
COLOURED: dict[str, Any] = {
    "dataset": {"name": "image_folder", "root": "images", "labels": 8, "validation": 4},
    "batch_size": 4,
    "labeled_batch_fraction": 0.5,
}
NOT_DETERMINISTIC = {
    *("_adaptive_avg_pool2d_backward", "adaptive_max_pool2d_backward", "fractional_max_pool2d_backward"),
    *("max_unpool2d", "upsample_bilinear2d_backward", "upsample_bicubic2d_backward", "reflection_pad2d_backward"),
    *("grid_sampler_2d_backward", "nll_loss2d_forward", "put_", "histc", "median", "scatter_reduce", "bincount"),
}
"""What CUDA refuses with `deterministic: true`, as `torch.use_deterministic_algorithms` lists it; for images."""

CASES: dict[str, dict[str, Any]] = {
    "mean_teacher": {},
    "mean_teacher, averaged batch norm": {"teacher": {"mode": "eval", "batch_norm": "averaged"}},
    "mean_teacher, two heads": {"consistency": {"heads": 2, "loss": "kl", "weight": 5.0}},
    "mean_teacher, confidence": {"consistency": {"confidence": 0.5, "images": "unlabeled"}},
    "pi_model": {"method": "pi_model", "teacher": {"dropout": 0.4}},
    "temporal_ensembling": {"method": "temporal_ensembling", "steps": 200},
    "supervised": {"method": "supervised"},
    "the authors' adam": AUTHORS,
    "adamw": {"optimizer": {"name": "adamw", "weight_decay": 0.1, "body_learning_rate_factor": 0.1}},
    "weighted classes": {"class_weights": {"3": 4.0}, "sampling": "class_balanced"},
    "noise, erasing": {"augmentation": {"noise": 0.1, "erase": 0.5}},
    "crops, rotation": {"augmentation": {"crop": 8, "rotate": 10.0, "flip": True}},
    "colours": COLOURED | {"augmentation": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    "trivial_augment": {"augmentation": {"strong": "trivial_augment"}},
    "rand_augment": {"augmentation": {"strong": "rand_augment"}},
    "zca": {"normalization": "zca"},
    "per_image": {"normalization": "per_image"},
    "shake_shake": {"model": {"name": "shake_shake", "width": 4}},
    "conv_large, weight norm": COLOURED | {"model": {"name": "conv_large", "norm": "weight"}},
}


@pytest.fixture(autouse=True)
def _images(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for number in range(24):
        write_image(tmp_path / f"images/train/{number % 2}/{number}.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
    monkeypatch.chdir(tmp_path)


def recorded(trainer: Trainer) -> RecordedStep:
    with RecordedStep() as record:
        trainer._take_step(measure=True)
    return record


def planned(more: dict[str, Any], folder: Path | None = None) -> Trainer:
    trainer = Trainer(config(**{"model": NARROW, "steps": 40, "evaluate_every": 20} | more), folder)
    trainer._timetable.plan(trainer._step, 8)
    trainer._data.plan(8)
    return trainer


@pytest.mark.parametrize("name", CASES)
def test_two_steps_are_the_same_operations_with_the_same_numbers_at_the_same_addresses(name, monkeypatch):
    monkeypatch.setattr(image_operations, "_would_wait", lambda _: True)  # what a GPU does
    trainer = planned(CASES[name])
    for _ in range(3):
        trainer._take_step(measure=True)
    first, second = recorded(trainer), recorded(trainer)
    assert first.waits == []
    assert len(first.operations) > 50
    assert not NOT_DETERMINISTIC & {name for name, _ in first.operations}
    assert second.operations == first.operations


@pytest.mark.parametrize("name", ["mean_teacher", "the authors' adam", "temporal_ensembling"])
def test_a_resumed_run_takes_the_same_steps(name, tmp_path):
    settings = CASES[name]
    whole = planned(settings)
    next(Trainer(config(**{"model": NARROW, "steps": 40, "evaluate_every": 20} | settings), tmp_path).run())
    resumed = planned(settings, tmp_path)
    assert resumed._step == 20
    for trainer in (whole, resumed):
        for _ in range(2):
            trainer._take_step(measure=True)
    records = [recorded(trainer) for trainer in (whole, resumed)]
    assert [name for name, _ in records[0].operations] == [name for name, _ in records[1].operations]
    assert records[1].waits == []


def test_a_number_of_the_program_and_a_wait_are_seen():
    trainer = planned({})
    take, counts = trainer._timetable.next, iter([1.0, 2.0])
    trainer._take_step(measure=True)

    def numbered():
        now = take()
        return now._replace(learning_rate=now.learning_rate * next(counts))

    trainer._timetable.next = numbered
    first, second = recorded(trainer), recorded(trainer)
    assert first.operations != second.operations
    with RecordedStep() as record:
        torch.ones(3).sum().item()
    assert record.waits == ["_local_scalar_dense"]


def test_more_steps_than_are_planned_at_once_are_one_run(monkeypatch):
    settings = {"steps": 6, "evaluate_every": 6, "model": NARROW}
    assert PLANNED > 6
    (expected,) = Trainer(config(**settings)).run()
    monkeypatch.setattr("trainers.trainer.PLANNED", 4)
    (found,) = Trainer(config(**settings)).run()
    assert {**found.metrics, **dict.fromkeys(timed(expected.metrics))} == {
        **expected.metrics,
        **dict.fromkeys(timed(expected.metrics)),
    }


def timed(metrics: dict[str, float]) -> list[str]:
    return [name for name in metrics if name.startswith(("time.", "memory."))]
