import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.training import decode_whole, write_image
from trainers.config import Digits, ImageFolder
from trainers.data.sources import check_source, decode, source_key
from trainers.errors import DataError


def image(red: int, size: int = 8) -> np.ndarray:
    return np.full((size, size, 3), (red, 100, 200), np.uint8)


def folder(root: Path, **settings) -> ImageFolder:
    return ImageFolder(name="image_folder", root=str(root), **{"labels": 2, "validation": 1} | settings)


def decoded(root: Path, **settings):
    return decode_whole(folder(root, **settings), root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write images whose red value identifies them."""
    for red, name in [
        (2, "train/dog/b.png"),
        (1, "train/dog/a.png"),
        (3, "train/dog/deeper/c.PNG"),
        (4, "train/cat/1.bmp"),
        (5, "unlabeled/x.png"),
        (6, "unlabeled/some/y.png"),
        (7, "test/dog/t.png"),
    ]:
        write_image(tmp_path / name, image(red))
    (tmp_path / "train/dog/notes.txt").write_text("not an image")
    (tmp_path / "train/readme.txt").write_text("not a class")
    return tmp_path


def test_a_folder_becomes_its_images_in_the_order_of_classes_and_names(root):
    images = decoded(root)
    assert images.classes == ["cat", "dog"]
    assert images.train.shape == (6, 8, 8, 3)
    assert images.train.dtype == np.uint8
    assert images.train[:, 0, 0, 0].tolist() == [4, 1, 2, 3, 6, 5]
    assert images.train_labels.tolist() == [0, 1, 1, 1, -1, -1]
    assert images.test[:, 0, 0, 0].tolist() == [7]
    assert images.test_labels.tolist() == [1]
    assert (images.train[..., 1:] == (100, 200)).all()


def test_unlabeled_and_test_images_may_be_missing(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / "train" / name / "1.png", image(1))
    images = decoded(tmp_path)
    assert images.train_labels.tolist() == [0, 1]
    assert images.test.shape == (0, 8, 8, 3)


def test_what_is_transparent_is_white_and_what_is_half_is_between(root):
    layers = np.zeros((8, 8, 4), np.uint8)
    layers[:, 4:, 3] = 255  # the right half is black, the left half shows what is behind
    layers[0, :, 3] = 51  # and the first row a fifth of black
    Image.fromarray(layers).save(root / "train/cat/0.png")
    found = decoded(root).train[0]
    assert (found[1:, :4] == 255).all()
    assert (found[1:, 4:] == 0).all()
    assert np.abs(found[0].astype(int) - 204).max() <= 1


def test_a_photograph_is_turned_as_its_camera_was(root):
    upright = np.zeros((8, 8, 3), np.uint8)
    upright[:2] = 255  # a bright sky
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    Image.fromarray(np.rot90(upright)).save(root / "train/cat/0.png", exif=exif)
    np.testing.assert_array_equal(decoded(root).train[0], upright)


def test_unreadable_images_are_skipped_and_counted_if_asked_for(root):
    whole = decoded(root)
    (root / "train/cat/0.png").write_bytes(b"<html>not found</html>")
    (root / "test/dog/a.png").write_bytes(b"")
    found = decoded(root, unreadable="skip")
    assert found.skipped == ("train/cat/0.png", "test/dog/a.png")
    np.testing.assert_array_equal(found.train, whole.train)
    np.testing.assert_array_equal(found.test, whole.test)
    assert found.train_labels.tolist() == whole.train_labels.tolist()
    with pytest.raises(DataError, match=r"train/cat/0\.png cannot be read .* or set dataset\.unreadable: skip"):
        decoded(root)


def test_a_folder_without_a_readable_image_is_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "1.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of the 2 images below"):
        decoded(tmp_path, unreadable="skip")


@pytest.fixture
def label_file(root):
    def written(*lines: str) -> str:
        file = root / "labels.txt"
        file.write_text("\n".join(lines) + "\n")
        return str(file)

    return written


def test_a_label_file_says_which_images_of_which_class_are_labeled(root, label_file):
    write_image(root / "train/dog/with a blank.png", image(8))
    labels = label_file("dog/b.png hound", "", "cat/1.bmp pet", "dog/with a blank.png hound")
    (root / "test/dog").rename(root / "test/hound")
    images = decoded(root, label_file=labels)
    assert images.classes == ["hound", "pet"]
    found = dict(zip(images.train[:, 0, 0, 0].tolist(), images.train_labels.tolist(), strict=True))
    assert found == {2: 0, 8: 0, 4: 1, 1: -1, 3: -1, 5: -1, 6: -1}
    assert images.test_labels.tolist() == [0]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["dog/b.png dog", "cat/no.png cat"],
            r"labels\.txt, line 2: there is no .*train/cat/no\.png; paths are relative",
        ),
        (["dog/b.png dog", "b.png cat"], r"line 2: there is no .*train/b\.png"),
        (["../test/dog/t.png dog", "dog/b.png cat"], r"line 1: there is no"),
        (["dog/b.png dog", "cat/1.bmp cat", "dog/b.png cat"], r"line 3: dog/b\.png is named a second time"),
        (["dog/b.png"], r"line 1: 'dog/b\.png' is no `path class`"),
        (["dog/b.png dog", "dog/a.png dog"], r"names 1 classes; at least two"),
        (["dog/b.png hound", "cat/1.bmp cat"], r"test/dog is a class that train/ has not"),
    ],
)
def test_a_mistake_in_a_label_file_is_reported_with_its_line(root, label_file, lines, told):
    with pytest.raises(DataError, match=told):
        decoded(root, label_file=label_file(*lines))


def test_a_label_file_that_is_not_there_is_named(root):
    with pytest.raises(DataError, match=r"dataset\.label_file: .*none\.txt cannot be read"):
        decoded(root, label_file=str(root / "none.txt"))


def test_the_key_changes_with_what_changes_the_images(root, label_file):
    keys = {
        source_key(folder(root)),
        source_key(folder(root, unreadable="skip")),
        source_key(folder(root, label_file=label_file("dog/b.png dog", "cat/1.bmp cat"))),
        source_key(folder(root, label_file=label_file("dog/a.png dog", "cat/1.bmp cat"))),
    }
    assert len(keys) == 4


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_grey_palette_and_transparent_images_become_rgb(root, mode):
    source = Image.fromarray(np.random.default_rng(0).integers(0, 2, (8, 8), dtype=np.uint8) * 255).convert("RGB")
    suffix = "tif" if mode == "CMYK" else "png"
    source.convert(mode).save(root / f"train/cat/0.{suffix}")
    np.testing.assert_array_equal(decoded(root).train[0], np.asarray(source))


def test_the_contrast_of_16_bit_images_is_kept_or_the_file_is_refused(root):
    levels = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(levels).save(root / "train/cat/0.png")
    try:  # either is right; clipping to white is not
        found = decoded(root).train[0]
    except DataError as error:
        assert "0.png" in str(error)
    else:
        assert np.abs(found - (levels / 257)[..., None]).max() <= 1


def test_images_of_several_sizes_are_refused_unless_a_size_is_set(root):
    write_image(root / "train/cat/2.png", image(9, size=10))
    with pytest.raises(DataError, match=r"8x8.*2\.png has 10x10.*dataset\.image_size"):
        decoded(root)
    assert decoded(root, image_size=8).train.shape == (7, 8, 8, 3)


def test_images_that_are_not_square_are_refused_unless_a_size_is_set(root):
    write_image(root / "train/cat/2.png", np.zeros((8, 16, 3), np.uint8))
    with pytest.raises(DataError, match=r"2\.png is not square \(16x8 pixels\).*dataset\.image_size"):
        decoded(root)


def test_image_size_takes_the_centre_and_keeps_the_shape(tmp_path):
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # the square in the middle
    for name in ("a", "b"):
        write_image(tmp_path / "train" / name / "1.png", wide)
    found = decoded(tmp_path, image_size=10).train[0]
    assert found.shape == (10, 10, 3)
    assert (found[:, 1:-1] == 255).all()


def test_a_truncated_image_is_named(root):
    path = root / "train/cat/1.bmp"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"train/cat/1\.bmp cannot be read as an image"):
        decoded(root)


def test_a_file_that_is_no_image_is_named(root):
    (root / "unlabeled/z.jpg").write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"unlabeled/z\.jpg cannot be read as an image.*repair or remove"):
        decoded(root)


def test_a_png_with_a_broken_chunk_is_named(root):
    # Pillow raises SyntaxError here, which is neither an OSError nor a ValueError.
    path = root / "train/cat/0.png"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    data = io.BytesIO()
    noise.save(data, "PNG")
    raw = bytearray(data.getvalue())
    at = raw.index(b"IDAT")
    raw[at - 1] -= 20  # the chunk says that it is shorter, so that the next one begins in the middle of pixels
    raw[at + 4 + raw[at - 1] : at + 8 + raw[at - 1]] = b"\x00" * 4
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"train/cat/0\.png cannot be read as an image"):
        decoded(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("rm -r train", r"there is no folder .*train; expected train/<class>"),
        ("rm -r train/cat", r"train has 1 class folders"),
        ("rm train/cat/1.bmp", r"no images in .*train/cat; add some or remove it"),
        ("mkdir test/cow", r"test/cow is a class that train/ has not"),
    ],
)
@pytest.mark.parametrize("check", [source_key, check_source, lambda config: decode(config, Path("unused"), print)])
def test_a_folder_of_another_layout_is_refused_with_what_is_wrong(root, change, message, check):
    assert os.system(f"cd {root} && {change}") == 0
    with pytest.raises(DataError, match=message) as error:
        check(folder(root))
    assert "dataset.root" in str(error.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=rf"dataset\.root: there is no folder {tmp_path}/nowhere; expected train/"):
        check_source(folder(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"labels": 1}, r"dataset\.labels: 1 is fewer than the 2"), ({"validation": 3}, r"dataset\.labels \+ validation")],
)
def test_a_split_that_the_folder_cannot_give_is_refused_before_an_image_is_opened(root, settings, message):
    (root / "train/cat/1.bmp").write_bytes(b"not an image")
    with pytest.raises(DataError, match=message):
        check_source(folder(root, **settings))
    check_source(folder(root))


def test_the_key_of_a_folder_changes_with_its_files_and_the_size_and_with_nothing_else(root):
    key = source_key(folder(root))
    assert source_key(folder(root, labels="all", split_seed=3)) == key
    assert source_key(folder(f"{root}/")) == key
    keys = {key, source_key(folder(root, image_size=8))}
    for change in ("cp train/cat/1.bmp train/cat/2.bmp", "mv unlabeled/x.png train/cat/", "touch -d @1 test/dog/t.png"):
        assert os.system(f"cd {root} && {change}") == 0
        keys.add(source_key(folder(root)))
    assert len(keys) == 5
    (root / "train/dog/more notes.txt").write_text("no image")
    assert source_key(folder(root)) in keys


def test_a_root_in_the_home_folder_may_begin_with_a_tilde(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert source_key(folder(f"~/{root.name}")) == source_key(folder(root))
    np.testing.assert_array_equal(decode_whole(folder(f"~/{root.name}"), root).train, decoded(root).train)


@pytest.mark.system
def test_decoding_tells_how_far_it_is(tmp_path):
    write_image(tmp_path / "train/a/0.png", image(1))
    write_image(tmp_path / "train/b/0.png", image(1))
    for i in range(300):
        os.link(tmp_path / "train/a/0.png", tmp_path / f"train/a/{i + 1}.png")
    told = []
    decode(folder(tmp_path), tmp_path, lambda _: None, lambda done, all_: told.append((done, all_)))
    assert [one for one in told if one[0] in (0, 256, 302)] == [(0, 302), (256, 302), (302, 302)]


def test_digits_are_those_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    images, given = decode_whole(Digits(name="digits", labels=10, validation=1), tmp_path), load_digits()
    test = np.arange(len(given.target)) % 5 == 4
    for pixels, labels, chosen in (
        (images.train, images.train_labels, ~test),
        (images.test, images.test_labels, test),
    ):
        np.testing.assert_array_equal(pixels[..., 0], np.round(given.images[chosen] * 255 / 16))
        np.testing.assert_array_equal(labels, given.target[chosen])


def test_digits_keep_every_fifth_image_for_the_test(tmp_path):
    images = decode_whole(Digits(name="digits", labels=10, validation=1), tmp_path)
    assert images.train.shape == (1438, 8, 8, 1)
    assert images.test.shape == (359, 8, 8, 1)
    assert images.train.dtype == np.uint8
    assert (images.train.min(), images.train.max()) == (0, 255)
    assert images.classes == list("0123456789")
    assert set(images.train_labels) == set(images.test_labels) == set(range(10))
    assert images.train_labels[:9].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 0]  # the package counts 0..9 over and over
    assert images.test_labels[:2].tolist() == [4, 9]
