"""Single figures and the axes that they are drawn on."""

import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from mt_sweeps.report import class_figures, figures, search_figures
from mt_sweeps.report.axes import Axis, axes
from mt_sweeps.report.components import Table, _css, hours_text
from mt_sweeps.report.plotting import BEST, MUTED, OTHER, errors_scale, even_ticks, log_ticks
from mt_sweeps.report.search_findings import Curve, Curves, DrawnTrial, GoodChoice, GoodRange, Progress
from mt_sweeps.results.finalists import MeanError, Verdict
from mt_sweeps.results.statistics import Comparison, Interval
from mt_sweeps.search_space.distributions import Categorical
from mt_sweeps.search_space.space import Space
from tests.helpers.sweeps import digits
from trainers.confusion import Confusion

DECAY, LOSS, MSE, KL, FRACTION = axes(digits())
VALUES = {"ema.decay": 0.99, "consistency.loss": "kl", "consistency.weight": 3.0, "labeled_batch_fraction": 0.25}
EVIL = "</script><b>"


def trial(number, error, pruned=False, **changes):
    return DrawnTrial(number, error, {**VALUES, **changes}, pruned)


def verdict(*differences):
    comparisons = [
        Comparison("trial 1", name, Interval(mean, mean - 0.02, mean + 0.01), 0.01 if significant else 0.5, 5)
        for name, mean, significant in differences
    ]
    means = {name: MeanError(0.2, 0.1, 0.4, seeds=5) for name in ("trial 1", "supervised")}
    return Verdict(means, comparisons, gain=None, failed={}, images=300, kept_back=True)


def drawn(plot):
    """The elements of a figure; that it is well-formed is checked by reading it."""
    return list(ElementTree.fromstring(f"<svg>{plot.body}</svg>").iter())


def texts(plot):
    return [one.text for one in drawn(plot) if one.tag == "text"]


def circles(plot, kind):
    """Place and trial of the circles of a kind: dot or ring."""
    groups = [one for one in drawn(plot) if one.tag == "g" and kind in one.get("class").split()]
    return [(float(c.get("cx")), float(c.get("cy")), c.get("data-t")) for group in groups for c in group]


def test_each_branch_is_an_axis_of_its_own():
    assert [axis.name for axis in (MSE, KL)] == ["consistency.weight[mse]", "consistency.weight[kl]"]
    assert KL.holds(VALUES)
    assert not MSE.holds(VALUES)
    assert MSE.where == "consistency.loss = mse"


def test_a_share_is_measured_on_the_scale_of_the_search():
    assert KL.fraction_of(3.0) == pytest.approx(0.5)
    assert (DECAY.fraction_of(0.8), DECAY.fraction_of(0.999)) == pytest.approx((0.0, 1.0))
    assert DECAY.fraction_of(1 - math.sqrt(0.2 * 0.001)) == pytest.approx(0.5)
    assert (LOSS.fraction_of("mse"), LOSS.fraction_of("kl")) == (0.0, 1.0)


def test_a_decay_is_drawn_from_low_to_high_on_the_scale_of_its_distance_from_one_which_the_axis_says():
    points = [trial(0, 0.1), trial(1, 0.2, **{"ema.decay": 0.9}), trial(2, 0.3, **{"ema.decay": 0.999})]
    plot = search_figures.slice_of(DECAY, GoodRange(0.9, 0.99), points, [], [0.1, 0.2, 0.3])
    assert "ema.decay (logarithmic in 1 − x)" in texts(plot)  # noqa: RUF001 (a minus)
    assert {"0.9", "0.99", "0.999"} <= set(texts(plot)), "values, and not their distances"
    at = {number: x for x, _, number in circles(plot, "dot")}
    assert at["1"] < at["0"] < at["2"]
    assert at["2"] - at["0"] == pytest.approx(at["0"] - at["1"], abs=0.2), "a tenth of the distance each"
    (band,) = [one for one in drawn(plot) if one.tag == "rect"]
    assert float(band.get("x")) == pytest.approx(at["1"], abs=0.1)
    assert float(band.get("x")) + float(band.get("width")) == pytest.approx(at["0"], abs=0.2)


def test_a_logarithmic_axis_says_so_and_a_linear_one_does_not():
    assert "consistency.weight (logarithmic)" in texts(search_figures.slice_of(KL, None, [trial(0, 0.1)], [], [0.1]))
    assert errors_scale([0.05, 0.9]).title == "validation error (logarithmic)"
    assert errors_scale([0.05, 0.1], "error on the verdict images").title == "error on the verdict images"
    assert errors_scale([0.0, 0.9]).title == "validation error"
    assert errors_scale([]).low == 0.0


def test_only_the_best_of_all_is_marked_as_the_best():
    def diamonds(points, errors):
        plot = search_figures.slice_of(KL, None, points, [], errors)
        return [one for one in drawn(plot) if one.tag == "path" and "dot" in one.get("class")]

    assert not diamonds([trial(3, 0.3)], [0.1, 0.3])
    assert len(diamonds([trial(3, 0.1)], [0.1, 0.3])) == 1
    assert not diamonds([trial(3, 0.1, pruned=True)], [0.1])


def test_trials_of_one_choice_lie_exactly_at_it_and_choices_with_their_share_are_marked():
    region = [GoodChoice("mse", 1, marked=False), GoodChoice("kl", 2, marked=True)]
    plot = search_figures.slice_of(LOSS, region, [trial(i, 0.1 + i / 10) for i in range(3)], [0, 1], [0.1, 0.2, 0.3])
    (place,) = {x for x, _, _ in circles(plot, "dot")}
    name = next(one for one in drawn(plot) if one.text == "kl")
    assert place == float(name.get("x")), "above its name"
    (band,) = [one for one in drawn(plot) if one.tag == "rect"]
    assert float(band.get("x")) < place < float(band.get("x")) + float(band.get("width"))


def test_pruned_trials_are_hollow_in_every_figure():
    points = [trial(0, 0.1), trial(1, 0.2), trial(2, 0.6, pruned=True)]
    rows = [
        Progress(0, "complete", 1.0, 0.0, 0.1, 0.1, 0.1),
        Progress(1, "pruned", 2.0, 0.0, None, 0.4, 0.1),
        Progress(2, "failed", 3.0, 0.0, None, 0.5, 0.1),
    ]
    lines = [Curve("search", number, [1, 2], student=[0.5, 0.1], teacher=[0.5, 0.2]) for number in (0, 1)]
    all_curves = Curves(of=2, rungs=[1], ramp_up=1, best=0, lines=lines)
    of = {
        "progress": search_figures.progress(rows),
        "curves": search_figures.curves(all_curves, "student", 2, pruned=[1]),
        "slice": search_figures.slice_of(FRACTION, None, points, [], [0.1, 0.2, 0.6]),
        "parallel": search_figures.parallel([LOSS, KL], points[:2], [], points[2:]),
    }
    assert {name: [number for _, _, number in circles(plot, "ring")] for name, plot in of.items()} == {
        "progress": ["1"],
        "curves": ["1"],
        "slice": ["2"],
        "parallel": ["2"],
    }
    assert any("pruned" in text for _, _, text in of["progress"].legend)


def test_names_that_are_markup_are_text():
    choices = Categorical(type="categorical", choices=[EVIL, "mse"])
    axis = Axis("consistency.loss", "consistency.loss", choices, Space({"consistency.loss": [choices]}))
    points = [DrawnTrial(0, 0.1, {"consistency.loss": EVIL})]
    plots = [
        search_figures.slice_of(axis, None, points, [], [0.1]),
        search_figures.parallel([axis], points, []),
        search_figures.importance({EVIL: 1.0, "b": 0.0}),
        class_figures.confusion(Confusion(np.eye(2, dtype=np.int64)), [EVIL, "b"]),
        figures.differences(verdict(("a", -0.1, True)), [EVIL], "error"),
    ]
    for plot in plots:
        assert EVIL in texts(plot)
        assert "<b>" not in plot.body


def test_differences_are_coloured_by_who_won():
    names = ["Mean Teacher minus a", "Mean Teacher minus b", "Mean Teacher minus c"]
    plot = figures.differences(verdict(("a", -0.1, True), ("b", 0.1, True), ("c", -0.001, False)), names, "error")
    squares = [one for one in drawn(plot) if one.tag == "rect"]
    assert [one.get("class").split()[1] for one in squares] == [BEST, OTHER, MUTED]
    assert float(squares[0].get("x")) < float(squares[2].get("x")) < float(squares[1].get("x"))
    assert set(names) <= set(texts(plot))


def test_a_trial_has_a_gap_at_a_parameter_that_it_does_not_have():
    with_weight = trial(0, 0.1)
    without = trial(1, 0.2, **{"consistency.loss": "mse"})
    plot = search_figures.parallel([LOSS, DECAY, KL, FRACTION], [with_weight, without], [])
    pieces = [one.get("data-t") for one in drawn(plot) if one.tag == "path" and one.get("data-t")]
    assert sorted(pieces) == ["0", "1", "1"]


@pytest.mark.parametrize(("low", "high"), [(0, 7), (0.031, 0.042), (1, 30000), (93, 97)])
def test_ticks_are_round_numbers_inside_the_range(low, high):
    ticks = even_ticks(low, high)
    assert 2 <= len(ticks) <= 6
    assert low <= min(ticks) < max(ticks) <= high
    assert all(len(f"{tick:g}") <= 6 for tick in ticks)


@pytest.mark.parametrize(("low", "high"), [(0.001, 0.2), (3, 300), (2.2, 4), (5.7, 62), (5.1, 5.2), (1e-6, 1)])
def test_logarithmic_ticks_are_two_or_more_inside_the_range(low, high):
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 9
    assert low * 0.999 <= min(ticks) < max(ticks) <= high * 1.001


def test_durations_are_in_seconds_minutes_or_hours_by_their_size():
    shown = {12.34: "12 h 20 min", 0.5: "30 min 00 s", 0.0125: "45 s", 0.00059: "2.1 s", 0.0: "0 s"}
    assert {hours: hours_text(hours) for hours in shown} == shown


@pytest.mark.parametrize(
    ("hours", "unit", "tick"), [(0.005, "seconds", "15"), (0.5, "minutes", "30"), (5.0, "hours", "5")]
)
def test_the_axis_of_a_duration_has_a_unit_of_its_size(hours, unit, tick):
    rows = [Progress(0, "complete", hours, hours, 0.1, 0.1, 0.1)]
    assert {f"GPU-{unit} of all trials together", tick} <= set(texts(search_figures.progress(rows, "gpu_hours")))
    assert {f"{unit} of all workers together", tick} <= set(texts(search_figures.progress(rows, "hours")))


def test_many_classes_are_drawn_without_numbers_and_few_with_them():
    few = class_figures.confusion(Confusion(np.diag([31, 5])), ["cat", "dog"])
    assert {"31", "5", "cat", "dog"} <= set(texts(few))
    many = class_figures.confusion(Confusion(np.diag([31] * 20)), [f"class {i}" for i in range(20)])
    assert "31" not in texts(many)


def test_the_names_of_columns_are_text_in_the_style_of_a_table():
    names = Table("t", ['a";}body{display:none', "ema.decay"], []).css_names
    assert re.fullmatch(r'--n1:"[a-z\\0-9 ]*";--n2:"ema\\00002edecay";', names)


def test_a_long_table_is_folded_after_some_rows():
    rows = [[str(i)] for i in range(30)]
    assert Table("t", ["trial"], rows, shown=20).parts == [(0, 20), (20, 30)]
    assert Table("t", ["trial"], rows[:20], shown=20).parts == [(0, 20)]
    assert Table("t", ["trial"], rows).parts == [(0, 30)]


def test_figures_have_no_colours_but_those_of_the_page():
    rows = [Progress(0, "complete", hours=1.0, gpu_hours=0.0, error=0.1, last_error=0.1, best=0.1)]
    lines = [Curve(arm, 0, [1, 2], student=[0.5, 0.1], teacher=[0.5, None]) for arm in ("search", "supervised")]
    curves = Curves(of=1, rungs=[1], ramp_up=1, best=0, lines=lines)
    points = [trial(0, 0.1), trial(1, 0.2)]
    by_seed = {"trial 1": {1: 0.1, 2: 0.2}, "supervised": {1: 0.3}}
    plots = [
        figures.means(verdict(), by_seed, "error"),
        figures.differences(verdict(("a", -0.1, True)), ["trial 1 minus a"], "error"),
        search_figures.progress(rows, "hours"),
        search_figures.curves(curves, "teacher", 2, pruned=[]),
        search_figures.slice_of(FRACTION, None, points, [0], [0.1, 0.2]),
        search_figures.parallel([DECAY, LOSS, MSE, KL], points, [0]),
        search_figures.importance({"a": 0.7, "b": 0.3}),
        figures.seeds(by_seed, "trial 1", "error"),
    ]
    for plot in plots:
        assert not re.findall(r"#[0-9a-f]{3,8}|rgb\(|\bfill=|\bstroke=|style=", plot.body)
        inside = [float(one.get(name)) for one in drawn(plot) for name in ("x", "cx") if one.get(name)]
        assert all(0 <= x <= plot.width for x in inside)


def test_the_name_of_a_column_keeps_its_blanks_in_a_style_sheet():
    escaped = _css("95 % interval")
    shown = re.sub(r"\\([0-9a-f]{6}) ?", lambda code: chr(int(code[1], 16)), escaped)  # as a browser reads it
    assert shown == "95 % interval"


def test_no_line_runs_through_the_name_of_a_row():
    plots = [
        figures.differences(
            verdict(("a", -0.1, True), ("b", 0.1, True)), ["trial 1 minus a", "trial 1 minus b"], "error"
        ),
        figures.means(verdict(), {"trial 1": {1: 0.1}}, "error"),
        search_figures.importance({"ema.decay": 0.7, "consistency.weight": 0.3}),
    ]
    for plot in plots:
        names = [float(one.get("y")) for one in drawn(plot) if one.get("class") == "label"]
        assert names
        lines = [re.findall(r"[\d.]+", one.get("d")) for one in drawn(plot) if one.get("class", "").endswith("thin")]
        upright = [(float(top), float(foot)) for left, top, right, foot in lines if left == right]
        assert upright
        through = [(top, y) for top, foot in upright for y in names if top < y + 2 and foot > y - 11]
        assert through == [], "letters are 11 high, and 2 below the line"
