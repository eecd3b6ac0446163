"""ImageNet's layout, and the errors for folders with another layout. Other tests of folders are in test_sources.py."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.helpers.training import decode_whole, write_image
from trainers.config import ImageFolder, Imagenet
from trainers.data import sources
from trainers.data.sources import check_source, decode
from trainers.errors import DataError


def imagenet(root: Path, **settings) -> Imagenet:
    return Imagenet(name="imagenet", root=str(root), labels=0.5, validation=100, **settings)


@pytest.fixture
def root(tmp_path) -> Path:
    """A thousand classes of two images and a validation image of the last; all are links to one file."""
    write_image(tmp_path / "one.png", np.full((40, 60, 3), 7, np.uint8))
    files = [f"train/n{label:08}/{i}.JPEG" for label in range(1000) for i in range(2)] + ["val/n00000999/0.JPEG"]
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).hardlink_to(tmp_path / "one.png")
    return tmp_path


def test_imagenets_val_is_its_test_set(root):
    images = decode_whole(imagenet(root, image_size=32), root)
    assert images.train.shape == (2000, 32, 32, 3)
    assert np.bincount(images.train_labels).tolist() == [2] * 1000
    assert images.test_labels.tolist() == [999]
    assert len(images.classes) == 1000


def test_imagenet_that_is_not_there_is_told_with_its_layout_its_size_and_where_it_is_had(tmp_path):
    with pytest.raises(DataError) as error:
        check_source(imagenet(tmp_path))
    for told in ("there is no folder", "train/<wnid>/*.JPEG", "val/<wnid>", "138 GB", "image-net.org"):
        assert told in str(error.value)


def test_a_part_of_imagenet_is_not_taken_for_the_whole(root):
    shutil.rmtree(root / "train/n00000003")
    with pytest.raises(DataError, match=r"has 999 classes; expected .* or use image_folder"):
        check_source(imagenet(root))


def test_a_share_of_imagenets_labels_is_checked_against_its_classes(root):
    with pytest.raises(DataError, match=r"dataset\.labels: 200 is fewer than the 1000 classes"):
        check_source(imagenet(root).model_copy(update={"labels": 0.1}))


def test_a_disk_too_small_for_the_decoded_images_is_told_before_they_are_decoded(root, monkeypatch):
    monkeypatch.setattr(sources.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    with pytest.raises(
        DataError, match=r"2,001 images of 256x256 pixels take 0\.4 GB .* 0\.0 GB free; make room, set MT"
    ):
        decode(imagenet(root), root, lambda _: pytest.fail("an image was decoded"))


@pytest.mark.parametrize(("classes", "told"), [(["a"], "has 1 class folders"), ([], "has 0 class folders")])
def test_one_class_is_no_classification(tmp_path, classes, told):
    (tmp_path / "train").mkdir()
    for name in classes:
        write_image(tmp_path / "train" / name / "1.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=told):
        check_source(ImageFolder(name="image_folder", root=str(tmp_path), labels=2, validation=1))
