"""By how much more than noise one trial is worse than another, with numbers computed by hand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mt_sweeps.study.ranking_error import RankingError
from tests.helpers.sweeps import report, supervised_report
from trainers.confusion import correct_bits

TEACHER = "validation.teacher_error"


def on_images(*correct, standard_error=0.05):
    """The error of a trial that classified these images correctly (1) or wrongly (0)."""
    return RankingError(1 - np.mean(correct), standard_error, correct_bits(np.array(correct, bool)))


@pytest.mark.parametrize(
    ("ours", "others", "standard_errors"),
    [
        ([1, 1, 1, 0], [1, 1, 1, 0], 0.0),  # no image tells them apart
        ([1, 0, 0, 1, 1], [1, 1, 1, 1, 1], 2 / math.sqrt(2)),
        ([0, 0, 0, 0, 1, 1, 0], [1, 1, 1, 1, 0, 1, 0], 3 / math.sqrt(5)),  # four lost, one won
        ([1] * 9, [0] * 9, -3.0),
        ([1, 0], [0, 1], 0.0),  # as many lost as won
    ],
)
def test_on_the_same_images_those_count_that_one_of_two_trials_classified_correctly(ours, others, standard_errors):
    assert on_images(*ours).standard_errors_above(on_images(*others)) == pytest.approx(standard_errors)
    assert on_images(*others).standard_errors_above(on_images(*ours)) == pytest.approx(-standard_errors)


def test_trials_that_are_wrong_on_the_same_hard_images_differ_by_more_than_their_own_errors_show():
    hard = [0] * 30 + [1] * 70
    error = math.sqrt(0.3 * 0.7 / 100)
    better, worse = on_images(*hard, standard_error=error), on_images(0, 0, 0, 0, *hard[4:-4], 0, 0, 0, 0)
    assert worse.standard_errors_above(better) == pytest.approx(4 / 2)
    separate = RankingError(worse.rate, error).standard_errors_above(RankingError(better.rate, error))
    assert separate == pytest.approx(0.04 / (error * math.sqrt(2)))
    assert separate < 1


def test_without_the_images_of_either_the_standard_errors_of_both_count():
    assert RankingError(0.5, 0.03).standard_errors_above(RankingError(0.4, 0.04)) == pytest.approx(0.1 / 0.05)
    assert RankingError(0.5, 0.03).standard_errors_above(on_images(1, 0, standard_error=0.04)) == 0.0
    longer = RankingError(0.5, 0.03, "ff" * 2)
    assert longer.standard_errors_above(RankingError(0.4, 0.04, "ff")) == pytest.approx(2.0), "of other images"


def test_errors_whose_noise_no_version_recorded_differ_without_limit_or_not_at_all():
    assert RankingError(0.5).standard_errors_above(RankingError(0.4)) == math.inf
    assert RankingError(0.4).standard_errors_above(RankingError(0.5)) == -math.inf
    assert RankingError(0.4).standard_errors_above(RankingError(0.4)) == 0.0


def test_it_is_that_of_the_better_network_with_the_images_of_that_network():
    one = report(90, teacher=0.5, student=0.25)
    one = replace(one, correct={"validation.teacher": "f0", "validation.student": "fc"})
    one.metrics["validation.student_standard_error"] = 0.02
    assert RankingError.of(one, TEACHER) == RankingError(0.25, 0.02, "fc")
    assert RankingError.of(supervised_report(90, 0.25), TEACHER) == RankingError(0.25, 0.01)


def test_a_balanced_error_is_no_mean_over_the_images_and_has_its_own_standard_error():
    balanced = {"validation.student_balanced_error": 0.4, "validation.student_balanced_standard_error": 0.1}
    one = replace(supervised_report(90, 0.25), correct={"validation.student": "fc"})
    one.metrics.update(balanced)
    assert RankingError.of(one, "validation.teacher_balanced_error") == RankingError(0.4, 0.1)


def test_what_the_ledger_has_is_the_same_and_of_earlier_versions_the_rate():
    error = on_images(1, 0, 1)
    assert RankingError.from_json(error.rate, json.dumps(error.as_json())) == error
    assert RankingError.from_json(0.3, None) == RankingError(0.3)
    with pytest.raises(ValueError, match="correct"):
        RankingError.from_json(0.3, '{"correct": [1]}')
