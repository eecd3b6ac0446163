import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from trainers.confusion import Confusion

BY_HAND = Confusion(np.array([[8, 2, 0], [1, 3, 0], [1, 0, 1]]))
"""Ten, four and two images. Errors 0.2, 0.25, 0.5; F1 16/20, 6/9, 2/3."""


def drawn(seed: int, images: int = 300, labels=(0, 1, 2, 3)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(
        labels, images, p=np.array([0.6, 0.3, 0.08, 0.02])[: len(labels)] / sum([0.6, 0.3, 0.08, 0.02][: len(labels)])
    )
    return truth, np.where(rng.random(images) < 0.3, rng.integers(0, 4, images), truth)


def test_the_numbers_are_those_computed_by_hand():
    assert BY_HAND.class_errors == pytest.approx([0.2, 0.25, 0.5])
    assert BY_HAND.balanced_error == pytest.approx(0.95 / 3)
    assert BY_HAND.macro_f1 == pytest.approx((0.8 + 2 / 3 + 2 / 3) / 3)
    variances = (1.6 + 0.25) / 11**2 + (0.75 + 0.25) / 5**2 + (0.5 + 0.25) / 3**2  # Wilson's, with z = 1
    assert BY_HAND.balanced_standard_error == pytest.approx(variances**0.5 / 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_are_those_of_scikit_learn(seed):
    truth, predictions = drawn(seed)
    confusion = Confusion.of(truth, predictions, 4)
    assert (confusion.counts == confusion_matrix(truth, predictions, labels=range(4))).all()
    assert confusion.balanced_error == pytest.approx(1 - balanced_accuracy_score(truth, predictions))
    assert confusion.macro_f1 == pytest.approx(f1_score(truth, predictions, average="macro"))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("known", [4, 6])
def test_classes_without_images_count_as_in_scikit_learn(known):
    truth, predictions = drawn(0, labels=(0, 1))  # 2 and 3 are predicted, 4 and 5 are neither
    confusion = Confusion.of(truth, predictions, known)
    assert confusion.class_errors[2:] == [None] * (known - 2)
    assert confusion.balanced_error == pytest.approx(1 - balanced_accuracy_score(truth, predictions))
    assert confusion.macro_f1 == pytest.approx(f1_score(truth, predictions, average="macro"))
    assert confusion.macro_f1_standard_error > 0


def test_the_standard_error_of_the_macro_f1_is_the_spread_over_other_images():
    truth, predictions = drawn(0, 400)
    rng = np.random.default_rng(1)
    resamples = [rng.integers(0, 400, 400) for _ in range(1500)]
    spread = np.std([Confusion.of(truth[one], predictions[one], 4).macro_f1 for one in resamples])
    assert Confusion.of(truth, predictions, 4).macro_f1_standard_error == pytest.approx(spread, rel=0.1)


def test_a_network_without_errors_and_one_that_predicts_a_single_class():
    perfect = Confusion(np.diag([90, 10]))
    assert (perfect.balanced_error, perfect.macro_f1) == (0, 1)
    assert perfect.balanced_standard_error == pytest.approx(((0.5 / 91) ** 2 + (0.5 / 11) ** 2) ** 0.5 / 2)
    assert perfect.macro_f1_standard_error == perfect.balanced_standard_error
    constant = Confusion(np.array([[90, 0], [10, 0]]))
    assert constant.balanced_error == 0.5  # though 90 % are right
    assert constant.macro_f1 == pytest.approx((180 / 190 + 0) / 2)


def test_a_matrix_is_written_without_its_zeros_and_read_again():
    content = json.loads(json.dumps(BY_HAND.as_json()))
    assert content["classes"] == 3
    assert content["cells"] == [[0, 0, 8], [0, 1, 2], [1, 0, 1], [1, 1, 3], [2, 0, 1], [2, 2, 1]]
    assert (Confusion.from_json(content).counts == BY_HAND.counts).all()
