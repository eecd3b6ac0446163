"""The figures on the search: how it went, and the error over the searched keys. Pruned trials are hollow, or dashed."""

from collections.abc import Iterable, Sequence

from mt_sweeps.formatting import value_text
from mt_sweeps.report.axes import Axis
from mt_sweeps.report.plotting import (
    BEST,
    FAINT,
    MUTED,
    NARROW,
    OTHER,
    WIDE,
    Canvas,
    Plot,
    Scale,
    circle,
    errors_scale,
    even_ticks,
    linear,
    log_ticks,
    names_scale,
    path,
    rectangle,
    text_width,
    uprights,
    written,
)
from mt_sweeps.report.search_findings import Curve, Curves, DrawnTrial, GoodRange, GoodRegion, Progress
from mt_sweeps.report.thinning import MOST_DOTS, spread

_ROW = 54  # units of a row of parallel coordinates: the name, the axis, its ends
_BAR = 40  # units of a bar: its name above it
_SIDE = 16


def progress(rows: list[Progress], hours: str = "", name: str = "error") -> Plot:
    """Plot the errors of the trials that ended and the best error so far.

    Args:
        rows: the trials that ended, in that order.
        hours: the x axis, `hours` or `gpu_hours`; if empty, the number of trials that ended.
        name: what the errors are: `error` or `balanced error`.
    """
    title, x = "trials ended", [float(i + 1) for i in range(len(rows))]
    if hours:
        spent = [getattr(row, hours) for row in rows]
        unit, per_hour = _unit_of(max(spent))
        title = f"GPU-{unit} of all trials together" if hours == "gpu_hours" else f"{unit} of all workers together"
        x = [per_hour * one for one in spent]
    drawn = [(at, row) for at, row in zip(x, rows, strict=True) if row.last_error is not None]
    pruned = [(at, row) for at, row in drawn if row.state == "pruned"]
    complete = [(at, row) for at, row in drawn if row.error is not None]
    errors = [row.last_error for _, row in (*complete, *pruned) if row.last_error is not None]
    canvas = Canvas(linear(title, 0.0, max(x), room=0.02), errors_scale(errors, f"validation {name}"), 270)
    if pruned:
        _dots(canvas, pruned, hollow=True)
    _dots(canvas, complete)
    canvas.steps([(at, 100 * row.best) for at, row in zip(x, rows, strict=True) if row.best is not None], BEST)
    canvas.explain("line strong", BEST, "best so far")
    canvas.explain("dot", FAINT, "completed")
    if pruned:
        canvas.explain("ring", FAINT, "pruned, at its last error")
    return canvas.plot()


def curves(curves: Curves, network: str, steps: int, pruned: Iterable[int], name: str = "error") -> Plot:
    """Plot the learning curves of one network: all trials light, the best strong, the supervised baseline dotted.

    Args:
        curves: all learning curves.
        network: student or teacher.
        steps: of a whole trial.
        pruned: the numbers of the trials that were pruned; their curves end in a circle.
        name: what the errors are: `error` or `balanced error`.
    """
    # The errors of both networks, so that their figures have the same scale.
    errors = [e for line in curves.lines for e in (*line.student, *line.teacher) if e is not None]
    canvas = Canvas(linear("optimiser step", 0.0, steps, room=0.02), errors_scale(errors, f"validation {name}"), 300)
    lines = [(line, points) for line in curves.lines if (points := _points(line, network))]
    searched = [(line, points) for line, points in lines if line.arm == "search"]
    ended_early = set(pruned)
    for line, points in searched:
        if line.trial != curves.best:
            canvas.line(points, FAINT, "light", line.trial)
    ends = [(*points[-1], line.trial) for line, points in searched if line.trial in ended_early]
    canvas.dots(ends, FAINT, hollow=True)
    if searched:
        canvas.explain("line light", FAINT, "a trial")
    if ends:
        canvas.explain("ring", FAINT, "pruned there")
    for line, points in lines:
        if line.arm == "supervised":
            canvas.line(points, OTHER, "dotted")
            canvas.explain("line dotted", OTHER, "supervised baseline")
        elif line.trial == curves.best:
            canvas.line(points, BEST, "strong", line.trial)
            canvas.explain("line strong", BEST, "the best trial")
    marks = [(rung, f"rung {rung}" if i == 0 else str(rung)) for i, rung in enumerate(curves.rungs)]
    if curves.ramp_up:
        marks.append((curves.ramp_up, "ramp-up ends"))
    for at, text in marks:  # where curves seldom are: at the bottom early in training, at the top late
        canvas.vertical(at, text, is_late=2 * at >= steps)
    return canvas.plot()


def slice_of(
    axis: Axis,
    region: GoodRegion,
    points: Sequence[DrawnTrial],
    good: Sequence[int],
    errors: Sequence[float],
    name: str = "error",
) -> Plot:
    """Plot the error of trials over one searched key, with the good region marked. Each lies exactly at its value.

    Args:
        axis: of the key.
        region: where the best fifth lies.
        points: trials that have a value on the axis: the completed ones, the best first, then the pruned ones.
        good: the numbers of those among the best fifth.
        errors: of all trials that are drawn, so that all slices have the same scale.
        name: what the errors are: `error` or `balanced error`.
    """
    canvas = Canvas(_scale_of(axis), errors_scale(errors, f"validation {name}"), 210, NARROW)
    for low, high in _good_bands(region):
        canvas.band(low, high)

    def dots(trials: Iterable[DrawnTrial]) -> list[tuple[float, float, int | None]]:
        return [(_place(axis, trial), 100 * trial.error, trial.trial) for trial in trials]

    canvas.dots(dots(t for t in points if t.pruned), FAINT, hollow=True)
    canvas.dots(dots(t for t in points if not t.pruned and t.trial not in good), FAINT)
    canvas.dots(dots(t for t in points if t.trial in good), BEST)
    best = points[0]
    if not best.pruned and best.error == min(errors):
        canvas.diamond(_place(axis, best), 100 * best.error, BEST, best.trial)
    return canvas.plot()


def parallel(
    axes: Sequence[Axis],
    trials: Sequence[DrawnTrial],
    good: Sequence[int],
    pruned: Sequence[DrawnTrial] = (),
    name: str = "error",
) -> Plot:
    """Plot one line per trial, downwards through all searched keys, each from the low to the high end, to its error.

    For a key with several branches, the place is that in the range of the trial's own branch. A trial's line has a gap
    at a key that it does not have.

    Args:
        axes: of the search.
        trials: completed ones, the best first.
        good: the numbers of those among the best fifth.
        pruned: those that were pruned.
        name: what the errors are: `error` or `balanced error`.
    """
    keys = list(dict.fromkeys(axis.key for axis in axes))
    shown, ended_early = spread(trials), spread(pruned)
    scale = errors_scale([trial.error for trial in (*trials, *pruned)], f"validation {name}")
    parts: list[str] = []
    rows: list[str] = []  # over the lines, so that they can be read
    for number, key in enumerate(keys):
        branches = [axis for axis in axes if axis.key == key]
        rows += _row(number, _titled(key, branches), _marks(branches))
    rows += _row(len(keys), scale.title, [(scale.fraction(value), text) for value, text in scale.ticks])

    def lines(group: Iterable[DrawnTrial], colour: str, style: str) -> None:
        parts.extend(
            path(piece, colour, style, trial.trial)
            for trial in group
            for piece in _pieces(trial, axes, keys, scale.fraction(100 * trial.error))
        )

    lines(ended_early, FAINT, "light dashed")
    lines([t for t in shown[1:] if t.trial not in good], FAINT, "light")
    lines([t for t in shown[1:] if t.trial in good], BEST, "light")
    lines(shown[:1], BEST, "strong")
    ends = [(_across(scale.fraction(100 * t.error)), t.trial) for t in ended_early]
    circles = "".join(circle(x, _middle(len(keys)), 3, trial) for x, trial in ends)
    parts.append(f'<g class="ring {FAINT}">{circles}</g>' if circles else "")
    legend = [("line strong", BEST, "the best"), ("line light", FAINT, "completed")]
    if good:
        legend.insert(1, ("line light", BEST, "among the best fifth"))
    if ended_early:
        legend.append(("line light dashed", FAINT, "pruned, at its last error"))
    return Plot(WIDE, _ROW * (len(keys) + 1) + 4, "".join([*parts, *rows]), tuple(legend))


def importance(shares: dict[str, float]) -> Plot:
    """Plot how much each key decides whether a trial is a good one, as bars."""
    foot = _BAR * len(shares) + 4
    room = WIDE - _SIDE - 50
    parts = []
    rows = [(_BAR * i + 19.0, _BAR * i + 37.0) for i in range(len(shares))]  # of the bars, below the names
    for tick in (0, 25, 50, 75, 100):
        parts.append(uprights(_SIDE + room * tick / 100, rows, "grid"))
        parts.append(written(_SIDE + room * tick / 100, foot + 15, f"{tick} %", "tick", "middle"))
    for i, (key, share) in enumerate(shares.items()):
        top = _BAR * i + 4
        parts.append(written(_SIDE, top + 12, key, "label"))
        parts.append(rectangle(_SIDE, top + 17, max(1.0, room * share), 14, BEST, 1.0))
        parts.append(written(_SIDE + room * share + 5, top + 28, f"{100 * share:.0f} %", "tick halo"))
    parts.append(written(WIDE - 2, foot + 32, "share of the importance", "title", "end"))
    return Plot(WIDE, foot + 38, "".join(parts))


def _unit_of(hours: float) -> tuple[str, int]:
    """Return the unit of an axis that ends after so many hours, and how many of it are an hour."""
    if hours < 0.05:
        return "seconds", 3600
    return ("minutes", 60) if hours < 3 else ("hours", 1)


def _dots(canvas: Canvas, drawn: Sequence[tuple[float, Progress]], hollow: bool = False) -> None:
    points = [(at, 100 * row.last_error, row.trial) for at, row in spread(drawn, MOST_DOTS) if row.last_error]
    canvas.dots(points, FAINT, hollow)


def _points(line: Curve, network: str) -> list[tuple[float, float]]:
    """Return the steps and errors in percent of one network."""
    pairs = zip(line.step, line.errors(network), strict=True)
    return [(step, 100 * error) for step, error in pairs if error is not None]


def _scale_of(axis: Axis) -> Scale:
    """Return the x axis of a slice: the value of the key, on the scale on which it was searched."""
    if axis.choices:
        return names_scale(axis.key, [value_text(choice) for choice in axis.choices])
    return Scale(_titled(axis.key, [axis]), -0.05, 1.05, _ticks(axis), axis.fraction_of)


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """Return round values of a range and their texts."""
    low, high = (float(end) for end in axis.ends)
    if axis.scale == "one_minus_log":
        ticks = [float(f"{1 - rest:.10g}") for rest in log_ticks(1 - high, 1 - low)]
    else:
        ticks = log_ticks(low, high) if axis.scale == "log" else even_ticks(low, high, 4)
    if isinstance(axis.ends[0], int):
        ticks = [tick for tick in ticks if tick.is_integer()] or [low, high]
    return [(tick, f"{tick:.6g}") for tick in ticks]


def _titled(key: str, branches: Sequence[Axis]) -> str:
    """Return a key, with the scale that it is drawn on if that is not linear."""
    scales = {"log": " (logarithmic)", "one_minus_log": " (logarithmic in 1 − x)"}  # noqa: RUF001 (a minus)
    return key + scales.get(branches[0].scale, "")


def _place(axis: Axis, trial: DrawnTrial) -> float:
    """Return the value of a trial as a number: for a choice, its index."""
    value = axis.value(trial.values)
    return float(axis.choices.index(value) if axis.choices else value)


def _good_bands(region: GoodRegion) -> list[tuple[float, float]]:
    """Return the parts of the x axis of a slice in which the best fifth lies."""
    if isinstance(region, GoodRange):
        return [(float(region.low), float(region.high))]
    return [(i - 0.4, i + 0.4) for i, choice in enumerate(region or []) if choice.marked]


def _across(fraction: float) -> float:
    return _SIDE + fraction * (WIDE - 2 * _SIDE)


def _middle(row: int) -> float:
    return _ROW * row + 28


def _row(number: int, title: str, marks: Sequence[tuple[float, str]]) -> list[str]:
    """Return an axis of parallel coordinates: its title above it, its values below."""
    middle = _middle(number)
    parts = [
        written(_SIDE, middle - 11, title, "label halo"),
        path([(_SIDE, middle), (WIDE - _SIDE, middle)], MUTED, "thin"),
    ]
    beyond = -1.0
    for fraction, text in sorted(marks):
        x, half = _across(fraction), text_width(text) / 2
        at = min(max(x, half + 2), WIDE - half - 2)
        parts.append(path([(x, middle - 3), (x, middle + 3)], MUTED, "thin"))
        if at - half > beyond:
            parts.append(written(at, middle + 15, text, "tick halo", "middle"))
            beyond = at + half + 4
    return parts


def _marks(branches: Sequence[Axis]) -> list[tuple[float, str]]:
    """Return where values stand on the axis of a key, and their texts."""
    first = branches[0]
    if first.choices:
        return [(first.fraction_of(choice), value_text(choice)) for choice in first.choices]
    if len(branches) == 1:
        inside = [(first.fraction_of(value), text) for value, text in _ticks(first)]
        return [one for one in inside if -0.01 <= one[0] <= 1.01]
    return [(float(i), " | ".join(value_text(axis.ends[i]) for axis in branches)) for i in (0, 1)]


def _pieces(
    trial: DrawnTrial, axes: Sequence[Axis], keys: Sequence[str], of_error: float
) -> list[list[tuple[float, float]]]:
    """Return the line of a trial in parallel coordinates, in pieces between the keys that it does not have."""
    fractions = {axis.key: axis.fraction_of(axis.value(trial.values)) for axis in axes if axis.holds(trial.values)}
    pieces: list[list[tuple[float, float]]] = [[]]
    for number, fraction in enumerate([*(fractions.get(key) for key in keys), of_error]):
        if fraction is None:
            pieces.append([])
        else:
            pieces[-1].append((_across(fraction), _middle(number)))
    return [piece for piece in pieces if len(piece) > 1]
