"""The picture of what student and teacher see."""

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mt_sweeps.cli import cli
from mt_sweeps.commands.pictures import LINE
from mt_sweeps.commands.preview import preview
from mt_sweeps.errors import InputError
from tests.helpers.command_line import DIGITS
from tests.helpers.training import write_image


def cells(path, rows: int, columns: int) -> np.ndarray:
    """[rows, columns, 128, 128], grey, of digits that are shown with 128 pixels per side and a frame of two.

    There is a line of text above all, and one above each row.
    """
    picture = np.asarray(Image.open(path).convert("L"))
    assert picture.shape == (LINE + rows * (LINE + 132), columns * 130 + 2)
    texts = [picture[:LINE], *(picture[LINE + (LINE + 132) * r :][:LINE] for r in range(rows))]
    assert all((text < 128).sum() > 20 for text in texts), "every line has letters"
    tops = [LINE + (LINE + 132) * r + LINE + 2 for r in range(rows)]
    return np.array([[picture[y : y + 128, 130 * c + 2 : 130 * c + 130] for c in range(columns)] for y in tops])


def test_a_picture_has_the_images_and_below_them_two_different_looks(tmp_path):
    shown = preview(DIGITS, ("trainer.augmentation.noise=0.1",), tmp_path / "grid.png", 6)
    plain, student, teacher = cells(tmp_path / "grid.png", 3, 6)
    for column in range(6):
        assert len({row[column].tobytes() for row in (plain, student, teacher)}) == 3
        assert (plain[column].reshape(8, 16, 8, 16).std((1, 3)) == 0).all(), "a pixel is a square"
    assert "row 3: what the teacher sees of it: translate 1, noise 0.1; the student" in shown


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
    assert "strong rand_augment, rand_operations 2, rand_magnitude 9, erase 1" in shown
    assert "what the teacher sees of it (crop, translation and flip alone): no random change; the student" in shown


def test_what_is_not_drawn_is_not_listed(tmp_path):
    shown = preview(DIGITS, (), tmp_path / "grid.png", 2)
    assert not any(name in shown for name in ("strong", "rand_", "erase", "alone"))


SEARCHED = (
    "trainer.teacher.augmentation=weak",
    "search_space.augmentation.strong={type: categorical, choices: [none, trivial_augment]}",
    "search_space.augmentation.smallest_crop={type: float, low: 0.2, high: 0.8}",
    "search_space.augmentation.noise={type: float, low: 0.0, high: 0.6}",
    "trainer.augmentation.crop=8",
    "trainer.augmentation.translate=0",
    "trainer.augmentation.rotate=5.0",
)


def rows_of(shown: str) -> list[str]:
    return [line.partition(": ")[2] for line in shown.splitlines() if line.startswith("row ")]


def test_every_searched_strong_view_has_a_row_with_all_else_at_its_strongest(tmp_path):
    shown = preview(DIGITS, SEARCHED, tmp_path / "grid.png", 6)
    rest = "noise 0.6 (searched: 0 to 0.6)"
    drawn = "what the student is trained on, drawn anew in every step"
    student = f"{drawn}: crop 8, smallest_crop 0.2 (searched: 0.2 to 0.8), rotate 5"
    assert rows_of(shown) == [
        "the image as it was decoded",
        f"{student}, strong none (searched), {rest}",
        f"{student}, strong trivial_augment (searched), {rest}",
        "what the teacher sees of it (crop, translation and flip alone): crop 8, smallest_crop 0.2 (searched: 0.2 to "
        "0.8); the student is to answer as the teacher does",
    ]
    _, plain, strong, _ = cells(tmp_path / "grid.png", 4, 6)
    assert (plain != strong).any()


def test_a_searched_setting_that_a_person_sets_has_that_value(tmp_path):
    one = preview(DIGITS, (*SEARCHED, "trainer.augmentation.strong=rand_augment"), tmp_path / "a.png", 2)
    assert "strong rand_augment, rand_operations 2" in one
    assert len(rows_of(one)) == 3
    group = "trainer.augmentation={crop: 8, noise: 0.5, translate: 0, rotate: 5.0}"
    group = preview(DIGITS, (*SEARCHED, group), tmp_path / "b.png", 2)
    assert "noise 0.5\n" in group
    assert len(rows_of(group)) == 4
    with pytest.raises(InputError, match=r"digits.yaml: trainer.augmentation.strong: 'much' is not allowed"):
        preview(
            DIGITS, (*SEARCHED, "trainer.augmentation.strong=much", "finalists.baselines=[]"), tmp_path / "grid.png", 2
        )


def test_a_setting_that_is_searched_with_a_strong_view_alone_is_shown_with_it(tmp_path):
    strong = "search_space.augmentation.strong={type: categorical, choices: [none, rand_augment]}"
    magnitude = "search_space.augmentation.rand_magnitude={when: {augmentation.strong: rand_augment}, type: int, "
    shown = preview(DIGITS, (strong, magnitude + "low: 3, high: 12}"), tmp_path / "grid.png", 2)
    _, none, strong, *_ = rows_of(shown)
    assert "rand_magnitude" not in none
    assert "rand_magnitude 12 (searched: 3 to 12)" in strong


@pytest.mark.parametrize(("images", "labeled"), [(12, 10), (24, 10), (6, 5), (2, 2)])
def test_one_labeled_image_of_each_class_comes_first_then_unlabeled_ones(tmp_path, images, labeled):
    columns = preview(DIGITS, (), tmp_path / "grid.png", images).splitlines()[1].removeprefix("columns: ").split(", ")
    assert columns[:labeled] == [str(digit) for digit in range(labeled)]
    assert len(columns) == images
    assert all(column.startswith("unlabeled (") for column in columns[labeled:])


def test_without_unlabeled_images_more_labeled_ones_follow(tmp_path):
    columns = preview(DIGITS, ("trainer.method=supervised",), tmp_path / "grid.png", 12).splitlines()[1]
    assert columns.startswith("columns: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ")
    assert "unlabeled" not in columns


@pytest.mark.parametrize("name", ["grid.txt", "missing/grid.png"])
def test_a_picture_that_cannot_be_written_is_told(tmp_path, name):
    with pytest.raises(InputError, match=r"grid\.\w+: cannot be written: .*\.png or \.jpg"):
        preview(DIGITS, (), tmp_path / name, 2)


def test_the_command_writes_the_picture_and_says_what_it_shows(tmp_path):
    output = tmp_path / "grid.jpg"
    result = CliRunner().invoke(cli, ["preview", str(DIGITS), "-o", str(output), "--images", "2"])
    assert result.exit_code == 0
    assert result.output.startswith(f"{output}: 3 rows of 2 training images\n")
    assert Image.open(output).size == (262, LINE + 3 * (LINE + 132))


def test_the_classes_of_the_images_the_rows_and_what_was_left_out_are_in_the_text(tmp_path):
    for i in range(16):
        write_image(tmp_path / f"images/train/{('cat', 'dog')[i % 2]}/{i}.png", np.full((8, 8, 3), 15 * i, np.uint8))
    for i in range(4):
        write_image(tmp_path / f"images/unlabeled/{i}.png", np.full((8, 8, 3), 60 * i, np.uint8))
    (tmp_path / "images/train/cat/a.xyz").write_text("no image")
    (tmp_path / "images/train/cat/torn.png").write_text("no image either")
    dataset = (
        f"{{name: image_folder, root: {tmp_path}/images, labels: 4, validation: 2, unlabeled: 14, unreadable: skip}}"
    )
    lines = preview(DIGITS, (f"trainer.dataset={dataset}", "trainer.batch_size=8"), tmp_path / "grid.png", 8).split(
        "\n"
    )
    columns = lines[1].removeprefix("columns: ").split(", ")
    assert columns[:2] == ["cat", "dog"]
    assert set(columns[2:]) <= {"unlabeled", "unlabeled (cat)", "unlabeled (dog)"}
    assert len(columns) == 8
    assert lines[2:5] == [
        "row 1: the image as it was decoded",
        "row 2: what the student is trained on, drawn anew in every step: translate 1, noise 0.1",
        "row 3: what the teacher sees of it: translate 1, noise 0.1; the student is to answer as the teacher does",
    ]
    assert lines[5:7] == [
        "left out, since they cannot be read: 1 image: train/cat/torn.png",
        "left out: 1 file: unknown suffix .xyz, and the content is no image: train/cat/a.xyz",
    ]
    assert lines[7].startswith("caution: each of the 20 images is of one colour")
    assert len(lines) == 8
