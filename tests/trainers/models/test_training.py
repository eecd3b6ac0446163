"""Runs with every family of networks: they train, and a resumed run equals an uninterrupted one."""

import numpy as np
import pytest

from tests.helpers.training import assert_same, config, finished, results, weights, write_image
from trainers import Trainer

NARROW = {
    "small_cnn": {"name": "small_cnn", "width": 4, "dropout": 0.3},
    "conv_large": {"name": "conv_large", "norm": "weight"},
    "shake_shake": {"name": "shake_shake", "width": 4},
    "wide_resnet": {"name": "wide_resnet", "depth": 10, "width": 1},
    "resnet18": {"name": "resnet18", "stem": "small"},
}


@pytest.fixture
def images(tmp_path) -> dict[str, object]:
    """Forty images of 16x16 pixels, which every network accepts."""
    rng = np.random.default_rng(0)
    for i in range(40):
        write_image(tmp_path / f"train/{i % 2}/{i}.png", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
    return {"name": "image_folder", "root": str(tmp_path), "labels": 10, "validation": 10}


@pytest.mark.system
def test_a_weight_normalised_student_begins_from_its_first_batch_and_its_teacher_as_a_copy(images, tmp_path):
    settings = config(dataset=images, model=NARROW["conv_large"] | {"dropout": 0.0}, steps=1, batch_size=12)
    trainer = Trainer(settings, tmp_path / "run")
    networks = trainer._networks()
    assert_same(networks["student"].state_dict(), networks["teacher"].state_dict())
    logits = networks["student"](trainer._data.first_view())
    np.testing.assert_allclose(logits.detach().mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(logits.detach().std(0, correction=0), 1, atol=1e-3)


@pytest.mark.system
@pytest.mark.parametrize("family", NARROW)
def test_a_run_of_every_family_goes_on_bit_for_bit(family, images, tmp_path):
    changes = {"consistency": {"heads": 2}, "steps": 4, "batch_size": 12, "optimizer": {"learning_rate": 0.003}}
    settings = config(dataset=images, model=NARROW[family], **changes)
    whole = finished(settings)
    for report in Trainer(settings, tmp_path / "run").run():
        if report.step == 2:
            break
    resumed = finished(settings, tmp_path / "run")
    assert results(resumed) == results(whole)
    assert_same(weights(resumed, tmp_path / "resumed"), weights(whole, tmp_path / "whole"))
