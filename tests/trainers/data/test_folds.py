"""The folds of a cross-validation."""

import numpy as np
import pytest

from trainers.config import ImageFolder
from trainers.data.folds import fold_numbers
from trainers.data.splits import split
from trainers.errors import DataError

CLASSES = ["ape", "bat", "cat"]
LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, -1], [600, 300, 100, 50]))


def drawn(fold, groups=None, **settings):
    sizes = {"labels": 60, "validation": 0, "verdict": 100, "folds": 5, "fold": fold} | settings
    return split(LABELS, CLASSES, ImageFolder(name="image_folder", root="/images", **sizes), groups)


def test_each_labeled_image_is_held_out_once_and_trained_on_by_all_other_trainings():
    whole, parts = drawn(None), [drawn(fold) for fold in range(5)]
    assert len(whole.labeled) == 60
    assert not len(whole.validation)
    np.testing.assert_array_equal(np.sort(np.concatenate([part.validation for part in parts])), whole.labeled)
    for part in parts:
        np.testing.assert_array_equal(np.union1d(part.labeled, part.validation), whole.labeled)
        assert not np.intersect1d(part.labeled, part.validation).size
        np.testing.assert_array_equal(part.unlabeled, whole.unlabeled)
        np.testing.assert_array_equal(part.verdict, whole.verdict)
        assert np.bincount(LABELS[part.validation]).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    "settings", [{"labels": "all"}, {"draw": "random", "labels": 150}, {"label_seed": 3}, {"split_seed": 2}]
)
def test_folds_follow_every_way_to_draw_the_labeled_images(settings):
    whole = drawn(None, **settings)
    held_out = [drawn(fold, **settings).validation for fold in range(5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), whole.labeled)
    sizes = [np.bincount(LABELS[part], minlength=3) for part in held_out]
    assert np.ptp(sizes, axis=0).max() <= 1, "as many of every class, but for a remainder"


def test_a_final_training_has_all_labels_and_no_fold():
    found = drawn(2, with_validation=True)
    assert len(found.labeled) == 160
    assert not len(found.validation)


def test_a_group_is_held_out_whole_and_its_unlabeled_images_are_not_trained_on():
    groups = np.arange(len(LABELS)) // 3
    for fold in range(5):
        part = drawn(fold, groups, labels=120)
        held_out = groups[part.validation]
        assert held_out.size
        assert not np.isin(groups[part.labeled], held_out).any()
        assert not np.isin(groups[part.unlabeled], held_out).any()


def test_a_class_with_fewer_labeled_images_than_folds_is_named():
    with pytest.raises(
        DataError, match=r"dataset\.folds: 5 folds .* class ape has 4 labeled images; use at most 4 folds, or raise"
    ):
        drawn(0, labels=12)
    with pytest.raises(DataError, match=r"class ape has 1 labeled image; raise dataset\.labels, or set dataset\.valid"):
        drawn(0, labels=3)
    labels = np.repeat([0, 1], 6)
    with pytest.raises(DataError, match=r"class bat has 6 labeled images in 2 groups; use at most 2 folds"):
        fold_numbers(labels, np.array([0, 1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 7]), 3, 0, CLASSES)
