"""Numbers, durations and the values of a trial, in words."""

from mt_sweeps.search_space.space import Value, Values
from trainers.report import Report


def percent(share: float | None) -> str:
    """0.0533 -> '5.3 %'."""
    return "" if share is None else f"{100 * share:.1f} %"


def error_text(error: tuple[float, float] | None) -> str:
    """An error rate with its standard error: '5.3 % ± 1.3'."""
    return "" if error is None else f"{100 * error[0]:.1f} % ± {100 * error[1]:.1f}"


def errors_text(report: Report) -> str:
    """Both validation errors of a report, the teacher's first."""
    return ", ".join(
        f"{network} {percent(report.metrics[name])}"
        for network in ("teacher", "student")
        if (name := f"validation.{network}_error") in report.metrics
    )


def values_text(values: Values) -> str:
    """Searched values in one line."""
    return "  ".join(f"{key} {value_text(value)}" for key, value in values.items())


def value_text(value: Value) -> str:
    """One searched value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(count: int, word: str) -> str:
    """'1 trial', '2 trials'."""
    return f"{count} {word}" + "s" * (count != 1)


def duration(seconds: float) -> str:
    """'45 s', '3 min 20 s' or '5 h 07 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
