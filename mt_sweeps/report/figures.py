"""The figures on the finalists.

All figures of a report are drawn from its findings, and not by `optuna.visualization`, whose colours are fixed and
which draws one trace per trial.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from mt_sweeps.report.plotting import (
    BEST,
    FAINT,
    INK,
    MUTED,
    OTHER,
    Plot,
    axis_of,
    errors_axis,
    names_axis,
    plain,
    plot_of,
    vertical,
)
from mt_sweeps.results.finalists import Verdict
from mt_sweeps.results.statistics import Interval


def means(verdict: Verdict, by_seed: dict[str, dict[int, float]]) -> Plot:
    """Plot the mean error of each contender with its interval, over the errors of its seeds."""
    names = [plain(name) for name in verdict.means]
    seeds = [(plain(name), 100 * error) for name in verdict.means for error in by_seed.get(name, {}).values()]
    points = go.Scatter(
        x=[error for _, error in seeds],
        y=[name for name, _ in seeds],
        mode="markers",
        marker={"color": FAINT, "size": 6, "opacity": 0.7},
        hovertemplate="%{y}, one seed: %{x:.1f} %<extra></extra>",
    )
    colours = [BEST, *[INK] * (len(names) - 1)]
    return _forest([points, *_intervals(names, list(verdict.means.values()), colours)], names, "mean error", " %")


def differences(verdict: Verdict) -> Plot:
    """Plot the error of the best of the search less that of every other contender, with intervals."""
    compared = verdict.comparisons
    names = [plain(f"less {one.b}") for one in compared]
    colours = [BEST if one.winner == one.a else OTHER if one.winner else MUTED for one in compared]
    traces = _intervals(names, [one.difference for one in compared], colours, "points")
    plot = _forest(traces, names, f"{plain(compared[0].a)} less another, in points")
    plot["layout"]["shapes"] = [vertical(0.0, INK, "solid")]
    plot["layout"]["xaxis"].pop("rangemode")
    return plot


def seeds(by_seed: dict[str, dict[int, float]], first: str, name: str = "error") -> Plot:
    """Plot the errors of the finalists by seed, since a seed has the same effect on all of them.

    Args:
        by_seed: errors by contender and seed.
        first: the contender that is marked.
        name: what the errors are: `error` or `balanced error`.
    """
    order = sorted({seed for errors in by_seed.values() for seed in errors})
    traces = []
    for i, (contender, errors) in enumerate(by_seed.items()):
        colour = BEST if contender == first else OTHER if contender == "supervised" else MUTED
        traces.append(
            go.Scatter(
                x=[str(seed) for seed in order],
                y=[100 * errors[seed] if seed in errors else None for seed in order],
                mode="lines+markers",
                line={
                    "color": colour,
                    "width": 2.5 if contender == first else 1.5,
                    "dash": ("solid", "dot", "dash")[i % 3],
                },
                marker={"size": 7, "symbol": ("circle", "square", "diamond", "cross")[i % 4]},
                name=plain(contender),
                hovertemplate="seed %{x}: %{y:.1f} %<extra>" + plain(contender) + "</extra>",
            )
        )
    across = axis_of("seed and label draw", type="category")
    return plot_of(
        traces, 300, xaxis=across, yaxis=errors_axis([e for errors in by_seed.values() for e in errors.values()], name)
    )


def _forest(traces: list[Any], names: list[str], title: str, suffix: str = "") -> Plot:
    across = axis_of(title, ticksuffix=suffix, rangemode="tozero", nticks=6)
    plot = plot_of(traces, 76 + 38 * len(names), xaxis=across, yaxis=names_axis(len(names)), showlegend=False)
    plot["layout"]["yaxis"] |= {"type": "category", "categoryorder": "array", "categoryarray": names}
    return plot


def _intervals(names: list[str], intervals: Sequence[Interval], colours: list[str], unit: str = "%") -> list[Any]:
    return [
        go.Scatter(
            x=[100 * one.mean],
            y=[name],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [100 * (one.high - one.mean)],
                "arrayminus": [100 * (one.mean - one.low)],
                "color": colour,
                "thickness": 2,
                "width": 5,
            },
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": "square"},
            hovertemplate=f"%{{y}}: {one.text(unit)}<extra></extra>",
        )
        for name, one, colour in zip(names, intervals, colours, strict=True)
    ]
