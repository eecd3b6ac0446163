"""Texts for numbers, durations and the values of a trial."""

import time
from collections.abc import Sequence

from mt_sweeps.search_space.space import Value, Values
from trainers.errors import escaped
from trainers.report import Report, error_name, metric_of

_FORMULA: tuple[str, ...] = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
)
_FORMULA += ("\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # spreadsheets of some languages


def percent(fraction: float | None) -> str:
    """Return a fraction in percent, or an empty text for None: `5.3 %`."""
    return "" if fraction is None else f"{100 * fraction:.1f} %"


def metric_text(name: str, error: tuple[float, float] | None) -> str:
    """Return an error with what it is, if it is no plain error: `balanced error 5.3 % ± 1.3`, or `5.3 % ± 1.3`."""
    return error_text(error) if name == "error" else f"{name} {error_text(error)}"


def error_text(error: tuple[float, float] | None) -> str:
    """Return an error rate with its standard error, or an empty text for None: `5.3 % ± 1.3`."""
    return "" if error is None else f"{100 * error[0]:.1f} % ± {100 * error[1]:.1f}"


def errors_text(report: Report, metric: str = "validation.teacher_error") -> str:
    """Return the validation errors of a report, the teacher's first: `teacher 5.3 %, student 6.1 %`.

    Args:
        report: of an evaluation.
        metric: which error, of either network: `balanced error: teacher 5.3 %, student 6.1 %`.
    """
    name = error_name(metric)
    errors = {network: report.metrics.get(metric_of(metric, network)) for network in ("teacher", "student")}
    text = ", ".join(f"{network} {percent(error)}" for network, error in errors.items() if error is not None)
    return text if name == "error" or not text else f"{name}: {text}"


def values_text(values: Values) -> str:
    """Return the values of a trial in one line: `ema.decay 0.99  consistency.loss mse`."""
    return "  ".join(f"{key} {value_text(value)}" for key, value in values.items())


def value_text(value: Value) -> str:
    """Return one value, a float with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else escaped(value)


def labeled(label: str, lines: Sequence[str]) -> list[str]:
    """Return lines with a label before the first of them, indented as the answers of commands are."""
    return [f"  {label if i == 0 else '':10} {line}" for i, line in enumerate(lines)]


def counted(count: int, word: str) -> str:
    """Return a number with its noun: `1 trial`, `2 trials`."""
    return f"{count} {word}" + "s" * (count != 1)


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: `45 s`, `3 min 20 s`, `5 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def local_time(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as the clock on this machine's wall: `2026-11-28 09:12`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def no_formula(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula: with an apostrophe before what would begin one."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
