"""The components of a report's page, and how its numbers are written."""

from dataclasses import dataclass, field
from typing import Any

from mt_sweeps.formatting import duration, value_text
from mt_sweeps.report.findings import Parameter

_MOST_ROWS = 40  # of a table beside a figure; a longer one is left out


@dataclass(frozen=True)
class Table:
    """A table of text; the first cell of each row names the row."""

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Figure:
    """A plot, a caption that says what it shows, and its numbers if they are few."""

    title: str
    plot: dict[str, Any]
    caption: str
    table: Table | None = None
    min_width: int = 0  # in pixels; on a narrower page the figure scrolls


@dataclass(frozen=True)
class Chapter:
    """A chapter; on the page, its components stand in the order of these fields."""

    title: str
    lead: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    small: bool = False  # whether three figures stand side by side

    @property
    def id(self) -> str:
        """The anchor of the chapter on the page."""
        return self.title.lower().replace(" ", "-")


def small(table: Table) -> Table | None:
    """Return a table that stands beside a figure, or None if it is too long for that."""
    return table if len(table.rows) <= _MOST_ROWS else None


def searched(parameter: Parameter) -> str:
    """Return what was searched of a parameter: '3 to 300 (log)'."""
    values = [value_text(value) for value in parameter.range]
    if parameter.scale == "categorical":
        return ", ".join(values)
    scale = {"linear": "", "log": " (log)", "one_minus_log": " (log of 1 − x)"}[parameter.scale]  # noqa: RUF001
    return f"{values[0]} to {values[1]}{scale}"


def hours_text(hours: float) -> str:
    """Return '12.5 h' or '1.25 h'; of less than an hour, minutes and seconds."""
    return f"{hours:.1f} h" if hours >= 10 else f"{hours:.2f} h" if hours >= 1 else duration(3600 * hours)
