"""TIFF files of microscopes, whose values Pillow takes for others, or does not read."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.training import decode_whole, write_image
from trainers.config import ImageFolder
from trainers.data.cache import prepare, read_facts
from trainers.data.decoding import Unreadable, UnsupportedGreys, read_image

BITS, PHOTOMETRIC, PLANES, FORMAT = 258, 262, 284, 339


def write_tiff(path: Path, pixels: np.ndarray, tags: dict[int, int]) -> None:
    """Write a TIFF file, and then put other values in some of its tags."""
    Image.fromarray(pixels).save(path, tiffinfo={FORMAT: 1, PLANES: 1})
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, _, values = struct.unpack_from("<HHI", content, entry)
        if tag in tags:
            at = entry + 8 if values < 3 else struct.unpack_from("<I", content, entry + 8)[0]
            struct.pack_into(f"<{values}H", content, at, *[tags.pop(tag)] * values)
    assert not tags
    path.write_bytes(content)


def column(*values: float, dtype: type) -> np.ndarray:
    return np.repeat(np.array(values, dtype)[:, None], len(values), axis=1)


def levels(path: Path, count: int, pixel_range: tuple[float, float] | None = None) -> list[int]:
    """Return the greys of the rows of a picture."""
    return read_image(str(path), count, 1, pixel_range)[:, 0, 0].tolist()


def test_signed_bytes_are_no_unsigned_ones(tmp_path):
    write_tiff(tmp_path / "a.tif", column(-128, -1, 0, 127, dtype=np.int8).view(np.uint8), {FORMAT: 2})
    with pytest.raises(UnsupportedGreys, match=r"a\.tif: its greys \(mode int8\) go from -128 to 127; allowed"):
        levels(tmp_path / "a.tif", 4)
    assert levels(tmp_path / "a.tif", 4, (-128, 127)) == [0, 127, 128, 255]


def test_integers_of_32_bits_without_a_sign_do_not_become_negative(tmp_path):
    write_tiff(tmp_path / "a.tif", column(0, 2**31, 2**32 - 1, dtype=np.uint32).view(np.int32), {FORMAT: 1})
    with pytest.raises(
        UnsupportedGreys, match=r"a\.tif: its greys \(mode uint32\) go from 0 to 4\.29497e\+09; allowed"
    ):
        levels(tmp_path / "a.tif", 3)
    assert levels(tmp_path / "a.tif", 3, (0, 2**32 - 1)) == [0, 128, 255]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (column(0, 25700, 65535, dtype=np.uint16), [255, 155, 0]),
        (column(0, 0.25, 1, dtype=np.float32), [255, 191, 0]),
        (column(0, 100, 255, dtype=np.uint8), [255, 155, 0]),
    ],
)
def test_where_0_is_white_greys_are_inverted(tmp_path, pixels, expected):
    write_tiff(tmp_path / "a.tif", pixels, {PHOTOMETRIC: 0})
    assert levels(tmp_path / "a.tif", 3) == expected


@pytest.mark.parametrize(
    ("pixels", "tags", "told"),
    [
        (np.zeros((4, 4), np.float32), {BITS: 64}, "1 channel of 64-bit floats, which Pillow does not read; save it"),
        (np.zeros((4, 4), np.float32), {BITS: 16}, "1 channel of 16-bit floats"),
        (np.zeros((4, 4), np.uint16), {FORMAT: 5}, "1 channel of 16-bit complex integers"),
    ],
)
def test_a_file_that_pillow_does_not_know_is_told_with_what_is_in_it(tmp_path, pixels, tags, told):
    write_tiff(tmp_path / "a.tif", pixels, dict(tags))
    with pytest.raises(Unreadable, match=rf"a\.tif cannot be read as an image: it is a TIFF of {told}"):
        levels(tmp_path / "a.tif", 4)


def test_a_damaged_header_is_told_as_such(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    with pytest.raises(Unreadable, match=r"a\.tif cannot be read as an image: .*; repair or remove it"):
        levels(tmp_path / "a.tif", 4)


def test_16_bits_in_separate_planes_are_refused_since_pillow_misreads_them(tmp_path):
    write_tiff(tmp_path / "a.tif", np.zeros((4, 4, 3), np.uint8), {BITS: 16, PLANES: 2})
    with pytest.raises(Unreadable, match=r"a\.tif cannot be read as an image: it has 16 bits per channel, in separate"):
        levels(tmp_path / "a.tif", 4)


def test_the_transparent_grey_of_16_bits_is_white(tmp_path):
    Image.fromarray(column(257, 0, 25700, dtype=np.uint16)).save(tmp_path / "a.png", transparency=0)
    assert levels(tmp_path / "a.png", 3) == [1, 255, 100]


def test_pages_and_frames_after_the_first_are_a_caution(tmp_path, monkeypatch):
    monkeypatch.setenv("MT_SWEEP_CACHE", str(tmp_path / "cache"))
    pages = [Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (10, 200)]
    for name in ("a/0.tif", "a/1.gif", "b/2.webp", "b/3.png"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        pages[0].save(tmp_path / "train" / name, save_all=True, append_images=pages[1:], lossless=True)
    pages[0].save(tmp_path / "train/a/4.jpg", "MPO", save_all=True, append_images=pages[1:])
    write_image(tmp_path / "train/b/5.png", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    config = ImageFolder(name="image_folder", root=str(tmp_path), labels=2, validation=1, conflicts="leave_out")
    assert [int(image[0, 0, 0]) for image in decode_whole(config, tmp_path / "c").train] == [10, 10, 10, 10, 10, 0]
    assert read_facts(prepare(config)).cautions[0] == (
        "4 files have several pages or frames, of which the first is used: train/a/0.tif, train/a/1.gif, "
        "train/b/2.webp, ..."
    )
