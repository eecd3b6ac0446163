"""The picture of what student and teacher see."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mt_sweeps.cli import cli
from mt_sweeps.commands.preview import preview
from mt_sweeps.errors import InputError
from tests.helpers.sweeps import DIGITS
from tests.helpers.training import write_image


def cells(path, rows: int, columns: int) -> np.ndarray:
    """[rows, columns, 128, 128], grey, of digits that are shown with 128 pixels a side and a frame of two."""
    picture = np.asarray(Image.open(path).convert("L"))
    assert picture.shape == (rows * 132, columns * 130 + 2)
    grid = [
        [picture[132 * r + 2 : 132 * r + 130, 130 * c + 2 : 130 * c + 130] for c in range(columns)] for r in range(rows)
    ]
    return np.array(grid)


def test_a_picture_has_the_images_and_below_them_two_different_looks(tmp_path):
    said = preview(DIGITS, (), tmp_path / "grid.png", 6)
    plain, student, teacher = cells(tmp_path / "grid.png", 3, 6)
    for column in range(6):
        assert len({row[column].tobytes() for row in (plain, student, teacher)}) == 3
        assert (plain[column].reshape(8, 16, 8, 16).std((1, 3)) == 0).all(), "a pixel is a square"
    assert "rows: the image, what the student sees, what it is compared with" in said
    assert "noise 0.1 and 0.1" in said


def test_without_noise_everybody_sees_the_image(tmp_path):
    quiet = ("trainer.augmentation.translate=0", "trainer.augmentation.noise=0.0")
    preview(DIGITS, quiet, tmp_path / "grid.png", 4)
    plain, student, teacher = cells(tmp_path / "grid.png", 3, 4)
    assert np.abs(plain.astype(int) - student).max() <= 1
    assert np.array_equal(student, teacher)


def test_a_method_that_looks_once_has_one_look(tmp_path):
    preview(DIGITS, ("trainer.method=supervised", "trainer.normalization=per_image"), tmp_path / "grid.png", 3)
    assert len(cells(tmp_path / "grid.png", 2, 3)) == 2


def test_a_strong_view_is_shown_above_a_weak_one(tmp_path):
    changes = ("noise=0.0", "translate=0", "strong=rand_augment", "erase=1.0")
    overrides = (*(f"trainer.augmentation.{change}" for change in changes), "trainer.teacher.augmentation=weak")
    shown = preview(DIGITS, overrides, tmp_path / "grid.png", 6)
    plain, student, teacher = cells(tmp_path / "grid.png", 3, 6)
    assert np.abs(plain.astype(int) - teacher).max() <= 1
    assert all((plain[column] != student[column]).any() for column in range(6))
    assert "strong rand_augment, rand_operations 2, rand_magnitude 9, erase 1.0" in shown
    assert "what it is compared with: crop, translation and flip alone" in shown


def test_what_is_not_drawn_is_not_listed(tmp_path):
    shown = preview(DIGITS, (), tmp_path / "grid.png", 2)
    assert not any(name in shown for name in ("strong", "rand_", "erase", "alone"))


@pytest.mark.parametrize("name", ["grid.txt", "missing/grid.png"])
def test_a_picture_that_cannot_be_written_is_told(tmp_path, name):
    with pytest.raises(InputError, match=r"grid\.\w+: cannot be written: .*\.png or \.jpg"):
        preview(DIGITS, (), tmp_path / name, 2)


def test_the_command_writes_the_picture_and_says_what_it_shows(tmp_path):
    output = tmp_path / "grid.jpg"
    result = CliRunner().invoke(cli, ["preview", str(DIGITS), "-o", str(output), "--images", "2"])
    assert result.exit_code == 0
    assert result.output.startswith(f"{output}: rows: the image")
    assert Image.open(output).size == (262, 396)


def test_the_classes_of_the_images_the_rows_and_what_was_left_out_are_in_the_text(tmp_path):
    for i in range(16):
        write_image(tmp_path / f"images/train/{('cat', 'dog')[i % 2]}/{i}.png", np.full((8, 8, 3), 15 * i, np.uint8))
    for i in range(4):
        write_image(tmp_path / f"images/unlabeled/{i}.png", np.full((8, 8, 3), 60 * i, np.uint8))
    (tmp_path / "images/train/cat/a.xyz").write_text("no image")
    dataset = f"{{name: image_folder, root: {tmp_path}/images, labels: 4, validation: 2, unlabeled: 14}}"
    lines = preview(DIGITS, (f"trainer.dataset={dataset}", "trainer.batch_size=8"), tmp_path / "grid.png", 8).split(
        "\n"
    )
    columns = lines[1].removeprefix("columns: 8 training images: ").split(", ")
    labeled = sum(not column.startswith("unlabeled") for column in columns)
    assert labeled > 0
    assert set(columns[:labeled]) <= {"cat", "dog"}
    assert set(columns[labeled:]) <= {"unlabeled", "unlabeled (cat)", "unlabeled (dog)"}
    assert lines[2:5] == [
        "row 1: the image as it was decoded",
        "row 2: what the student is trained on: it differs in every step",
        "row 3: what the teacher sees of it; the student is to answer as the teacher does",
    ]
    assert lines[5] == "left out: 1 file: unknown suffix .xyz, and the content is no image: train/cat/a.xyz"
    assert len(lines) == 6
