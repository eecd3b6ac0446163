from dataclasses import replace

import numpy as np
import pytest

from tests.helpers.plugins import Squares, plugins, squares  # noqa: F401 (a fixture)
from tests.helpers.training import config, finished
from trainers import ImageArrays, register_dataset
from trainers.data import dataset
from trainers.data.cache import prepare
from trainers.data.sources import source_key
from trainers.errors import DataError

pytestmark = pytest.mark.usefixtures("plugins", "cache")

GOOD = ImageArrays(np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 0, 1]), ["a", "b"])
SETTINGS = {"name": "squares", "labels": 4, "validation": 10}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path))
    dataset.load.cache_clear()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": GOOD.train.astype(float)}, "train has the dtype float64; expected: a numpy array of uint8"),
        (
            {"train": GOOD.train[..., 0]},
            r"train has the shape \(4, 8, 8\); expected: .*\[images, size, size, channels\]",
        ),
        ({"train": np.zeros((4, 8, 9, 1), np.uint8)}, r"train has the shape \(4, 8, 9, 1\); expected"),
        ({"train": np.zeros((4, 8, 8, 4), np.uint8)}, r"train has the shape \(4, 8, 8, 4\); .* of 1 or 3 channels"),
        ({"train": [1]}, "train is a list; expected: a numpy array of uint8"),
        (
            {"train_labels": np.zeros(3, int)},
            r"train_labels has the dtype int64 and the shape \(3,\); expected: .* 4 int",
        ),
        ({"train_labels": np.zeros(4)}, "train_labels has the dtype float64 .* 4 integers, one per image"),
        ({"train_labels": [0, 1, 0, 1]}, "train_labels is a list; expected"),
        (
            {"train_labels": np.array([0, 1, 2, 0])},
            "train_labels go from 0 to 2; expected: from -1 to 1, indices of the 2",
        ),
        ({"train_labels": np.array([0, 1, -2, 0])}, "train_labels go from -2 to 1; expected: from -1 to 1"),
        ({"classes": ["a", "a"]}, r"classes is \['a', 'a'\]; expected: a list of at least two different names"),
        ({"classes": ("a", "b")}, "expected: a list"),
        ({"test_labels": np.zeros(2, int)}, "test_labels has 2 labels and test is left out; expected: both or neither"),
        ({"test": GOOD.train}, r"test_labels has the dtype int64 and the shape \(0,\)"),
        (
            {"test": np.zeros((4, 9, 9, 1), np.uint8), "test_labels": GOOD.train_labels},
            r"test has images \(9, 9, 1\) and train \(8, 8, 1\); expected: the same",
        ),
        ({"test": GOOD.train, "test_labels": np.array([0, 1, -1, 0])}, "test_labels go from -1 to 1; expected: from 0"),
    ],
)
def test_arrays_of_another_type_shape_or_label_are_refused_with_what_was_expected(changes, message):
    register_dataset(Squares)(lambda _: replace(GOOD, **changes))
    with pytest.raises(DataError, match=f"dataset squares: tests.trainers.data.test_arrays.*{message}"):
        prepare(config(dataset=SETTINGS).dataset)


def test_a_function_that_raises_or_returns_something_else_is_named():
    register_dataset(Squares)(lambda _: 1 / 0)
    with pytest.raises(DataError, match="raised ZeroDivisionError: division by zero"):
        prepare(config(dataset=SETTINGS).dataset)


def test_the_images_are_prepared_once_and_trained_on():
    calls = []

    def counted(settings):
        calls.append(settings)
        return squares(settings)

    register_dataset(Squares)(counted)
    for labels in (4, 6):
        settings = config(dataset=SETTINGS | {"labels": labels}, batch_size=4)
        assert finished(settings).classes == ["dark", "bright"]
    assert calls == [config(dataset=SETTINGS).dataset]
    data = dataset.load(settings.dataset)
    assert (len(data.train), len(data.test), data.train_labels.tolist()[:3]) == (40, 0, [0, 1, 0])


def test_images_without_a_class_come_last_and_test_images_are_kept():
    labels = np.array([-1, 1, -1, 0])
    pixels = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    images = ImageArrays(pixels, labels, ["a", "b"], pixels[:1], np.array([1], np.uint8))
    register_dataset(Squares)(lambda _: images)
    data = dataset.load(config(dataset=SETTINGS).dataset)
    assert data.train[:, 0, 0, 0].tolist() == [1, 3, 0, 2]
    assert data.train_labels.tolist() == [1, 0, -1, -1]
    assert (data.test.shape, data.test_labels.tolist()) == ((1, 8, 8, 3), [1])


def test_the_key_of_the_cache_follows_the_settings_the_code_and_the_author(monkeypatch):
    def key(version="", **changes):
        register_dataset(Squares, version)(squares)
        return source_key(config(dataset=SETTINGS | changes).dataset)

    assert key() == key(labels=5, validation=11, split_seed=3), "which image serves which purpose changes no image"
    keys = [key(), key(images=41), key("2"), key(lambda settings: f"{settings.sizes}"), key(lambda _: 1 / 1)]
    with monkeypatch.context() as patch:
        patch.setattr("trainers.config.registry.inspect.getsourcefile", lambda _: __file__)
        keys.append(key())
    assert len(set(keys)) == len(keys)
    assert all(one.startswith("squares-") for one in keys)
    with pytest.raises(DataError, match="its key raised ZeroDivisionError"):
        key(lambda _: 1 / 0)
