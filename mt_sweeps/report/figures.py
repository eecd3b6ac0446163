"""The figures of a report, made from its findings.

They are drawn here and not by `optuna.visualization`, whose colours are fixed and which has a trace a trial.
"""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from mt_sweeps.formatting import value_text
from mt_sweeps.report.axes import Axis
from mt_sweeps.report.findings import CompletedTrial, Curve, Curves, GoodRange, GoodRegion, Progress, spread
from mt_sweeps.report.plotting import (
    BEST,
    FAINT,
    INK,
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
from mt_sweeps.results.finalists import Verdict
from mt_sweeps.results.statistics import Interval

_UNITS = (("hours", 1.0), ("minutes", 60.0), ("seconds", 3600.0))
_MISSING = -0.15  # the height in parallel coordinates of what a trial does not have


def means(verdict: Verdict, by_seed: dict[str, dict[int, float]]) -> Plot:
    """The mean error of each contender with its interval, and the errors of its seeds behind it."""
    of = verdict.means
    names = [plain(name) for name in of]
    seeds = [(plain(name), 100 * error) for name in of for error in by_seed.get(name, {}).values()]
    points = go.Scatter(
        x=[error for _, error in seeds],
        y=[name for name, _ in seeds],
        mode="markers",
        marker={"color": FAINT, "size": 6, "opacity": 0.7},
        hovertemplate="%{y}, one seed: %{x:.1f} %<extra></extra>",
    )
    colours = [BEST, *[INK] * (len(names) - 1)]
    return _forest([points, *_intervals(names, list(of.values()), colours)], names, "mean error", " %")


def differences(verdict: Verdict) -> Plot:
    """The best of the search less every other contender, with intervals; what is left of 0 is better."""
    compared = verdict.comparisons
    names = [plain(f"less {one.b}") for one in compared]
    colours = [BEST if one.winner == one.a else OTHER if one.winner else MUTED for one in compared]
    traces = _intervals(names, [one.difference for one in compared], colours, "points")
    plot = _forest(traces, names, f"{plain(compared[0].a)} less another, in points")
    plot["layout"]["shapes"] = [vertical(0.0, INK, "solid")]
    plot["layout"]["xaxis"].pop("rangemode")
    return plot


def progress(rows: list[Progress], hours: str = "") -> Plot:
    """The errors of completed trials and the best of them so far.

    Args:
        rows: of the trials, in the order in which they ended.
        hours: `hours` or `gpu_hours` over which they are shown; empty: over the trials that ended.
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
    return plot_of([trials, best], 300, xaxis=axis_of(title, rangemode="tozero"), yaxis=errors_axis(errors))


def curves(curves: Curves, network: str, steps: int) -> Plot:
    """The learning curves of one network: all trials light, the best strong, the supervised baseline dotted.

    Args:
        curves: all learning curves.
        network: student or teacher.
        steps: of a whole trial.
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
    for name, of, line_style, opacity in styles:
        x: list[float | None] = []
        y: list[float | None] = []
        for line in of:
            x += [*line.step, None]
            y += [*(None if error is None else 100 * error for error in line.errors(network)), None]
        if of:
            hover: dict[str, Any] = {"hovertemplate": f"{name}, step %{{x}}: %{{y:.1f}} %<extra></extra>"}
            if name == "a trial":
                hover = {"hoverinfo": "skip"}
            style = {"line": line_style, "opacity": opacity, "name": name}
            traces.append(go.Scatter(x=x, y=y, mode="lines", **style, **hover))
    # On one scale, so that the two networks can be compared.
    errors = [e for line in curves.lines for of in ("student", "teacher") for e in line.errors(of) if e is not None]
    marks = [(rung, f"rung {rung}" if i == 0 else str(rung)) for i, rung in enumerate(curves.rungs)]
    if curves.ramp_up:
        marks.append((curves.ramp_up, "ramp-up ends"))
    plot = plot_of(traces, 340, xaxis=axis_of("optimiser step", range=[0, 1.02 * steps]), yaxis=errors_axis(errors))
    plot["layout"]["shapes"] = [vertical(at, MUTED, "dash") for at, _ in marks]
    # Written upright along their lines, where curves seldom are: early below them, late above.
    plot["layout"]["annotations"] = [
        note(at, y, text, textangle=-90, xanchor="right", yanchor=end)
        for at, text in marks
        for y, end in [(0.01, "bottom") if 2 * at < steps else (0.99, "top")]
    ]
    return plot


def slice_of(
    axis: Axis, region: GoodRegion, points: Sequence[CompletedTrial], good: Sequence[int], errors: Sequence[float]
) -> Plot:
    """The error of completed trials over one searched key, with the good region marked.

    Args:
        axis: of the key.
        region: where the best fifth lies.
        points: completed trials that have a value on the axis, the best first.
        good: the numbers of those among the best fifth.
        errors: of all completed trials, so that slices can be compared; the smallest is that of the best.
    """
    title = plain(f"1 − {axis.key}" if axis.scale == "one_minus_log" else axis.key)  # noqa: RUF001 (a minus)
    if axis.choices:
        ticks = [plain(value_text(choice)) for choice in axis.choices]
        across = axis_of(title, tickvals=list(range(len(ticks))), ticktext=ticks, showgrid=False)
        across["range"] = [-0.6, len(ticks) - 0.4]
        choices = region if isinstance(region, list) else []
        bands = [(i - 0.4, i + 0.4) for i, one in enumerate(choices) if one.marked]
    else:
        low, high = sorted(axis.drawn(end) for end in axis.ends)
        across = axis_of(title, **(linear_axis if axis.scale == "linear" else log_axis)(low, high))
        bands = [(axis.drawn(region.low), axis.drawn(region.high))] if isinstance(region, GoodRange) else []
    groups: list[tuple[str, dict[str, Any], Sequence[CompletedTrial]]] = [
        ("completed", {"color": FAINT, "size": 6, "opacity": 0.8}, [t for t in points if t.trial not in good]),
        ("among the best fifth", {"color": BEST, "size": 7}, [t for t in points if t.trial in good]),
        ("the best", {"color": BEST, "size": 12, "symbol": "diamond"}, points[: points[0].error == min(errors)]),
    ]
    traces = []
    for name, marker, of in groups:
        values = [axis.value(trial.values) for trial in of]
        traces.append(
            go.Scatter(
                x=[axis.drawn(v) + _beside(axis, t.trial) for t, v in zip(of, values, strict=True)],
                y=[100 * trial.error for trial in of],
                mode="markers",
                marker=marker,
                text=[plain(f"trial {t.trial}: {value_text(v)}") for t, v in zip(of, values, strict=True)],
                hovertemplate="%{text}, %{y:.1f} %<extra></extra>",
                name=name,
            )
        )
    plot = plot_of(traces, 240, xaxis=across, yaxis=errors_axis(errors), showlegend=False)
    plot["layout"]["shapes"] = [band(low, high) for low, high in bands]
    return plot


def parallel(axes: Sequence[Axis], trials: Sequence[CompletedTrial], good: Sequence[int]) -> Plot:
    """A line a trial through all searched keys, each from the low to the high end of its range, and its error.

    A key with several branches shows where in its own branch's range a trial is; one that a trial does not have is
    below the others.

    Args:
        axes: of the search.
        trials: completed ones, the best first.
        good: the numbers of those among the best fifth.
    """
    keys = list(dict.fromkeys(axis.key for axis in axes))
    errors = [trial.error for trial in trials]
    shown = spread(trials)

    def heights(trial: CompletedTrial) -> list[float | None]:
        held = {axis.key: axis.fraction_of(axis.value(trial.values)) for axis in axes if axis.holds(trial.values)}
        found = [held.get(key, _MISSING) for key in keys]
        low, high = min(errors), max(errors)
        return [*found, (trial.error - low) / (high - low) if high > low else 0.5, None]

    groups = (
        ("another completed trial", [t for t in shown if t.trial not in good], {"color": FAINT, "width": 1}, 0.6),
        ("among the best fifth", [t for t in shown if t.trial in good], {"color": BEST, "width": 1.5}, 0.8),
        ("the best", shown[:1], {"color": BEST, "width": 3.5}, 1.0),
    )
    traces = [
        go.Scatter(
            x=[*range(len(keys) + 1), None] * len(of),
            y=[height for trial in of for height in heights(trial)],
            mode="lines",
            line=line,
            opacity=opacity,
            hoverinfo="skip",
            name=name,
        )
        for name, of, line, opacity in groups
        if of
    ]
    has_missing = any(height == _MISSING for trial in shown for height in heights(trial))
    plot = plot_of(
        traces,
        380,
        xaxis=axis_of(
            "", tickvals=list(range(len(keys) + 1)), ticktext=[*map(_folded, keys), "error"], showgrid=False, ticks=""
        )
        | {"showline": False},
        yaxis={"visible": False, "fixedrange": True, "range": [-0.22 if has_missing else -0.08, 1.08]},
    )
    plot["layout"]["xaxis"]["range"] = [-0.35, len(keys) + 0.35]
    plot["layout"]["shapes"] = [vertical(at, MUTED, "solid", end=1.0) for at in range(len(keys) + 1)]
    marks = [(at, *mark) for at, key in enumerate(keys) for mark in _marks([axis for axis in axes if axis.key == key])]
    marks += [(len(keys), 0.0, f"{100 * min(errors):.1f} %"), (len(keys), 1.0, f"{100 * max(errors):.1f} %")]
    if has_missing:
        marks.append((0, _MISSING, "not searched"))
    plot["layout"]["annotations"] = [
        note(at, y, plain(text), yref="y", xanchor="right" if at else "left", xshift=-4 if at else 4, bgcolor=PAPER)
        for at, y, text in marks
    ]
    return plot


def importance(shares: dict[str, float]) -> Plot:
    """How much each key decides whether a trial is a good one, as bars."""
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


def seeds(by_seed: dict[str, dict[int, float]], first: str) -> Plot:
    """The errors of the finalists, seed by seed: what a seed does to one it does to all."""
    order = sorted({seed for errors in by_seed.values() for seed in errors})
    traces = []
    for i, (name, errors) in enumerate(by_seed.items()):
        colour = BEST if name == first else OTHER if name == "supervised" else MUTED
        traces.append(
            go.Scatter(
                x=[str(seed) for seed in order],
                y=[100 * errors[seed] if seed in errors else None for seed in order],
                mode="lines+markers",
                line={"color": colour, "width": 2.5 if name == first else 1.5, "dash": ("solid", "dot", "dash")[i % 3]},
                marker={"size": 7, "symbol": ("circle", "square", "diamond", "cross")[i % 4]},
                name=plain(name),
                hovertemplate="seed %{x}: %{y:.1f} %<extra>" + plain(name) + "</extra>",
            )
        )
    across = axis_of("seed and label draw", type="category")
    return plot_of(
        traces, 300, xaxis=across, yaxis=errors_axis([e for errors in by_seed.values() for e in errors.values()])
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


def _marks(axes: Sequence[Axis]) -> list[tuple[float, str]]:
    """What stands at which height of a parallel axis."""
    if axes[0].scale == "categorical":
        return [(axes[0].fraction_of(choice), value_text(choice)) for choice in axes[0].choices]
    return [(float(i), " | ".join(value_text(one.ends[i]) for one in axes)) for i in (0, 1)]


def _beside(axis: Axis, trial: int) -> float:
    """How far from its choice a trial is drawn, so that those of one choice do not hide each other."""
    return 0.5 * (trial * 0.618 % 1 - 0.5) if axis.choices else 0.0


def _folded(key: str) -> str:
    """A dotted key over two lines."""
    group, _, last = key.rpartition(".")
    return f"{plain(group)}.<br>{plain(last)}" if group else plain(last).replace("_", "_<br>", 1)
