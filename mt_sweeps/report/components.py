"""The parts of a report's page, and how its numbers are written."""

from dataclasses import dataclass, field
from typing import Any

from mt_sweeps.formatting import duration, value_text

Findings = dict[str, Any]

_MOST_ROWS = 40  # of a table beside a figure: of more, the figure and its caption speak


@dataclass(frozen=True)
class Table:
    """Cells of text; the first of each row names it."""

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Figure:
    """A plot, what it shows in words, and its numbers where they are few."""

    title: str
    plot: dict[str, Any]
    caption: str
    table: Table | None = None
    min_width: int = 0  # in pixels, below which it scrolls in itself


@dataclass(frozen=True)
class Chapter:
    """A chapter; on the page its parts stand in the order of these fields."""

    title: str
    lead: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    small: bool = False  # figures that three of stand side by side

    @property
    def id(self) -> str:
        """Its anchor on the page."""
        return self.title.lower().replace(" ", "-")


def small(table: Table) -> Table | None:
    """A table to stand beside a figure; none: it is too long for that."""
    return table if len(table.rows) <= _MOST_ROWS else None


def searched(parameter: Findings) -> str:
    """What was searched of a parameter: '3 to 300 (log)'."""
    values = [value_text(value) for value in parameter["range"]]
    if parameter["scale"] == "categorical":
        return ", ".join(values)
    scale = {"linear": "", "log": " (log)", "one_minus_log": " (log of 1 − x)"}[parameter["scale"]]  # noqa: RUF001
    return f"{values[0]} to {values[1]}{scale}"


def hours_text(hours: float) -> str:
    """'12.5 h', '1.25 h', or of less minutes and seconds."""
    return f"{hours:.1f} h" if hours >= 10 else f"{hours:.2f} h" if hours >= 1 else duration(3600 * hours)
