"""What a look at a folder of images finds."""

import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.helpers.training import write_image
from trainers.data.inspection import inspect_folder, why_not_laid_out
from trainers.errors import DataError


@pytest.fixture
def root(tmp_path):
    """Two classes of three and two images, one unlabeled image and one of the test set; all differ."""
    rng = np.random.default_rng(0)
    for file in ("train/a/0", "train/a/1", "train/a/2", "train/b/0", "train/b/1", "unlabeled/0", "test/b/0"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / f"{file}.png", rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    return tmp_path


def test_images_are_counted_by_class_and_purpose(root):
    found = inspect_folder(str(root))
    assert found.classes == {"a": 3, "b": 2}
    assert (found.labeled, found.unlabeled, found.test, found.looked_at) == (5, 1, 1, 7)
    assert (found.sizes, found.side, found.is_one_square) == ({(12, 12): 7}, 12, True)
    assert (found.kinds, found.is_colour, found.transparent) == ({"colour": 7}, True, 0)
    assert found.imbalance == 1.5
    assert (found.unreadable, found.left_out) == ([], [])


def test_a_label_file_says_which_images_have_a_class(root):
    (root / "labels.txt").write_text("a/0.png cat\nb/0.png b\nb/1.png b\n")
    found = inspect_folder(str(root), str(root / "labels.txt"))
    assert found.classes == {"b": 2, "cat": 1}
    assert found.unlabeled == 3
    (root / "labels.txt").write_text("a/7.png cat\nb/0.png dog\n")
    with pytest.raises(DataError, match=r"label_file: .*line 1: there is no .*a/7.png"):
        inspect_folder(str(root), str(root / "labels.txt"))


def test_kinds_of_files_are_told_and_grey_images_in_colour_files_are_grey(root):
    grey = np.full((12, 12), 7, np.uint8)
    for number in range(3):
        Image.fromarray(grey).convert("RGB").save(root / "train" / "a" / f"{number}.png")
    for number in range(2):
        Image.fromarray(grey.astype(np.uint16) * 257).save(root / "train" / "b" / f"{number}.png")
    Image.new("RGBA", (20, 10)).save(root / "unlabeled" / "0.png")
    Image.fromarray(grey).save(root / "test" / "b" / "0.png")
    found = inspect_folder(str(root))
    assert found.kinds == {"colour": 4, "16 bit grey": 2, "grey": 1}
    assert not found.is_colour
    assert found.transparent == 1
    assert (found.sizes, found.is_one_square, found.side) == ({(12, 12): 6, (20, 10): 1}, False, 12)


def test_files_that_nothing_uses_and_files_that_cannot_be_read_are_told(root):
    (root / "notes.txt").write_text("any")
    (root / "train" / "loose.png").write_bytes((root / "train/a/0.png").read_bytes())
    (root / "train" / "b" / "1.png").write_text("no image")
    found = inspect_folder(str(root))
    assert found.unreadable == [str(root / "train/b/1.png")]
    assert {tuple(one.examples): one.count for one in found.left_out} == {("notes.txt",): 1, ("train/loose.png",): 1}


def test_progress_ends_with_all_files(root):
    seen = []
    inspect_folder(str(root), progress=lambda *one: seen.append(one))
    assert ("reading sizes", 7, 7) in seen


def test_class_folders_without_train_are_told_with_two_commands_that_help(root):
    classes = (root / "train").rename(root / "my images")
    problem = why_not_laid_out(classes, has_label_file=False)
    assert "holds 2 folders of images (a, b)" in problem
    commands = [line.strip() for line in problem.splitlines() if line.startswith("  ")]
    fitting = root / "my images-sweep"
    assert commands == [f"mkdir '{fitting}'", f"ln -s '{classes}' '{fitting}/train'"]
    fitting.mkdir()
    (fitting / "train").symlink_to(classes)
    assert inspect_folder(str(fitting)).classes == {"a": 3, "b": 2}


def test_folders_beside_the_classes_that_are_none_keep_their_purpose(root):
    classes = (root / "train").rename(root / "images")
    for name in ("Unlabelled", "test"):
        write_image(classes / name / "a/0.png", np.full((8, 8, 3), 9, np.uint8))
    problem = why_not_laid_out(classes, has_label_file=False)
    assert "holds 2 folders of images (a, b). These 4 commands" in problem
    subprocess.run("\n".join(line for line in problem.splitlines() if line.startswith("  ")), shell=True, check=True)
    found = inspect_folder(str(root / "images-sweep"))
    assert (found.classes, found.unlabeled, found.test) == ({"a": 3, "b": 2}, 1, 1)


@pytest.mark.parametrize(
    ("folders", "advice"),
    [
        (["Train", "Valid"], r"Rename Train/ to train/\.$"),
        (["training", "testing"], r"Rename training/ to train/\.$"),
        (["masks", "photos/train"], r"Name .*/sets/photos, which holds a folder train/, in its place\.$"),
        (
            ["train/train", "train/val"],
            r"sets/train holds train/, val/, which are no classes; .* set dataset\.root to .*/train$",
        ),
    ],
)
def test_folders_of_purposes_are_never_taken_for_classes(tmp_path, folders, advice):
    for name in folders:
        for number in "ab":
            write_image(tmp_path / "sets" / name / number / "0.png", np.full((8, 8, 3), ord(number), np.uint8))
    with pytest.raises(DataError, match=advice):
        inspect_folder(str(tmp_path / "sets"))


def test_the_folder_train_itself_is_told_with_the_one_that_holds_it(root):
    assert why_not_laid_out(root / "train", False) == (
        f"{root / 'train'} is the folder train/ itself; name the one that holds it: {root}"
    )


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("", "there is no folder .*; name the one that holds train"),
        ("train/b", "has 1 class folder, and at least two classes are needed; expected train.* --labels"),
        ("train", "has no folder train/; expected train/<class>"),
        ("train/b/*", "no images in .*train/b; add some or remove it"),
    ],
)
def test_another_layout_is_refused_with_what_is_expected(root, removed, message):
    if removed.endswith("*"):
        for file in (root / "train" / "b").iterdir():
            file.unlink()
    else:
        (root / removed).rename(root.parent / f"{root.name}-elsewhere")
    with pytest.raises(DataError, match=message):
        inspect_folder(str(root))
