"""The components of a report's page, and how its numbers are written."""

from dataclasses import dataclass, field

from mt_sweeps.formatting import duration, value_text
from mt_sweeps.report.plotting import Plot
from mt_sweeps.report.search_findings import Parameter
from mt_sweeps.results.pictures import PictureSet

_MOST_ROWS = 40  # of a table beside a figure; a longer one is left out


@dataclass(frozen=True)
class Table:
    """A table of text; the first cell of each row names the row.

    Attributes:
        title: what it shows.
        head: of the columns.
        rows: cells.
        trials: the number of the trial of each row, if rows are trials: figures mark the one that is pointed at.
        links: an address for the first cell of each row, or an empty text.
        shown: rows that are seen at once; the others are folded away. 0: all.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    trials: list[int] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    shown: int = 0

    @property
    def parts(self) -> list[tuple[int, int]]:
        """The first row and the one after the last: of those that are seen at once, and of those folded away."""
        count = len(self.rows)
        return [(0, self.shown), (self.shown, count)] if 0 < self.shown < count else [(0, count)]

    @property
    def css_names(self) -> str:
        """The names of the columns as variables of a style sheet: a narrow page writes each before its cells."""
        return "".join(f'--n{i}:"{_css(name)}";' for i, name in enumerate(self.head, 1))


@dataclass(frozen=True)
class Figure:
    """A plot, a caption that says what it shows, and its numbers if they are few."""

    title: str
    plot: Plot
    caption: str
    table: Table | None = None


@dataclass(frozen=True)
class Link:
    """A place to go on: what stands before it, the address and what it is called."""

    before: str
    address: str
    text: str


@dataclass(frozen=True)
class Chapter:
    """A chapter; on the page, its components stand in the order of these fields."""

    title: str
    lead: list[str] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    pictures: list[PictureSet] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    small: bool = False  # whether three figures stand side by side

    @property
    def id(self) -> str:
        """The anchor of the chapter on the page."""
        return self.title.lower().replace(" ", "-")


def _css(text: str) -> str:
    """Return a text as the inside of a string of a style sheet, blanks escaped too: one after an escape is lost."""
    return "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):06x}" for c in text)


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
    """Return a number of hours as a duration: `5 h 07 min`, `3 min 20 s`; of less than ten seconds, `2.1 s`."""
    seconds = 3600 * hours
    return f"{seconds:.1f} s" if 0 < seconds < 9.95 else duration(seconds)
