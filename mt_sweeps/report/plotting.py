"""Colours, axes and marks of all figures.

Colours are names from the page's style sheet (`var(--ink)`), which page.js resolves, so that a figure is light or dark
as its page is.
"""

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

Plot = dict[str, Any]

INK, MUTED, GRID, FAINT = "var(--ink)", "var(--muted)", "var(--grid)", "var(--faint)"
BEST, OTHER, GOOD, PAPER = "var(--best)", "var(--other)", "var(--good)", "var(--paper)"
_CLEAR = "rgba(0,0,0,0)"
_LOG_FROM = 8  # an axis of errors is logarithmic where the largest is so many times the smallest


def plain(text: str) -> str:
    """Escape a text, so that plotly does not read it as its own markup."""
    return html.escape(text, quote=False)


def plot_of(traces: Iterable[Any], height: int, **layout: Any) -> Plot:
    """Return a figure in the colours of the page, without plotly's own template.

    Args:
        traces: plotly's traces.
        height: in pixels; the page decides the width.
        layout: more of plotly's layout settings.
    """
    figure = go.Figure(
        data=list(traces),
        layout={
            "template": {},
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 30, "b": 8},
            "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
            "paper_bgcolor": _CLEAR,
            "plot_bgcolor": _CLEAR,
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.0, "yanchor": "bottom"},
            "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
            "hovermode": "closest",
            "dragmode": False,
            "showlegend": True,
            **layout,
        },
    )
    # Each axis makes room on its own sides alone: else two that move each other go on without end.
    figure.for_each_xaxis(lambda axis: axis.update(automargin="height") if axis.automargin else None)
    figure.for_each_yaxis(lambda axis: axis.update(automargin="width") if axis.automargin else None)
    if not figure.layout.showlegend:
        figure.layout.margin.t = 6
    plot: Plot = json.loads(figure.to_json())
    return plot


def axis_of(title: str, **settings: Any) -> dict[str, Any]:
    """Return an axis with a title, and more of plotly's settings."""
    return {
        "title": {"text": title, "font": {"color": MUTED}, "standoff": 8},
        "fixedrange": True,  # a finger that moves over a figure scrolls the page
        "automargin": True,
        "gridcolor": GRID,
        "linecolor": MUTED,
        "tickcolor": MUTED,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickangle": 0,
        "zeroline": False,
        **settings,
    }


def errors_axis(fractions: Sequence[float], name: str = "error") -> dict[str, Any]:
    """Return an axis of errors in percent, logarithmic if they are far apart, as with a network that did not learn.

    Args:
        fractions: the errors.
        name: what they are: `error` or `balanced error`.
    """
    title = f"validation {name}"
    percent = [100 * error for error in fractions]
    low, high = min(percent, default=0.0), max(percent, default=100.0)
    if low > 0 and high > _LOG_FROM * low:
        return axis_of(title, **log_axis(low, high, " %"))
    room = 0.08 * (high - low) or 1.0
    return axis_of(title, ticksuffix=" %", range=[max(0.0, low - room) if low > 2 * room else 0.0, high + room])


def log_axis(low: float, high: float, unit: str = "") -> dict[str, Any]:
    """Return the settings of a logarithmic axis, with as many ticks as a small figure has room for."""
    decades = math.log10(high / low)
    digits = (1, 2, 5) if decades < 2.2 else (1, 3) if decades < 3 else (1,)
    ticks = [
        float(f"{digit * 10**power:.3g}")
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in digits
    ]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    room = 0.04 * decades
    return {
        "type": "log",
        "range": [math.log10(low) - room, math.log10(high) + room],
        "tickvals": inside,
        "ticktext": [f"{tick:g}{unit}" for tick in inside],
    }


def linear_axis(low: float, high: float) -> dict[str, Any]:
    """Return the settings of a linear axis."""
    room = 0.04 * (high - low)
    return {"range": [low - room, high + room], "nticks": 6}


def names_axis(count: int) -> dict[str, Any]:
    """Return an axis of names, the first at the top."""
    return {**axis_of(""), "showgrid": False, "range": [count - 0.5, -0.5], "ticks": "", "showline": False}


def vertical(at: float, colour: str, dash: str, end: float | None = None) -> dict[str, Any]:
    """Return a vertical line at a coordinate of the x axis, over the whole height or, with `end`, from 0 to there."""
    where = {"yref": "paper", "y0": 0, "y1": 1} if end is None else {"yref": "y", "y0": 0, "y1": end}
    line = {"color": colour, "width": 1, "dash": dash}
    return {"type": "line", "xref": "x", "x0": at, "x1": at, **where, "line": line, "layer": "between"}


def band(low: float, high: float) -> dict[str, Any]:
    """Return the mark of a good region, between two coordinates of the x axis."""
    where = {"xref": "x", "x0": low, "x1": high, "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "rect", **where, "fillcolor": GOOD, "opacity": 0.18, "line": {"width": 0}, "layer": "below"}


def note(x: float, y: float, text: str, **settings: Any) -> dict[str, Any]:
    """Return a short text at a coordinate of the x axis and a fraction of the height."""
    position = {"x": x, "y": y, "xref": "x", "yref": "paper", "showarrow": False}
    return {**position, "text": text, "font": {"size": 11, "color": MUTED}, **settings}
