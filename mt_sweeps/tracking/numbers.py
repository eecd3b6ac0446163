"""Numbers as MLflow shows them: with the digits that mean something. Records, ledger and `config.json` have all."""

import math
from typing import Any

from trainers.report import Report

ROUNDED = "mt.rounded"
"""The tag of runs whose numbers are rounded. Those of earlier versions keep all digits: no point can be changed."""
_ERROR_DECIMALS = 4  # a hundredth of a percent: one image of 10,000
_DIGITS = 4  # of losses, seconds, and values that a sampler drew
_TYPED = 6  # significant digits up to which a value is left as it is: a person wrote it


def rounded(report: Report) -> Report:
    """Return a report with its metrics rounded: errors to four decimals, all else to four digits or whole numbers."""
    return Report(report.step, report.time, {name: _metric(name, value) for name, value in report.metrics.items()})


def param_text(value: Any) -> str:
    """Return the value of a parameter. One that was drawn has four digits; of a decay, those of its distance from 1."""
    if not isinstance(value, float) or not math.isfinite(value) or value == _to_digits(value, _TYPED):
        return str(value)
    if 0.9 < value < 1:
        return str(round(1 - _to_digits(1 - value, _DIGITS), 12))
    return str(_to_digits(value, _DIGITS))


def _metric(name: str, value: float) -> float:
    if not math.isfinite(value):
        return value
    return round(value, _ERROR_DECIMALS) if name.endswith(("_error", "_f1")) else _to_digits(value, _DIGITS)


def _to_digits(value: float, digits: int) -> float:
    """Return a number with so many significant digits; those before the point are all kept."""
    before_point = len(str(int(abs(value))))
    return float(f"{value:.{max(digits, before_point)}g}")
