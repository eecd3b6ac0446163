import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.helpers.training import METHODS, REVISITED, config, finished, results, weights, write_image
from trainers import Trainer
from trainers.data import loaders
from trainers.data.loaders import Resident, Streamed, loader
from trainers.data.samplers import TwoStreamBatches

CPU = torch.device("cpu")
IMAGES = torch.arange(40 * 3, dtype=torch.uint8).view(40, 1, 1, 3)


def batches(classes: np.ndarray | None = None) -> TwoStreamBatches:
    return TwoStreamBatches(np.arange(8), np.arange(8, 40), 10, 4, (0, 1), classes)


@pytest.mark.parametrize("classes", [None, np.array([0, 0, 0, 0, 0, 1, 1, 2])])
def test_both_give_the_same_images_in_the_same_order(classes):
    resident, streamed = Resident(IMAGES, batches(classes), CPU), Streamed(IMAGES, batches(classes), CPU)
    for step in range(12):  # some epochs of both streams
        for of in (resident, streamed) if step % 4 == 0 else ():
            of.plan(4)
        ours, theirs = resident.next(), streamed.next()
        assert torch.equal(ours.indices, theirs.indices)
        assert torch.equal(ours.images[ours.rows], theirs.images[theirs.rows])
        assert torch.equal(ours.images[ours.rows], IMAGES[ours.indices])
    indices = torch.tensor([3, 1])
    assert torch.equal(resident.take(indices), streamed.take(indices))


@pytest.mark.parametrize("classes", [None, np.array([0, 0, 0, 0, 0, 1, 1, 2])])
def test_workers_that_are_ahead_do_not_move_what_a_checkpoint_keeps(classes):
    ours, untouched = batches(classes), batches(classes)
    streamed = Streamed(IMAGES, ours, CPU)
    streamed.plan(1)
    streamed.next()
    untouched.next()
    assert torch.equal(ours.next(), untouched.next())


def test_streaming_draws_nothing_from_torchs_global_generator():
    before = torch.get_rng_state()
    streamed = Streamed(IMAGES, batches(), CPU)
    streamed.plan(1)
    streamed.next()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("share", "where"), [(1.0, Resident), (1e-12, Streamed)])
def test_images_are_resident_where_they_take_no_more_than_their_share_and_the_choice_is_logged(
    share, where, monkeypatch, caplog
):
    monkeypatch.setattr(loaders, "RESIDENT_SHARE", share)
    with caplog.at_level(logging.INFO):
        assert isinstance(loader("auto", IMAGES, batches(), CPU), where)
    assert where.__name__.lower() in caplog.text


def test_either_can_be_forced():
    assert isinstance(loader("streamed", IMAGES, batches(), CPU), Streamed)
    assert isinstance(loader("resident", IMAGES, batches(), CPU), Resident)


MOVING = {"translate": 1, "flip": True, "noise": 0.1}


@pytest.mark.parametrize(
    "changes",
    [
        *({"method": method, "dataset": REVISITED, "augmentation": MOVING} for method in METHODS),
        {"normalization": "per_image"},
        {"normalization": "zca"},
        {"augmentation": {"crop": 6, "rotate": 10.0, "brightness": 0.2}},
        {"augmentation": {"strong": "trivial_augment", "erase": 0.5}, "teacher": {"augmentation": "weak"}},
        {"augmentation": {"strong": "rand_augment"}},
    ],
    ids=str,
)
def test_a_streamed_run_equals_a_resident_one(changes, tmp_path):
    runs = [finished(config(**changes, images=where), tmp_path / where) for where in ("resident", "streamed")]
    assert results(runs[0]) == results(runs[1])
    held = [run.history[-1].metrics["memory.images_mib"] for run in runs]
    assert held == [pytest.approx(1438 * 64 / 2**20), 0]
    ours, theirs = (weights(run, tmp_path / f"weights-{i}") for i, run in enumerate(runs))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.system
def test_a_streamed_run_that_was_interrupted_goes_on_as_if_it_had_not_been(tmp_path):
    settings = config(images="streamed", steps=12, evaluate_every=3)
    whole = finished(settings)
    for report in Trainer(settings, tmp_path).run():
        if report.step == 6:
            break
    assert results(finished(settings, tmp_path)) == results(whole)


def test_a_folder_can_be_streamed(tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for i in range(60):
        write_image(tmp_path / f"train/{i % 2}/{i}.png", rng.integers(0, 256, (20 + i, 40, 3), dtype=np.uint8))
    changes = {
        "dataset": {"name": "image_folder", "root": str(tmp_path), "image_size": 16, "labels": 10, "validation": 10},
        "augmentation": {"crop": 12, "hue": 0.1, "saturation": 0.3, "flip": True},
        "batch_size": 12,
    }
    runs = [finished(config(**changes, images=where)) for where in ("resident", "streamed")]
    assert results(runs[0]) == results(runs[1])


@pytest.mark.parametrize(("fraction", "kind"), [(1.0, Resident), (0.5, Resident), (0.25, Streamed)])
def test_trials_that_share_a_gpu_take_a_quarter_of_their_part_of_its_memory(monkeypatch, fraction, kind):
    # 120 bytes of images; of 1,000 bytes, or of 500, a quarter is enough for them.
    seen = []
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=1000))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: fraction)
    for loader_kind in ("Resident", "Streamed"):
        monkeypatch.setattr(loaders, loader_kind, lambda *_, kind=loader_kind: seen.append(kind))
    loader("auto", IMAGES, batches(), torch.device("cuda"))
    assert seen == [kind.__name__]
