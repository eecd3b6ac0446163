import numpy as np
import pytest
import torch

from tests.helpers.training import decode_whole, write_image
from trainers.config import Digits, ImageFolder
from trainers.data import cache, dataset, sources


@pytest.fixture
def folder(tmp_path, monkeypatch) -> ImageFolder:
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    for level, name in enumerate(("train/a/0", "train/b/0", "unlabeled/0")):
        write_image(tmp_path / "images" / f"{name}.png", np.full((4, 4, 3), level, np.uint8))
    return ImageFolder(name="image_folder", root=str(tmp_path / "images"), labels=2, validation=1)


def test_what_is_loaded_is_what_was_decoded(tmp_path):
    config = Digits(name="digits", labels=10, validation=1)
    decoded, loaded = decode_whole(config, tmp_path), dataset.load(config)
    for name in ("train", "train_labels", "test", "test_labels"):
        np.testing.assert_array_equal(getattr(loaded, name).numpy(), getattr(decoded, name))
    assert (loaded.train.dtype, loaded.train_labels.dtype) == (torch.uint8, torch.int64)
    assert loaded.classes == decoded.classes
    assert loaded.fingerprint == cache.read_facts(cache.prepare(config)).fingerprint


def test_a_data_set_without_test_images_can_be_loaded(folder):
    loaded = dataset.load(folder)
    assert loaded.train[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert loaded.train_labels.tolist() == [0, 1, -1]
    assert loaded.test.shape == (0, 4, 4, 3)


def test_a_process_loads_a_data_set_once(folder):
    assert dataset.load(folder) is dataset.load(folder.model_copy())


def test_a_file_of_another_format_is_not_taken_for_ours(folder, monkeypatch):
    first = dataset.load(folder)
    dataset.load.cache_clear()
    calls = []
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    monkeypatch.setattr(cache, "decode", lambda *arguments: calls.append(1) or sources.decode(*arguments))
    assert dataset.load(folder).fingerprint == first.fingerprint
    assert len(calls) == 1
