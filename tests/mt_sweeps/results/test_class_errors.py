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


def test_the_matrix_of_few_classes_is_a_table():
    assert table_lines(MATRIX, CLASSES) == [
        "error by class, the worst first:",
        "  paper   50.0 % of 2 images, most often taken for glass",
        "  glass   20.0 % of 10 images, most often taken for metal",
        "confusion matrix, a row per class, a column per prediction:",
        "             1  2  3",
        "   1  glass  8  2  0",
        "   2  metal  0  0  0",
        "   3  paper  1  0  1",
    ]


def test_of_many_classes_only_the_worst_are_listed():
    lines = table_lines(Confusion(np.eye(1000, dtype=np.int64)), [str(c) for c in range(1000)])
    assert len(lines) == 22
    assert lines[-1] == "  and 980 more classes with lower errors"
