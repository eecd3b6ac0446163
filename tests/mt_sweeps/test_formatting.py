import pytest

from mt_sweeps.formatting import (
    counted,
    duration,
    error_text,
    errors_text,
    metric_text,
    percent,
    value_text,
    values_text,
)
from tests.helpers.sweeps import report
from trainers import Report


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45, "45 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (18_420, "5 h 07 min")],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(seconds) == text


def test_an_error_is_a_percentage_with_its_standard_error():
    assert percent(0.0533) == "5.3 %"
    assert error_text((0.0533, 0.013)) == "5.3 % ± 1.3"
    assert percent(None) == error_text(None) == ""


def test_the_errors_of_a_report_are_named_the_teachers_first():
    assert errors_text(report(100, teacher=0.1, student=0.25)) == "teacher 10.0 %, student 25.0 %"


def test_balanced_errors_are_called_so():
    balanced = Report(100, 0.0, {f"validation.{one}_balanced_error": 0.1 for one in ("student", "teacher")})
    metric = "validation.teacher_balanced_error"
    assert errors_text(balanced, metric) == "balanced error: teacher 10.0 %, student 10.0 %"
    assert metric_text("balanced error", (0.1, 0.02)) == "balanced error 10.0 % ± 2.0"
    assert metric_text("error", (0.1, 0.02)) == "10.0 % ± 2.0"


def test_values_stand_in_one_line_floats_with_four_digits():
    values = {"ema.decay": 0.987763985946, "consistency.loss": "mse", "optimizer.nesterov": True, "steps": 30_000}
    assert values_text(values) == "ema.decay 0.9878  consistency.loss mse  optimizer.nesterov True  steps 30000"
    assert value_text(1e-5) == "1e-05"


def test_a_noun_has_its_plural():
    assert [counted(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
