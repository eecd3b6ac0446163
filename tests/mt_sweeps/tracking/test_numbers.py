import math

import pytest

from mt_sweeps.tracking.numbers import param_text, rounded
from trainers.report import Report


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (72.40004497374505, "72.4"),
        (0.00012345678, "0.0001235"),
        (0.987335367801, "0.98734"),
        (0.99987654321, "0.9998765"),
        (12345.678, "12346.0"),
        (0.31250, "0.3125"),
        (0.123456, "0.123456"),
        (30.0, "30.0"),
        (0.999, "0.999"),
        (16, "16"),
        ("kl", "kl"),
        (True, "True"),
        (math.inf, "inf"),
    ],
)
def test_a_drawn_value_has_four_digits_and_a_typed_one_all(value, text):
    assert param_text(value) == text


def test_metrics_are_rounded_to_what_they_mean():
    metrics = {
        "validation.teacher_error": 17 / 300,
        "validation.teacher_standard_error": 0.013350,
        "train.loss": 0.123456,
        "time.step_seconds": 12345.678,
        "verdict.gain": -0.19333,
        "train.nan": math.nan,
    }
    shown = rounded(Report(3, 1.0, metrics)).metrics
    assert math.isnan(shown.pop("train.nan"))
    assert shown == {
        "validation.teacher_error": 0.0567,
        "validation.teacher_standard_error": 0.0134,
        "train.loss": 0.1235,
        "time.step_seconds": 12346.0,
        "verdict.gain": -0.1933,
    }
