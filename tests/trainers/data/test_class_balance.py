import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from tests.helpers.training import config
from trainers.data.class_balance import class_weights
from trainers.errors import DataError

CLASSES = ["glass", "metal", "paper"]
LABELS = np.array([0] * 6 + [1] * 3 + [2])
RANDOM = {"name": "digits", "labels": 60, "validation": 60, "draw": "random"}


def test_balanced_weights_are_those_of_scikit_learn_and_have_the_mean_1_over_the_images():
    weights = class_weights(config(dataset=RANDOM, class_weights="balanced"), LABELS, CLASSES)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=LABELS))
    assert weights[LABELS].mean() == pytest.approx(1)


def test_classes_without_a_weight_of_their_own_have_the_weight_1():
    assert class_weights(config(class_weights={"metal": 2.5}), LABELS, CLASSES).tolist() == [1, 2.5, 1]
    assert class_weights(config(), LABELS, CLASSES) is None


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e-300, 1e300, float("inf"), float("nan")])
def test_weights_that_fp32_cannot_divide_by_are_refused(weight):
    with pytest.raises(ValidationError, match=r"class_weights\.weights\.metal\n  Input should be"):
        config(class_weights={"metal": weight})


def test_a_weight_for_no_class_is_refused_with_the_names_of_the_classes():
    with pytest.raises(
        DataError, match="class_weights: glas: there is no such class; the 3 classes are glass, metal, paper"
    ):
        class_weights(config(class_weights={"glas": 2.0, "metal": 1.0}), LABELS, CLASSES)


@pytest.mark.parametrize(
    ("setting", "instead"),
    [
        ({"sampling": "class_balanced"}, "sampling: uniform"),
        ({"class_weights": "balanced", "dataset": RANDOM}, "class_weights: none"),
    ],
)
def test_a_class_without_labels_cannot_be_balanced(setting, instead):
    message = f"1 of 3 classes have none among 9: paper; raise dataset.labels, or use {instead}"
    with pytest.raises(DataError, match=message):
        class_weights(config(**setting), LABELS[:-1], CLASSES)
