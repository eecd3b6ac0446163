import numpy as np
import pytest
from pydantic import ValidationError

from trainers.config import ImageFolder
from trainers.data.groups import groups_of_paths, united
from trainers.errors import DataError


def test_images_whose_paths_have_the_same_text_are_one_group():
    paths = ["train/a/track1_0.png", "train/b/track1_1.png", "unlabeled/track2_0.png", "test/a/track10_0.png"]
    assert groups_of_paths(r"(track\d+)_", paths).tolist() == [0, 0, 1, 2]
    assert groups_of_paths("/([ab]|unl)", ["x/a/1", "x/b/1", "x/a/2"]).tolist() == [0, 1, 0]


@pytest.mark.parametrize("expression", [r"(track\d+)_", "x(a*)"])
def test_a_path_without_a_group_is_refused(expression):
    with pytest.raises(DataError, match=r"dataset\.groups: .* finds no group in train/a/x.png; it must find one"):
        groups_of_paths(expression, ["train/a/x.png"])


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("track", r"'track'\) has no parentheses, so it is a column of label_file, and that is not set"),
        ("(a)(b)", "has 2 pairs of parentheses; write one"),
        ("(a", "is no regular expression: missing"),
    ],
)
def test_an_expression_that_names_no_group_is_refused(expression, message):
    with pytest.raises(ValidationError, match=message):
        ImageFolder(name="image_folder", root="/x", labels=2, validation=1, groups=expression)
    ImageFolder(name="image_folder", root="/x", labels=2, validation=1, groups="(?:a)(b)")


def test_groups_that_share_a_copy_become_one():
    copies = np.array([0, 1, 0, 3, 4, 3, 6])
    groups = np.array([5, 5, 7, 7, 2, 9, 8])
    found = united(copies, groups)
    assert [set(np.flatnonzero(found == number).tolist()) for number in np.unique(found)] == [
        {0, 1, 2, 3, 5},
        {4},
        {6},
    ]
    assert united(copies, None) is copies
