"""Single figures and the axes that they are drawn on."""

import json
import math
import re

import pytest

from mt_sweeps.report import figures, search_figures
from mt_sweeps.report.axes import Axis, axes
from mt_sweeps.report.findings import CompletedTrial, Curve, Curves, GoodChoice, GoodRange, Progress
from mt_sweeps.report.plotting import errors_axis
from mt_sweeps.results.finalists import MeanError, Verdict
from mt_sweeps.results.statistics import Comparison, Interval
from mt_sweeps.search_space.distributions import Categorical
from mt_sweeps.search_space.space import Space
from tests.helpers.sweeps import digits

DECAY, LOSS, MSE, KL, FRACTION = axes(digits())
VALUES = {"ema.decay": 0.99, "consistency.loss": "kl", "consistency.weight": 3.0, "labeled_batch_fraction": 0.25}


def trial(number, error, **changes):
    return CompletedTrial(number, error, {**VALUES, **changes})


def verdict(*differences):
    comparisons = [
        Comparison("trial 1", name, Interval(mean, mean - 0.02, mean + 0.01), 0.01 if significant else 0.5, 5)
        for name, mean, significant in differences
    ]
    means = {name: MeanError(0.2, 0.1, 0.4, seeds=5) for name in ("trial 1", "supervised")}
    return Verdict(means, comparisons, gain=None, failed={}, images=300, kept_back=True)


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


def test_a_decay_is_drawn_as_one_minus_itself_on_a_logarithmic_axis_with_the_good_region_there():
    points = [trial(0, 0.1), trial(1, 0.2, **{"ema.decay": 0.9})]
    plot = search_figures.slice_of(DECAY, GoodRange(0.9, 0.99), points, [0], [0.1, 0.2])
    across = plot["layout"]["xaxis"]
    assert (across["type"], across["title"]["text"]) == ("log", "1 − ema.decay")  # noqa: RUF001 (a minus)
    assert [trace["x"] for trace in plot["data"]] == [
        [pytest.approx(0.1)],
        [pytest.approx(0.01)],
        [pytest.approx(0.01)],
    ]
    (region,) = plot["layout"]["shapes"]
    assert (region["x0"], region["x1"]) == pytest.approx((0.1, 0.01))


def test_only_the_best_of_all_is_marked_as_the_best():
    other = search_figures.slice_of(KL, None, [trial(3, 0.3)], [], [0.1, 0.3])
    assert [trace["name"] for trace in other["data"] if trace["x"]] == ["completed"]


def test_choices_lie_at_their_places_and_those_with_their_share_are_marked():
    region = [GoodChoice("mse", 1, marked=False), GoodChoice("kl", 2, marked=True)]
    plot = search_figures.slice_of(LOSS, region, [trial(i, 0.1 + i / 10) for i in range(3)], [0, 1], [0.1, 0.2, 0.3])
    assert plot["layout"]["xaxis"]["ticktext"] == ["mse", "kl"]
    drawn = [x for trace in plot["data"] for x in trace["x"]]
    assert all(0.7 < x < 1.3 for x in drawn), "beside each other at kl"
    assert [(one["x0"], one["x1"]) for one in plot["layout"]["shapes"]] == [(0.6, 1.4)]


def test_a_choice_that_is_markup_is_text():
    choices = Categorical(type="categorical", choices=["</script><b>", "mse"])
    space = Space({"consistency.loss": [choices]})
    axis = Axis("consistency.loss", "consistency.loss", choices, space)
    points = [CompletedTrial(0, 0.1, {"consistency.loss": "</script><b>"})]
    for plot in (search_figures.slice_of(axis, None, points, [], [0.1]), search_figures.parallel([axis], points, [])):
        assert "&lt;b&gt;" in json.dumps(plot)
        assert "<b>" not in json.dumps(plot)


def test_differences_are_coloured_by_who_won():
    plot = figures.differences(verdict(("a", -0.1, True), ("b", 0.1, True), ("c", -0.001, False)))
    assert [trace["marker"]["color"] for trace in plot["data"]] == [figures.BEST, figures.OTHER, figures.MUTED]
    first = plot["data"][0]
    assert (first["x"], first["error_x"]["arrayminus"], first["error_x"]["array"]) == (
        [pytest.approx(-10)],
        [pytest.approx(2)],
        [pytest.approx(1)],
    )


def test_errors_far_apart_are_on_a_logarithmic_axis_unless_one_is_zero():
    assert errors_axis([0.05, 0.9])["type"] == "log"
    assert "type" not in errors_axis([0.05, 0.1])
    assert "type" not in errors_axis([0.0, 0.9])
    assert errors_axis([])["range"][0] == 0.0


def test_what_a_trial_does_not_have_is_below_the_axes():
    plot = search_figures.parallel([LOSS, KL], [trial(0, 0.1), trial(1, 0.2, **{"consistency.loss": "mse"})], [])
    heights = [y for trace in plot["data"] for y in trace["y"] if y is not None]
    assert min(heights) < 0
    assert "not searched" in [one["text"] for one in plot["layout"]["annotations"]]
    all_have_it = search_figures.parallel([LOSS, MSE, KL], [trial(0, 0.1), trial(1, 0.2)], [])
    assert "not searched" not in [one["text"] for one in all_have_it["layout"]["annotations"]]


def test_the_hours_of_a_short_sweep_are_told_in_minutes_or_seconds():
    for hours, unit in ((2.0, "GPU-hours"), (0.5, "GPU-minutes"), (0.001, "GPU-seconds")):
        rows = [Progress(0, "complete", hours=hours, gpu_hours=hours, error=0.1, best=0.1)]
        plot = search_figures.progress(rows, "gpu_hours")
        assert plot["layout"]["xaxis"]["title"]["text"] == unit
        assert plot["data"][0]["x"][0] >= 1


def test_figures_have_no_colours_but_those_of_the_page():
    rows = [Progress(0, "complete", hours=1.0, gpu_hours=0.0, error=0.1, best=0.1)]
    lines = [Curve(arm, 0, [1, 2], student=[0.5, 0.1], teacher=[0.5, None]) for arm in ("search", "supervised")]
    curves = Curves(of=1, rungs=[1], ramp_up=1, best=0, lines=lines)
    points = [trial(0, 0.1), trial(1, 0.2)]
    by_seed = {"trial 1": {1: 0.1, 2: 0.2}, "supervised": {1: 0.3}}
    plots = [
        figures.means(verdict(), by_seed),
        figures.differences(verdict(("a", -0.1, True))),
        search_figures.progress(rows, "hours"),
        search_figures.curves(curves, "teacher", 2),
        search_figures.slice_of(FRACTION, None, points, [0], [0.1, 0.2]),
        search_figures.parallel([DECAY, LOSS, MSE, KL], points, [0]),
        search_figures.importance({"a": 0.7, "b": 0.3}),
        figures.seeds(by_seed, "trial 1"),
    ]
    for plot in plots:
        assert not re.findall(r'"(#[0-9a-f]{3,8}|rgb\(.*?\))"', json.dumps(plot))
        assert plot["layout"]["xaxis"]["fixedrange"], "a finger on it scrolls the page"
