"""Images as pictures for people."""

import io

import numpy as np
from PIL import Image

from mt_sweeps.commands.pictures import LINE, grid
from mt_sweeps.results.enlarged import small_jpeg

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8, 1)
PHOTOGRAPH = np.random.default_rng(0).integers(0, 255, (224, 224, 3), dtype=np.uint8)


def test_a_small_image_is_enlarged_to_128_pixels_and_a_large_one_is_not():
    picture = grid([GREY] * 9, [["a", "b"]] * 9)
    assert picture.size == (2 + 8 * 130, 2 + 2 * (130 + 2 * LINE))
    assert np.asarray(picture)[2 + 16, 2 + 16].tolist() == [9, 9, 9], "a pixel is a square"
    assert grid([PHOTOGRAPH], [["a"]]).size == (2 + 226, 2 + 226 + LINE)


def test_long_names_are_shortened():
    assert grid([GREY], [["a name of a class that is much longer than an image is wide"]]).width == 132


def test_a_picture_for_a_report_is_a_small_jpeg():
    for pixels, size in ((GREY, (72, 72)), (PHOTOGRAPH, (72, 72))):
        jpeg = small_jpeg(pixels, 72)
        assert len(jpeg) < 10_000
        with Image.open(io.BytesIO(jpeg)) as image:
            assert (image.format, image.size) == ("JPEG", size)
