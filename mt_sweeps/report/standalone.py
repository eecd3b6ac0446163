"""The figures of a report outside its page, with colours and titles of their own: for a notebook."""

import re
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go

from mt_sweeps.report import build
from mt_sweeps.report.axes import axes
from mt_sweeps.report.chapters import all_chapters
from mt_sweeps.report.plotting import PAPER, Plot
from mt_sweeps.storage.home import SweepStore

_TITLE_HEIGHT = 40  # pixels


def figures(sweep: SweepStore) -> dict[str, go.Figure]:
    """Return the figures of a sweep's report by title, in its order and in its light colours.

    Raises:
        InputError: the sweep cannot be read, or a plugin that it needs is not imported.
    """
    colors, found = _light_colors(), {}
    for chapter in all_chapters(build(sweep), axes(sweep.load_spec())):
        for figure in chapter.figures:
            title = f"{chapter.title}: {figure.title}" if figure.title in found else figure.title
            found[title] = _standalone(figure.plot, title, colors)
    return found


def _standalone(plot: Plot, title: str, colors: dict[str, str]) -> go.Figure:
    figure = go.Figure(_colored(plot, colors))
    layout = figure.layout
    return figure.update_layout(
        title={"text": title, "x": 0.01, "y": 0.98, "yanchor": "top"},
        height=layout.height + _TITLE_HEIGHT,
        margin_t=layout.margin.t + _TITLE_HEIGHT,
        paper_bgcolor=colors[PAPER],
    )


def _colored(value: Any, colors: dict[str, str]) -> Any:
    """Return a plot with the colours that the page's style sheet has for their names, as page.js does."""
    if isinstance(value, dict):
        return {key: _colored(one, colors) for key, one in value.items()}
    if isinstance(value, list):
        return [_colored(one, colors) for one in value]
    return colors.get(value, value) if isinstance(value, str) else value


def _light_colors() -> dict[str, str]:
    """Return the colours by name, as `plotting` has them: `var(--ink)`. In the style sheet, light ones are first."""
    style = (files("mt_sweeps.report") / "page.css").read_text(encoding="utf-8")
    named = re.findall(r"(--[a-z]+): (#[0-9a-f]{6});", style)
    return {f"var({name})": color for name, color in reversed(named)}
