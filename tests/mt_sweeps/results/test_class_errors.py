import numpy as np

from mt_sweeps.results.class_errors import class_errors, table_lines, worst_text
from trainers.confusion import Confusion

MATRIX = Confusion(np.array([[8, 2, 0], [0, 0, 0], [1, 0, 1]]))
CLASSES = ["glass", "metal", "paper"]


def test_classes_with_images_stand_in_the_order_of_their_errors():
    assert [(one.name, one.error, one.images, one.taken_for) for one in class_errors(MATRIX, CLASSES)] == [
        ("paper", 0.5, 2, "glass"),
        ("glass", 1 - 8 / 10, 10, "metal"),
    ]
    assert worst_text(MATRIX, CLASSES, 1) == "paper (50.0 % of 2 images)"


def test_classes_have_numbers_where_their_names_are_not_known():
    assert [one.name for one in class_errors(MATRIX, [])] == ["class 2", "class 0"]


def test_the_matrix_of_few_classes_names_them_at_rows_and_columns():
    assert table_lines(MATRIX, CLASSES, 80) == [
        "error by class, the worst first:",
        "  paper   50.0 % of 2 images, most often taken for glass",
        "  glass   20.0 % of 10 images, most often taken for metal",
        "confusion matrix:",
        "         predicted",
        "  true   glass  metal  paper",
        "  glass      8      2      0",
        "  metal      0      0      0",
        "  paper      1      0      1",
    ]


def test_names_over_columns_are_shortened_where_the_terminal_is_narrow():
    assert table_lines(MATRIX, CLASSES, 22)[-4] == "  true   gl.  me.  pa."


def test_names_that_begin_alike_keep_their_ends():
    lines = table_lines(MATRIX, ["turn_left", "turn_right", "turn_back"], 32)
    assert lines[-4] == "  true        .eft  .ght  .ack"
    assert max(map(len, lines[-4:])) <= 32


def test_where_no_names_fit_over_the_columns_they_have_numbers():
    assert table_lines(MATRIX, CLASSES, 12)[-4:] == [
        "  true      1  2  3",
        "   1 glass  8  2  0",
        "   2 metal  0  0  0",
        "   3 paper  1  0  1",
    ]


def test_of_many_classes_only_the_worst_are_listed():
    lines = table_lines(Confusion(np.eye(1000, dtype=np.int64)), [str(c) for c in range(1000)])
    assert len(lines) == 22
    assert lines[-1] == "  and 980 more classes with lower errors"


def test_names_of_one_character_stand_over_the_columns_as_they_are():
    lines = table_lines(Confusion(np.eye(3, dtype=np.int64)), ["0", "1", "2"], 80)
    assert lines[-5:] == [
        "        predicted",
        "  true  0  1  2",
        "  0     1  0  0",
        "  1     0  1  0",
        "  2     0  0  1",
    ]
