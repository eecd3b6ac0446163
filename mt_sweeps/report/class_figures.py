"""The figure of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from mt_sweeps.report.plotting import BEST, PAPER, Plot, axis_of, plain, plot_of
from trainers.confusion import Confusion


def confusion(matrix: Confusion, classes: Sequence[str]) -> Plot:
    """Plot how many images of each class (row) were classified as each class (column).

    Args:
        matrix: of the classes.
        classes: their names.
    """
    names = [plain(name) for name in classes]
    shares = matrix.counts / np.maximum(matrix.images, 1)[:, None]
    cells = go.Heatmap(
        x=names,
        y=names,
        z=shares.round(4).tolist(),
        zmin=0,
        zmax=1,
        text=matrix.counts.tolist(),
        texttemplate="%{text}",
        hovertemplate="%{y} classified as %{x}: %{text} images, %{z:.1%} of the class<extra></extra>",
        showscale=False,
        xgap=1,
        ygap=1,
    )
    axis = {"type": "category", "showgrid": False, "ticks": "", "showline": False, "automargin": True}
    plot = plot_of(
        [cells],
        120 + max(22 * len(names), 100),
        xaxis=axis_of("classified as", **axis | {"tickangle": -40}),
        yaxis=axis_of("class", **axis, autorange="reversed"),
        showlegend=False,
    )
    plot["data"][0]["colorscale"] = [[0, PAPER], [1, BEST]]  # plotly would refuse colours that only the page knows
    return plot
