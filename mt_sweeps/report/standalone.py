"""The figures of a report outside its page: SVG images with a style, a title and a legend of their own."""

import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from mt_sweeps.report import build
from mt_sweeps.report.axes import axes
from mt_sweeps.report.chapters import all_chapters
from mt_sweeps.report.plotting import Plot, escape, mark
from mt_sweeps.storage.home import SweepStore
from trainers.files import write_atomically

_TITLE, _ROW = 26, 16  # heights of the title and of a row of the legend, in units of the drawing


@dataclass(frozen=True)
class StandaloneFigure:
    """A figure that a notebook shows.

    Attributes:
        title: of the figure.
        caption: what it shows, in a sentence or two.
        svg: the image, in the report's light colours.
    """

    title: str
    caption: str
    svg: str

    def save(self, file: str | Path) -> None:
        """Write the image to a file, atomically.

        Raises:
            OSError: it cannot be written.
        """
        write_atomically(Path(file), self.svg)

    def _repr_svg_(self) -> str:
        return self.svg


def figures(sweep: SweepStore) -> dict[str, StandaloneFigure]:
    """Return the figures of a sweep's report by title, in its order.

    Raises:
        InputError: the sweep cannot be read, or a plugin that it needs is not imported.
    """
    found: dict[str, StandaloneFigure] = {}
    for chapter in all_chapters(build(sweep), axes(sweep.load_spec()), {}, "", ""):
        for figure in chapter.figures:
            title = f"{chapter.title}: {figure.title}" if figure.title in found else figure.title
            found[title] = StandaloneFigure(title, figure.caption, as_svg(figure.plot, title))
    return found


def as_svg(plot: Plot, title: str) -> str:
    """Return a drawing as an SVG file: with its title, its legend and the colours of the light page."""
    above = _TITLE + _ROW * len(plot.legend)
    height = plot.height + above
    rows = "".join(
        f'<g transform="translate(8 {_TITLE + _ROW * row})">{mark(kind, colour)}'
        f'<text x="28" y="10">{escape(text)}</text></g>'
        for row, (kind, colour, text) in enumerate(plot.legend)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 {plot.width} {height}" '
        f'width="{1.5 * plot.width:g}" height="{1.5 * height:g}" role="img" aria-label="{escape(title)}">'
        f'<style>{_style()}</style><rect class="paper" width="100%" height="100%"/>'
        f'<text class="label" x="8" y="17">{escape(title)}</text>{rows}'
        f'<g transform="translate(0 {above})">{plot.body}</g></svg>'
    )


@functools.cache
def _style() -> str:
    """Return the part of the page's style sheet that is for figures, with its light colours, which are the first."""
    page = (files("mt_sweeps.report") / "page.css").read_text(encoding="utf-8")
    colours = dict(reversed(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", page)))
    part = page.partition("/* Figures.")[2].partition("*/")[2].partition(".plot [data-t]")[0]
    part = re.sub(r"svg\.plot \{[^}]*\}", "", part)
    return (
        re.sub(r"var\(--(\w{2,})\)", lambda name: colours[name.group(1)], part) + f".paper{{fill:{colours['paper']}}}"
    )
