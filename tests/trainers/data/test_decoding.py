"""Pixels as they are: greys of more than 8 bits, very large images, and images that show nothing."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from tests.helpers.training import decode_whole, write_image
from trainers.config import ImageFolder
from trainers.data.cache import prepare, read_facts
from trainers.data.decoding import Unreadable, read_image
from trainers.errors import DataError


@pytest.fixture
def write(tmp_path):
    """Return a function that writes images of the classes a and b, as arrays, with a suffix."""

    def written(images: dict[str, np.ndarray], suffix: str) -> None:
        for name, pixels in images.items():
            path = tmp_path / "train" / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)

    return written


def config(root, **settings) -> ImageFolder:
    return ImageFolder(name="image_folder", root=str(root), **{"labels": 2, "validation": 1} | settings)


def levels(root, **settings) -> list[list[int]]:
    """Return the different greys of each image, in order."""
    return [np.unique(image).tolist() for image in decode_whole(config(root, **settings), root / "cache").train]


def halves(left: float, right: float, dtype: type) -> np.ndarray:
    pixels = np.full((8, 8), left, dtype)
    pixels[:, 4:] = right
    return pixels


def test_floats_from_0_to_1_keep_their_brightness(tmp_path, write):
    write({"a/0": halves(0.25, 0.5, np.float32), "b/0": halves(0.0, 1.0, np.float32)}, "tif")
    assert levels(tmp_path) == [[64, 128], [0, 255]]


def test_two_images_stay_as_bright_as_they_are_to_each_other(tmp_path, write):
    write({"a/0": halves(0.1, 0.2, np.float32), "b/0": halves(0.4, 0.8, np.float32)}, "tif")
    assert levels(tmp_path) == [[26, 51], [102, 204]]


def test_floats_of_another_range_are_refused_unless_the_range_is_set(tmp_path, write):
    write({"a/0": halves(0, 255, np.float32), "b/0": halves(10, 20, np.float32)}, "tif")
    with pytest.raises(
        DataError, match=r"a/0\.tif: its greys \(mode F\) go from 0 to 255; allowed: from 0 to 1, or set"
    ):
        levels(tmp_path, unreadable="skip")
    assert levels(tmp_path, pixel_range=[0, 255]) == [[0, 255], [10, 20]]


def test_values_that_are_no_number_are_refused(tmp_path, write):
    write({"a/0": halves(0, np.nan, np.float32), "b/0": halves(0, 1, np.float32)}, "tif")
    with pytest.raises(DataError, match=r"a/0\.tif: 32 of its 64 pixels \(mode F\) are no number"):
        levels(tmp_path)
    with pytest.raises(DataError, match="no number"):
        levels(tmp_path, pixel_range=[0, 1])


def test_16_bits_are_divided_by_257(tmp_path, write):
    write({"a/0": halves(0, 65535, np.uint16), "b/0": halves(257, 25700, np.uint16)}, "png")
    assert levels(tmp_path) == [[0, 255], [1, 100]]


@pytest.mark.parametrize(("highest", "likely"), [(4095, 4095), (1000, 1023), (255, 255)])
def test_a_whole_set_of_fewer_bits_is_refused_with_the_range_to_set(tmp_path, write, highest, likely):
    write({"a/0": halves(0, highest, np.uint16), "b/0": halves(0, highest // 2, np.uint16)}, "tif")
    with pytest.raises(DataError, match=rf"is {highest}, and white is 65535: .* as \[0, {likely}\], or \[0, 65535\]"):
        levels(tmp_path)
    assert levels(tmp_path, pixel_range=[0, highest])[0] == [0, 255]
    assert levels(tmp_path, pixel_range=[0, 65535])[0][1] <= 16


def test_a_dark_image_of_a_set_of_16_bits_stays_dark(tmp_path, write):
    write({"a/0": halves(0, 2570, np.uint16), "b/0": halves(0, 65535, np.uint16)}, "png")
    assert levels(tmp_path) == [[0, 10], [0, 255]]


def test_integers_of_32_bits_and_negative_values_need_a_range(tmp_path, write):
    write({"a/0": halves(-1000, 0, np.int32), "b/0": halves(0, 3000, np.int32)}, "tif")
    with pytest.raises(DataError, match=r"a/0\.tif: its greys \(mode I\) go from -1000 to 0; allowed: from 0 to 65535"):
        levels(tmp_path)
    assert levels(tmp_path, pixel_range=[-1000, 1550]) == [[0, 100], [100, 255]]


def test_the_range_is_part_of_the_key_of_the_prepared_file(tmp_path, write, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    write({"a/0": halves(0, 30000, np.uint16), "b/0": halves(0, 1, np.uint16)}, "png")
    files = {prepare(config(tmp_path, **one)) for one in ({}, {"pixel_range": [0, 30000]}, {"pixel_range": [0, 4e4]})}
    assert len(files) == 3


@pytest.mark.parametrize("wrong", [[5, 5], [1, 0], [1], "0-1", [0, float("inf")]])
def test_a_range_is_two_values_that_rise(tmp_path, wrong):
    with pytest.raises(ValidationError, match="pixel_range"):
        config(tmp_path, pixel_range=wrong)


def test_a_prediction_reads_an_image_as_training_did(tmp_path, write):
    write({"a/0": halves(0, 4095, np.uint16), "b/0": halves(0, 2048, np.uint16)}, "tif")
    path = str(tmp_path / "train/b/0.tif")
    trained = decode_whole(config(tmp_path, pixel_range=[0, 4095]), tmp_path / "cache").train[1]
    np.testing.assert_array_equal(read_image(path, 8, 3, (0, 4095)), trained)
    assert read_image(path, 8, 1).max() == 8


@pytest.fixture
def small_limit(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # an image of more than twice as many is refused


@pytest.mark.usefixtures("small_limit")
def test_a_very_large_jpeg_is_read_reduced(tmp_path):
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[:, 200:] = 255
    path = tmp_path / "large.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    image = read_image(str(path), 16, 3)
    assert (image[:, :7] <= 3).all() and (image[:, 9:] >= 252).all()


@pytest.mark.usefixtures("small_limit")
def test_a_very_large_image_that_cannot_be_reduced_is_refused_with_what_to_do(tmp_path):
    for suffix in ("png", "jpg"):
        write_image(tmp_path / f"large.{suffix}", np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(Unreadable, match=r"large\.png cannot be read .*resize it first, or save it as JPEG"):
        read_image(str(tmp_path / "large.png"), 16, 3)
    for name in ("a", "b"):
        write_image(tmp_path / "set/train" / name / "0.jpg", np.zeros((300, 300, 3), np.uint8))
    with pytest.raises(DataError, match=r"0\.jpg cannot be read .*or set dataset\.image_size: a JPEG is then read red"):
        levels(tmp_path / "set")


def cautions(root, monkeypatch) -> list[str]:
    monkeypatch.setenv("MT_SWEEP_CACHE", str(root / "cache"))
    dataset = config(root).model_copy(update={"conflicts": "leave_out"})
    return [caution.partition(";")[0] for caution in read_facts(prepare(dataset)).cautions]


def test_images_that_show_nothing_are_a_caution(tmp_path, write, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    write({"a/0": noise, "a/1": noise, "b/0": halves(7, 7, np.uint8), "b/1": halves(0, 0, np.uint8)}, "png")
    assert cautions(tmp_path, monkeypatch) == ["each of the 2 images of class b is of one colour"]
    write({"b/1": noise}, "png")
    assert cautions(tmp_path, monkeypatch) == ["1 of the 4 images are of one colour"]
    write({"b/0": noise}, "png")
    assert cautions(tmp_path, monkeypatch) == []
    write(dict.fromkeys(("a/0", "a/1", "b/0", "b/1"), halves(7, 7, np.uint8)), "png")
    assert cautions(tmp_path, monkeypatch) == ["each of the 4 images is of one colour"]
    write(dict.fromkeys(("a/0", "a/1", "b/0", "b/1"), halves(7, 12, np.uint8)), "png")
    assert cautions(tmp_path, monkeypatch) == ["the pixels of all images lie between 7 and 12 of 0 to 255"]
