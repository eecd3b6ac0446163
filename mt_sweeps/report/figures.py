"""The figures on the finalists."""

from collections.abc import Sequence

from mt_sweeps.report.plotting import (
    BEST,
    FAINT,
    INK,
    MUTED,
    OTHER,
    WIDE,
    Canvas,
    Plot,
    Scale,
    circle,
    errors_scale,
    linear,
    names_scale,
    path,
    rectangle,
    uprights,
    written,
)
from mt_sweeps.results.finalists import Verdict
from mt_sweeps.results.statistics import Interval

_ROW = 36  # units of a row of a forest plot: its name above its mark
_SIDE = 14


def means(verdict: Verdict, by_seed: dict[str, dict[int, float]], errors: str) -> Plot:
    """Plot the mean error of each contender with its interval, over the errors of its seeds.

    Args:
        verdict: has the means.
        by_seed: errors by contender and seed.
        errors: what they are, and of which images: `error on the verdict images`.
    """
    seeds = {name: list(by_seed.get(name, {}).values()) for name in verdict.means}
    ends = [end for one in verdict.means.values() for end in (one.low, one.high)]
    scale = _points_scale(f"mean {errors}", [0.0, *ends, *(error for one in seeds.values() for error in one)], " %")
    names = list(verdict.means)
    colours = [BEST, *[INK] * (len(names) - 1)]
    return _forest(scale, names, list(verdict.means.values()), colours, [seeds[name] for name in names])


def differences(verdict: Verdict, names: Sequence[str], errors: str) -> Plot:
    """Plot the error of the best of the search minus that of every other contender, with intervals.

    Args:
        verdict: has the comparisons.
        names: what each of them is called.
        errors: as for `means`.
    """
    compared = verdict.comparisons
    ends = [end for one in compared for end in (one.difference.low, one.difference.high)]
    scale = _points_scale(f"{errors}: difference in points", [0.0, *ends])
    colours = [BEST if one.winner == one.a else OTHER if one.winner else MUTED for one in compared]
    return _forest(scale, names, [one.difference for one in compared], colours, zero=True)


def seeds(by_seed: dict[str, dict[int, float]], first: str, errors: str) -> Plot:
    """Plot the errors of the finalists by seed, since a seed has the same effect on all of them.

    Args:
        by_seed: errors by contender and seed.
        first: the contender that is marked.
        errors: as for `means`.
    """
    order = sorted({seed for errors in by_seed.values() for seed in errors})
    scale = errors_scale([error for of_one in by_seed.values() for error in of_one.values()], errors)
    canvas = Canvas(names_scale("seed and label draw", [str(seed) for seed in order]), scale, 270)
    for i, (contender, of_one) in enumerate(by_seed.items()):
        colour = BEST if contender == first else OTHER if contender == "supervised" else MUTED
        style = "strong" if contender == first else ("", "dotted", "dashed")[i % 3]
        points = [(at, 100 * of_one[seed]) for at, seed in enumerate(order) if seed in of_one]
        canvas.line(points, colour, style)
        canvas.dots([(x, y, None) for x, y in points], colour)
        canvas.explain(f"line {style}".strip(), colour, contender)
    return canvas.plot()


def _points_scale(title: str, fractions: Sequence[float], unit: str = "") -> Scale:
    """Return a scale of errors in percent, or of their differences in points."""
    low, high = 100 * min(fractions), 100 * max(fractions)
    return linear(title, low, high if high > low else low + 1, unit, room=0.02)


def _forest(
    scale: Scale,
    names: Sequence[str],
    intervals: Sequence[Interval],
    colours: Sequence[str],
    dots: Sequence[Sequence[float]] = (),
    zero: bool = False,
) -> Plot:
    """Plot an interval per row, with its name above it, so that a long name is not cut.

    Args:
        scale: of the values, in percent.
        names: of the rows.
        intervals: of the rows, as fractions.
        colours: of the rows.
        dots: single values of each row, as fractions.
        zero: draw a line at 0.
    """
    foot = _ROW * len(names) + 6

    def across(value: float) -> float:
        return _SIDE + scale.fraction(value) * (WIDE - 2 * _SIDE)

    parts = []
    rows = [(_ROW * i + 18.0, _ROW * i + 35.0) for i in range(len(names))]  # of the marks, below the names
    for value, text in scale.ticks:
        parts.append(uprights(across(value), rows, "grid"))
        parts.append(written(across(value), foot + 15, text, "tick", "middle"))
    if zero:
        parts.append(uprights(across(0), rows, INK))
    for i, (name, one, colour) in enumerate(zip(names, intervals, colours, strict=True)):
        middle = _ROW * i + 26
        low, mean, high = (across(100 * value) for value in (one.low, one.mean, one.high))
        parts.append(written(2, middle - 12, name, "label"))
        if dots:
            circles = "".join(circle(across(100 * value), middle, 3) for value in dots[i])
            parts.append(f'<g class="dot light {FAINT}">{circles}</g>')
        parts.append(path([(low, middle), (high, middle)], colour, "strong"))
        parts += [path([(end, middle - 4), (end, middle + 4)], colour, "strong") for end in (low, high)]
        parts.append(rectangle(mean - 4, middle - 4, 8, 8, colour, 1.0))
    parts.append(path([(_SIDE, foot), (WIDE - _SIDE, foot)], MUTED, "thin"))
    parts.append(written(WIDE - _SIDE, foot + 32, scale.title, "title", "end"))
    legend = [("dot", FAINT, "a single seed")] if dots else []
    return Plot(WIDE, foot + 38, "".join(parts), (("square", INK, "mean, with its 95 % interval"), *legend))
