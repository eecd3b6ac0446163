"""The figures on the search: how it went, and the error over the searched keys."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from mt_sweeps.formatting import value_text
from mt_sweeps.report.axes import Axis
from mt_sweeps.report.findings import CompletedTrial, Curve, Curves, GoodRange, GoodRegion, Progress, spread
from mt_sweeps.report.plotting import (
    BEST,
    FAINT,
    MUTED,
    OTHER,
    PAPER,
    Plot,
    axis_of,
    band,
    errors_axis,
    linear_axis,
    log_axis,
    names_axis,
    note,
    plain,
    plot_of,
    vertical,
)

_UNITS = (("hours", 1.0), ("minutes", 60.0), ("seconds", 3600.0))
_MISSING = -0.15  # the height in parallel coordinates of a key that a trial does not have


def progress(rows: list[Progress], hours: str = "", name: str = "error") -> Plot:
    """Plot the errors of completed trials and the best error so far.

    Args:
        rows: the trials that ended, in that order.
        hours: the x axis, `hours` or `gpu_hours`; if empty, the number of trials that ended.
        name: what the errors are: `error` or `balanced error`.
    """
    title, x = "trials ended", [float(i + 1) for i in range(len(rows))]
    if hours:
        unit, of_hour = next((one for one in _UNITS if getattr(rows[-1], hours) * one[1] >= 1), _UNITS[-1])
        title = f"GPU-{unit}" if hours == "gpu_hours" else f"{unit} of all workers together"
        x = [getattr(row, hours) * of_hour for row in rows]
    complete = [(at, row, row.error) for at, row in zip(x, rows, strict=True) if row.error is not None]
    trials = go.Scatter(
        x=[at for at, _, _ in complete],
        y=[100 * error for _, _, error in complete],
        mode="markers",
        marker={"color": FAINT, "size": 6, "opacity": 0.8},
        text=[f"trial {row.trial}" for _, row, _ in complete],
        hovertemplate="%{text}: %{y:.1f} %<extra></extra>",
        name="a completed trial",
    )
    reached = [(at, 100 * row.best) for at, row in zip(x, rows, strict=True) if row.best is not None]
    best = go.Scatter(
        x=[at for at, _ in reached],
        y=[error for _, error in reached],
        mode="lines",
        line={"color": BEST, "width": 2.5, "shape": "hv"},
        hovertemplate="best so far: %{y:.1f} %<extra></extra>",
        name="best so far",
    )
    errors = [error for _, _, error in complete]
    return plot_of([trials, best], 300, xaxis=axis_of(title, rangemode="tozero"), yaxis=errors_axis(errors, name))


def curves(curves: Curves, network: str, steps: int, name: str = "error") -> Plot:
    """Plot the learning curves of one network: all trials light, the best strong, the supervised baseline dotted.

    Args:
        curves: all learning curves.
        network: student or teacher.
        steps: of a whole trial.
        name: what the errors are: `error` or `balanced error`.
    """
    lines = [line for line in curves.lines if any(error is not None for error in line.errors(network))]
    searched = [line for line in lines if line.arm == "search"]
    best = [line for line in searched if line.trial == curves.best]
    baseline = [line for line in lines if line.arm == "supervised"]
    styles: list[tuple[str, list[Curve], dict[str, Any], float]] = [
        ("a trial", [line for line in searched if line not in best], {"color": FAINT, "width": 1}, 0.45),
        ("supervised baseline", baseline, {"color": OTHER, "width": 2, "dash": "dot"}, 1.0),
        ("the best trial", best, {"color": BEST, "width": 2.5}, 1.0),
    ]
    traces = []
    for title, group, line_style, opacity in styles:
        x: list[float | None] = []
        y: list[float | None] = []
        for line in group:
            x += [*line.step, None]
            y += [*(None if error is None else 100 * error for error in line.errors(network)), None]
        if group:
            hover: dict[str, Any] = {"hovertemplate": f"{title}, step %{{x}}: %{{y:.1f}} %<extra></extra>"}
            if title == "a trial":
                hover = {"hoverinfo": "skip"}
            style = {"line": line_style, "opacity": opacity, "name": title}
            traces.append(go.Scatter(x=x, y=y, mode="lines", **style, **hover))
    # The errors of both networks, so that their figures have the same scale.
    errors = [e for line in curves.lines for e in (*line.student, *line.teacher) if e is not None]
    marks = [(rung, f"rung {rung}" if i == 0 else str(rung)) for i, rung in enumerate(curves.rungs)]
    if curves.ramp_up:
        marks.append((curves.ramp_up, "ramp-up ends"))
    across = axis_of("optimiser step", range=[0, 1.02 * steps])
    plot = plot_of(traces, 340, xaxis=across, yaxis=errors_axis(errors, name))
    plot["layout"]["shapes"] = [vertical(at, MUTED, "dash") for at, _ in marks]
    # Upright along their lines, where curves seldom are: at the bottom early in training, at the top late.
    plot["layout"]["annotations"] = [
        note(at, y, text, textangle=-90, xanchor="right", yanchor=end)
        for at, text in marks
        for y, end in [(0.01, "bottom") if 2 * at < steps else (0.99, "top")]
    ]
    return plot


def slice_of(
    axis: Axis,
    region: GoodRegion,
    points: Sequence[CompletedTrial],
    good: Sequence[int],
    errors: Sequence[float],
    name: str = "error",
) -> Plot:
    """Plot the error of completed trials over one searched key, with the good region marked.

    Args:
        axis: of the key.
        region: where the best fifth lies.
        points: completed trials that have a value on the axis, the best first.
        good: the numbers of those among the best fifth.
        errors: of all completed trials, so that all slices have the same scale.
        name: what the errors are: `error` or `balanced error`.
    """
    groups: list[tuple[str, dict[str, Any], Sequence[CompletedTrial]]] = [
        ("completed", {"color": FAINT, "size": 6, "opacity": 0.8}, [t for t in points if t.trial not in good]),
        ("among the best fifth", {"color": BEST, "size": 7}, [t for t in points if t.trial in good]),
        ("the best", {"color": BEST, "size": 12, "symbol": "diamond"}, points[: points[0].error == min(errors)]),
    ]
    traces = []
    for group, marker, trials in groups:
        values = [axis.value(trial.values) for trial in trials]
        traces.append(
            go.Scatter(
                x=[axis.coordinate(v) + _jitter(axis, t.trial) for t, v in zip(trials, values, strict=True)],
                y=[100 * trial.error for trial in trials],
                mode="markers",
                marker=marker,
                text=[plain(f"trial {t.trial}: {value_text(v)}") for t, v in zip(trials, values, strict=True)],
                hovertemplate="%{text}, %{y:.1f} %<extra></extra>",
                name=group,
            )
        )
    plot = plot_of(traces, 240, xaxis=_slice_axis(axis), yaxis=errors_axis(errors, name), showlegend=False)
    plot["layout"]["shapes"] = [band(low, high) for low, high in _good_bands(axis, region)]
    return plot


def parallel(axes: Sequence[Axis], trials: Sequence[CompletedTrial], good: Sequence[int]) -> Plot:
    """Plot one line per trial through all searched keys, each from the low to the high end of its range, to its error.

    For a key with several branches, the height is the position in the range of the trial's own branch. A key that a
    trial does not have is drawn below the others.

    Args:
        axes: of the search.
        trials: completed ones, the best first.
        good: the numbers of those among the best fifth.
    """
    keys = list(dict.fromkeys(axis.key for axis in axes))
    errors = [trial.error for trial in trials]
    shown = spread(trials)
    heights = {trial.trial: _heights(trial, axes, keys, errors) for trial in shown}
    groups = (
        ("another completed trial", [t for t in shown if t.trial not in good], {"color": FAINT, "width": 1}, 0.6),
        ("among the best fifth", [t for t in shown if t.trial in good], {"color": BEST, "width": 1.5}, 0.8),
        ("the best", shown[:1], {"color": BEST, "width": 3.5}, 1.0),
    )
    traces = [
        go.Scatter(
            x=[*range(len(keys) + 1), None] * len(group),
            y=[height for trial in group for height in (*heights[trial.trial], None)],
            mode="lines",
            line=line,
            opacity=opacity,
            hoverinfo="skip",
            name=name,
        )
        for name, group, line, opacity in groups
        if group
    ]
    has_missing = any(_MISSING in of_trial for of_trial in heights.values())
    ticks = [*map(_folded, keys), "error"]
    across = axis_of("", tickvals=list(range(len(ticks))), ticktext=ticks, showgrid=False, ticks="")
    across |= {"showline": False, "range": [-0.35, len(keys) + 0.35]}
    upwards = {"visible": False, "fixedrange": True, "range": [-0.22 if has_missing else -0.08, 1.08]}
    plot = plot_of(traces, 380, xaxis=across, yaxis=upwards)
    plot["layout"]["shapes"] = [vertical(at, MUTED, "solid", end=1.0) for at in range(len(keys) + 1)]
    plot["layout"]["annotations"] = [
        note(at, y, plain(text), yref="y", xanchor="right" if at else "left", xshift=-4 if at else 4, bgcolor=PAPER)
        for at, y, text in _parallel_marks(axes, keys, errors, has_missing)
    ]
    return plot


def importance(shares: dict[str, float]) -> Plot:
    """Plot how much each key decides whether a trial is a good one, as bars."""
    keys = list(shares)
    bars = go.Bar(
        x=[100 * share for share in shares.values()],
        y=[plain(key) for key in keys],
        orientation="h",
        marker={"color": BEST},
        width=0.55,
        text=[f"{100 * share:.0f} %" for share in shares.values()],
        textposition="outside",
        cliponaxis=False,
        hoverinfo="skip",
    )
    across = axis_of("share of the importance", ticksuffix=" %", range=[0, 112], tickvals=[0, 25, 50, 75, 100])
    return plot_of([bars], 70 + 34 * len(keys), xaxis=across, yaxis=names_axis(len(keys)), showlegend=False)


def _slice_axis(axis: Axis) -> dict[str, Any]:
    """Return the x axis of a slice."""
    title = plain(f"1 − {axis.key}" if axis.scale == "one_minus_log" else axis.key)  # noqa: RUF001 (a minus)
    if axis.choices:
        ticks = [plain(value_text(choice)) for choice in axis.choices]
        across = axis_of(title, tickvals=list(range(len(ticks))), ticktext=ticks, showgrid=False)
        return across | {"range": [-0.6, len(ticks) - 0.4]}
    low, high = sorted(axis.coordinate(end) for end in axis.ends)
    return axis_of(title, **(linear_axis if axis.scale == "linear" else log_axis)(low, high))


def _good_bands(axis: Axis, region: GoodRegion) -> list[tuple[float, float]]:
    """Return the parts of the x axis of a slice in which the best fifth lies."""
    if isinstance(region, GoodRange):
        return [(axis.coordinate(region.low), axis.coordinate(region.high))]
    return [(i - 0.4, i + 0.4) for i, choice in enumerate(region or []) if choice.marked]


def _jitter(axis: Axis, trial: int) -> float:
    """Return how far a trial is drawn from its choice, so that trials with the same choice do not hide each other."""
    return 0.5 * (trial * 0.618 % 1 - 0.5) if axis.choices else 0.0


def _heights(trial: CompletedTrial, axes: Sequence[Axis], keys: list[str], errors: Sequence[float]) -> list[float]:
    """Return the heights of a trial's line in parallel coordinates: one per key, and that of its error."""
    fractions = {axis.key: axis.fraction_of(axis.value(trial.values)) for axis in axes if axis.holds(trial.values)}
    low, high = min(errors), max(errors)
    of_error = (trial.error - low) / (high - low) if high > low else 0.5
    return [*(fractions.get(key, _MISSING) for key in keys), of_error]


def _parallel_marks(
    axes: Sequence[Axis], keys: list[str], errors: Sequence[float], has_missing: bool
) -> list[tuple[int, float, str]]:
    """Return the texts beside the axes of parallel coordinates: number of the axis, height and text."""
    marks = []
    for at, key in enumerate(keys):
        branches = [axis for axis in axes if axis.key == key]
        if branches[0].choices:
            first = branches[0]
            marks += [(at, first.fraction_of(choice), value_text(choice)) for choice in first.choices]
        else:
            marks += [(at, float(i), " | ".join(value_text(axis.ends[i]) for axis in branches)) for i in (0, 1)]
    marks += [(len(keys), 0.0, f"{100 * min(errors):.1f} %"), (len(keys), 1.0, f"{100 * max(errors):.1f} %")]
    return [*marks, (0, _MISSING, "not searched")] if has_missing else marks


def _folded(key: str) -> str:
    """Return a dotted key on two lines."""
    group, _, last = key.rpartition(".")
    return f"{plain(group)}.<br>{plain(last)}" if group else plain(last).replace("_", "_<br>", 1)
