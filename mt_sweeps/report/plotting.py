"""Static SVG: the scales, axes and marks of all figures.

Colours are classes that the page's style sheet defines, so that a figure is light, dark or printed as its page is. A
figure is drawn for a narrow page and enlarged on a wide one.
"""

import html
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

WIDE, NARROW = 400, 280  # units of a drawing: pixels on a phone, for a figure alone and for one of three in a row
INK, MUTED, FAINT, BEST, OTHER, GOOD = "ink", "muted", "faint", "best", "other", "good"  # colours of page.css
_LETTER = 6.1  # units that a letter of 11 pixels takes, rather too many than too few
_LOG_FROM = 8  # an axis of errors is logarithmic where the largest is so many times the smallest
_TOP, _BOTTOM, _RIGHT = 26, 38, 12

Point = tuple[float, float]


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Attributes:
        width: in units of the drawing.
        height: likewise.
        body: SVG elements; all texts in them are escaped.
        legend: the mark, its colour and what it stands for.
    """

    width: int
    height: int
    body: str
    legend: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Scale:
    """An axis: where it begins and ends, and what stands there.

    Attributes:
        title: what it shows.
        low: coordinate of its beginning.
        high: coordinate of its end.
        ticks: values, and their texts.
        coordinate: of a value.
        is_names: whether the ticks are names, so that the figure has no lines there.
    """

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    coordinate: Callable[[float], float] = field(default=float)
    is_names: bool = False

    def fraction(self, value: float) -> float:
        """Return where a value lies between the beginning (0) and the end (1)."""
        return (self.coordinate(value) - self.low) / (self.high - self.low)


def linear(title: str, low: float, high: float, unit: str = "", room: float = 0.0) -> Scale:
    """Return a linear scale, with room at both ends: a share of the range."""
    beside = room * (high - low)
    return Scale(title, low - beside, high + beside, [(tick, f"{tick:g}{unit}") for tick in even_ticks(low, high)])


def logarithmic(title: str, low: float, high: float, unit: str = "") -> Scale:
    """Return a logarithmic scale, which its title says; low is above 0."""
    room = 0.05 * math.log(high / low)
    ticks = [(tick, f"{tick:g}{unit}") for tick in log_ticks(low, high)]
    return Scale(f"{title} (logarithmic)", math.log(low) - room, math.log(high) + room, ticks, math.log)


def errors_scale(fractions: Sequence[float], title: str = "validation error") -> Scale:
    """Return a scale of errors in percent, logarithmic if they are far apart, as with a network that did not learn.

    Args:
        fractions: the errors.
        title: what they are, and of which images.
    """
    percent = [100 * error for error in fractions]
    low, high = min(percent, default=0.0), max(percent, default=100.0)
    if low > 0 and high > _LOG_FROM * low:
        return logarithmic(title, low, high, " %")
    room = 0.08 * (high - low) or 1.0
    return linear(title, max(0.0, low - room) if low > 2 * room else 0.0, high + room, " %")


def names_scale(title: str, names: Sequence[str]) -> Scale:
    """Return a scale of names, at 0, 1, 2, ..."""
    return Scale(title, -0.6, len(names) - 0.4, list(enumerate(names)), is_names=True)


def even_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers between two others, evenly spread, at most one more than `most`."""
    if high <= low:
        return [low]
    power = 10 ** math.floor(math.log10((high - low) / most))
    step = next(digit * power for digit in (1, 2, 2.5, 5, 10) if digit * power * most >= 0.999 * (high - low))
    ticks = [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return [float(f"{tick:.10g}") for tick in ticks]


def log_ticks(low: float, high: float) -> list[float]:
    """Return the round numbers between two others that are above 0, for a logarithmic axis."""
    decades = math.log10(high / low)
    digits: tuple[float, ...] = (1, 3) if decades < 3 else (1,)
    if decades < 2.2:
        digits = (1, 2, 5) if decades > 1.1 else (1, 1.5, 2, 3, 5, 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{digit * 10.0**power:.3g}") for power in powers for digit in digits]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return inside if len(inside) > 1 else [float(f"{end:.3g}") for end in (low, high)]


class Canvas:
    """A figure with two axes, to draw marks on. Texts are escaped here, and nowhere else.

    Args:
        x: the scale from left to right.
        y: the scale from bottom to top.
        height: of the figure, in units.
        width: likewise.
    """

    def __init__(self, x: Scale, y: Scale, height: int, width: int = WIDE) -> None:
        self._x, self._y, self._width = x, y, width
        self._left = 8 + text_width(max((text for _, text in y.ticks), key=len, default=""))
        self._is_slanted = x.is_names and sum(text_width(text) + 10 for _, text in x.ticks) > width - self._left
        slant = 0.6 * text_width(max((shortened(text) for _, text in x.ticks), key=len)) if self._is_slanted else 0
        self._height = height + slant
        self._bottom = _BOTTOM + slant
        self._parts: list[str] = []
        self._legend: list[tuple[str, str, str]] = []
        self._axes()

    def x(self, value: float) -> float:
        """Return where a value of the x axis is drawn."""
        return self._left + self._x.fraction(value) * (self._width - _RIGHT - self._left)

    def y(self, value: float) -> float:
        """Return where a value of the y axis is drawn."""
        return self._height - self._bottom - self._y.fraction(value) * (self._height - self._bottom - _TOP)

    def line(self, points: Iterable[Point], colour: str, style: str = "", trial: int | None = None) -> None:
        """Draw a line.

        Args:
            points: values on both axes.
            colour: a class.
            style: more classes: strong, dashed, dotted, light.
            trial: its number, if the line is that of a trial.
        """
        self._parts.append(path([(self.x(x), self.y(y)) for x, y in points], colour, style, trial))

    def steps(self, points: Sequence[Point], colour: str) -> None:
        """Draw a line that keeps the height of each point until the next."""
        corners = [(after[0], before[1]) for before, after in pairwise(points)]
        stairs = [point for pair in zip(points, corners, strict=False) for point in pair] + list(points[-1:])
        self.line(stairs, colour, "strong")

    def dots(
        self, points: Iterable[tuple[float, float, int | None]], colour: str, hollow: bool = False, size: float = 3
    ) -> None:
        """Draw circles at values on both axes, of the trials with these numbers."""
        circles = "".join(circle(self.x(x), self.y(y), size, trial) for x, y, trial in points)
        if circles:
            self._parts.append(f'<g class="{"ring" if hollow else "dot"} {colour}">{circles}</g>')

    def diamond(self, x: float, y: float, colour: str, trial: int) -> None:
        """Draw a diamond, around the dot of a trial."""
        across, up = number(self.x(x)), number(self.y(y) - 7)
        self._parts.append(f'<path class="dot {colour}" data-t="{trial}" d="M{across} {up}l7 7l-7 7l-7 -7z"/>')

    def vertical(self, at: float, text: str, is_late: bool) -> None:
        """Draw a dashed line over the whole height, with a text along it: at its top, or, if late, at its bottom."""
        across, low, high = self.x(at), self._height - self._bottom, float(_TOP)
        self._parts.append(path([(across, low), (across, high)], MUTED, "thin dashed"))
        x, y = number(across - 3), number(high + 2 if is_late else low - 2)
        anchor = "end" if is_late else "start"
        turned = f'transform="rotate(-90 {x} {y})" text-anchor="{anchor}"'
        self._parts.append(f'<text class="note halo" x="{x}" y="{y}" {turned}>{escape(text)}</text>')

    def band(self, low: float, high: float) -> None:
        """Mark a part of the x axis, over the whole height."""
        left, right = sorted((self.x(low), self.x(high)))
        if right - left < 3:
            left, right = left - 1.5, right + 1.5
        self._parts.insert(0, rectangle(left, _TOP, right - left, self._height - self._bottom - _TOP, GOOD))

    def explain(self, mark: str, colour: str, text: str) -> None:
        """Add a line to the legend."""
        self._legend.append((mark, colour, text))

    def plot(self) -> Plot:
        """Return what was drawn."""
        return Plot(self._width, math.ceil(self._height), "".join(self._parts), tuple(self._legend))

    def _axes(self) -> None:
        """Draw both axes with their titles, their ticks, and a line at each tick that is a number."""
        left, right, low = self._left, self._width - _RIGHT, self._height - self._bottom
        self._parts.append(written(2, 12, self._y.title, "title"))
        self._parts.append(written(right, self._height - 6, self._x.title, "title", "end"))
        for value, text in self._y.ticks:
            up = self.y(value)
            self._parts.append(path([(left, up), (right, up)], "grid", "thin"))
            self._parts.append(written(left - 5, up + 4, text, "tick", "end"))
        beyond = -math.inf
        for value, text in sorted(self._x.ticks, key=lambda tick: self.x(tick[0])):
            across, half = self.x(value), text_width(text) / 2
            if self._is_slanted:
                x, y = number(across), number(low + 13)
                turned = f'transform="rotate(-35 {x} {y})" text-anchor="end"'
                self._parts.append(f'<text class="tick" x="{x}" y="{y}" {turned}>{escape(shortened(text))}</text>')
            elif across - half > beyond + 3:  # else it would stand on the one before
                at = min(max(across, half), self._width - half)
                self._parts.append(path([(across, low), (across, low + 4)], MUTED, "thin"))
                self._parts.append(written(at, low + 16, text, "tick", "middle"))
                beyond = at + half
        self._parts.append(path([(left, low), (right, low)], MUTED, "thin"))


def mark(kind: str, colour: str) -> str:
    """Return the mark of a line of a legend, 22 units wide and 12 high.

    Args:
        kind: `line` with the classes of its style, `square`, or the class of a circle.
        colour: a class.
    """
    if kind.startswith("line"):
        return f'<path class="{kind} {colour}" d="M1 6L21 6"/>'
    if kind == "square":
        return f'<rect class="area {colour}" x="7" y="2" width="8" height="8" fill-opacity="1"/>'
    return f'<g class="{kind} {colour}"><circle cx="11" cy="6" r="3.5"/></g>'


def path(points: Sequence[Point], colour: str, style: str = "", trial: int | None = None) -> str:
    """Return a line through points of the drawing."""
    if not points:
        return ""
    of_trial = "" if trial is None else f' data-t="{trial}"'
    steps = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f'<path class="{f"line {colour} {style}".strip()}"{of_trial} d="M{steps}"/>'


def uprights(x: float, rows: Sequence[tuple[float, float]], colour: str) -> str:
    """Return a vertical line in pieces, one beside each row of marks: names stand between them, with no line in them.

    Args:
        x: where the line is.
        rows: top and foot of each piece.
        colour: a class.
    """
    return "".join(path([(x, top), (x, foot)], colour, "thin") for top, foot in rows)


def circle(x: float, y: float, size: float, trial: int | None = None) -> str:
    """Return a circle at a point of the drawing; its group has the colour."""
    of_trial = "" if trial is None else f' data-t="{trial}"'
    return f'<circle{of_trial} cx="{number(x)}" cy="{number(y)}" r="{number(size)}"/>'


def rectangle(x: float, y: float, width: float, height: float, colour: str, opacity: float | None = None) -> str:
    """Return a filled rectangle; the style sheet says how opaque, if it is not said here."""
    of_one = "" if opacity is None else f' fill-opacity="{number(opacity, 3)}"'
    place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
    return f'<rect class="area {colour}" {place}{of_one}/>'


def written(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    """Return a text; y is that of its foot."""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text class="{style}" x="{number(x)}" y="{number(y)}"{where}>{escape(text)}</text>'


def escape(text: str) -> str:
    """Return a text that is no markup."""
    return html.escape(text)


def text_width(text: str) -> float:
    """Return how wide a text is about, in units."""
    return _LETTER * len(text)


def shortened(text: str, most: int = 16) -> str:
    """Return a text of at most so many letters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(value: float, digits: int = 1) -> str:
    """Return a coordinate, as short as it can be."""
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
