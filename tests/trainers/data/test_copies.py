import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageFilter
from sklearn.datasets import load_digits, load_sample_image

from trainers.data.copies import PixelDigests, under_two_classes

PHOTOGRAPHS = [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]


def photographs(size: int = 64) -> np.ndarray:
    """Cut two photographs into pieces, and keep those that show something: uint8 [pieces, size, size, 3]."""
    pieces = [
        photograph[top : top + size, left : left + size]
        for photograph in PHOTOGRAPHS
        for top in range(0, photograph.shape[0] - size, size)
        for left in range(0, photograph.shape[1] - size, size)
    ]
    return np.stack([piece for piece in pieces if piece.std() > 30])


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="jpeg", quality=quality)
    return np.asarray(Image.open(file))


def digests(*blocks: np.ndarray) -> PixelDigests:
    seen = PixelDigests()
    for block in blocks:
        seen.add(block)
    return seen


def near(images: np.ndarray) -> list[list[int]]:
    seen = digests(images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return seen.near_copies(seen.copies(), images).tolist()


def test_copies_are_found_by_their_pixels_across_blocks():
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    first, second = images[[0, 1, 0, 2]], images[[3, 1, 4, 0]]
    assert digests(first, second).copies().tolist() == [0, 1, 0, 3, 4, 1, 6, 0]
    assert digests(first[:, :, ::-1]).copies().tolist() == [0, 1, 0, 3], "also if the pixels do not lie in order"


def test_a_single_pixel_makes_another_image():
    images = np.zeros((2, 8, 8, 1), np.uint8)
    images[1, 7, 7] = 1
    assert digests(images).copies().tolist() == [0, 1]


def test_no_image_has_no_copies():
    assert digests().copies().tolist() == []


def test_images_under_two_classes_are_all_named_and_those_without_a_class_are_none():
    copies = np.array([0, 1, 0, 3, 1, 0, 6, 6])
    labels = np.array([2, 1, 0, 0, 1, 2, -1, 0])
    assert under_two_classes(copies, labels).tolist() == [0, 2, 5]


@pytest.mark.parametrize("size", [32, 64, 150])
def test_images_that_were_compressed_blurred_or_brightened_are_near_copies(size):
    images = photographs(size)
    n = len(images)
    blurred = np.asarray(Image.fromarray(images[5]).filter(ImageFilter.GaussianBlur(0.5)))
    brighter = np.clip(images[8].astype(int) + 6, 0, 255).astype(np.uint8)
    assert near(np.concatenate([images, [as_jpeg(images[3], 85), blurred, brighter]])) == [
        [3, n],
        [5, n + 1],
        [8, n + 2],
    ]


def test_most_images_that_were_compressed_again_are_found_and_hardly_others():
    images = photographs(48)
    n = len(images)
    pairs = near(np.concatenate([images, [as_jpeg(image, 75) for image in images]]))
    right = [pair for pair in pairs if pair[1] - pair[0] == n]
    assert len(right) > 0.9 * n
    assert len(pairs) - len(right) < 3


def test_exact_copies_are_no_near_copies():
    images = photographs()
    assert near(images[[0, 1, 2, 3, 0]]) == []


def test_there_is_no_alarm_for_tiny_flat_or_noisy_images():
    digits = np.round(load_digits().images * (255 / 16)).astype(np.uint8)[..., None]
    assert near(digits) == []
    larger = [Image.fromarray(digit[..., 0]).resize((40, 40), Image.Resampling.BILINEAR) for digit in digits[:200]]
    assert near(np.stack([np.asarray(digit) for digit in larger])[..., None]) == [], "ones look much the same"
    flat = np.full((50, 40, 40, 3), 9, np.uint8) + np.arange(50, dtype=np.uint8)[:, None, None, None]
    assert near(flat) == []
    rng = np.random.default_rng(0)
    assert near(rng.integers(0, 256, (300, 32, 32, 3), np.uint8)) == []
    assert near((128 + rng.normal(0, 8, (300, 64, 64, 1))).astype(np.uint8)) == []


def test_different_shapes_on_one_background_are_not_alike():
    images = np.full((36, 48, 48, 3), 255, np.uint8)
    for i in range(36):
        images[i, 4 + (i % 6) * 6 : 12 + (i % 6) * 6, 4 + i // 6 * 6 : 12 + i // 6 * 6] = 0
    assert near(images) == []
