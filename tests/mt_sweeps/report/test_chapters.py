"""The words of chapters, made of findings alone."""

import dataclasses

import pytest

from mt_sweeps.report import chapters, search_chapters
from mt_sweeps.report.axes import axes
from mt_sweeps.report.search_findings import Progress, TrialFinding
from mt_sweeps.results.statistics import Gain, Interval
from tests.helpers.sweeps import digits
from tests.mt_sweeps.report.test_findings import FINDINGS

VALUES = {"ema.decay": 0.99, "consistency.loss": "kl", "consistency.weight": 3.0, "labeled_batch_fraction": 0.25}


def chapter(title, **changes):
    """A chapter of the findings with these changes."""
    findings = dataclasses.replace(FINDINGS, **{"trials": FINDINGS.trials[:1], "sweep": sweep()} | changes)
    of_space = axes(digits())
    parameters = [dataclasses.replace(findings.parameters[0], good=None)] * len(of_space)
    shown = chapters.all_chapters(dataclasses.replace(findings, parameters=parameters), of_space, {}, "", "")
    return next(one for one in shown if one.title == title)


def sweep(verdict=300, **changes):
    return dataclasses.replace(FINDINGS.sweep, images={"validation": 300, "verdict": verdict}, **changes)


@pytest.mark.parametrize(
    ("of_sweep", "errors"),
    [
        (sweep(), "error on the verdict images"),
        (sweep(error_name="balanced error"), "balanced error on the verdict images"),
        (sweep(verdict=0), "validation error"),
    ],
)
def test_axes_and_tables_of_finalists_say_of_which_images_their_errors_are(of_sweep, errors):
    finalists, verdict = chapter("Finalists", sweep=of_sweep), chapter("Verdict", sweep=of_sweep)
    (by_seed,), (means, differences) = finalists.figures, verdict.figures
    assert f">{errors}</text>" in by_seed.plot.body
    assert f">mean {errors}</text>" in means.plot.body
    assert f">{errors}: difference in points</text>" in differences.plot.body
    titles = [by_seed.table.title, *(table.title for table in verdict.tables)]
    assert all(errors in f"{title[0].lower()}{title[1:]}" for title in titles)


@pytest.mark.parametrize(
    ("first", "last", "change"),
    [
        (0.07, 0.07, "did not change from the 7.0 % of the first trial that completed, which was reached after 1 of 2"),
        (0.0704, 0.0696, "fell by less than 0.1 points, to 7.0 %, which was reached after 2 of 2"),
        (0.09, 0.07, "fell from 9.0 % to 7.0 %, which was reached after 2 of 2"),
    ],
)
def test_the_best_error_is_said_to_have_fallen_only_where_it_did(first, last, change):
    rows = [Progress(i, "complete", 1.0 + i, 0.0, error, error, error) for i, error in enumerate((first, last))]
    trials = [TrialFinding(i, "complete", 300, error, error, "", VALUES) for i, error in enumerate((first, last))]
    over_trials, over_time = chapter("Best so far", progress=rows, trials=trials).figures
    assert over_trials.caption.startswith(f"The best validation error {change} trials")
    assert over_time.caption.endswith(" of 2 h 00 min.")


def test_a_gain_that_may_be_none_is_not_called_one():
    shown = dataclasses.replace(FINDINGS.verdict, gain=Gain(Interval(0.1, 0.05, 0.2), None, 5))
    assert "Gain over the supervised baseline: 10.0 points [5.0, 20.0]." in chapter("Verdict", verdict=shown).lead
    not_shown = dataclasses.replace(FINDINGS.verdict, gain=Gain(Interval(-0.01, -0.06, 0.05), None, 5))
    lead = chapter("Verdict", verdict=not_shown).lead
    assert "No gain over the supervised baseline is shown: -1.0 points [-6.0, 5.0]." in lead


def test_the_best_is_said_to_seem_better_than_it_is_and_baselines_are_those_trials_that_are_compared():
    error, _ = chapter("The best configuration").text
    assert "These images chose it, so this error is likely to be too low." in error
    assert "For comparison, the best trial of each baseline: supervised" in error


def test_hollow_dots_and_lines_are_explained_in_sentences():
    trials = [TrialFinding(i, "complete", 300, 0.1, 0.1, "", VALUES) for i in range(2)]
    trials.append(TrialFinding(2, "pruned", 90, None, 0.4, "", VALUES))
    text, *_ = chapter("Each searched parameter", trials=trials).text
    assert "of the 2 trials that completed. Hollow dots: 1 pruned trial, at the last error. A range" in text
    (figure,) = chapter("All parameters together", trials=trials).figures
    assert figure.caption.startswith("Each line is one of 2 completed trials. From top to bottom, it crosses each axis")


@pytest.mark.parametrize(
    ("good", "why"), [([], "fewer than six trials completed"), ([0], "the trials that completed are too much alike")]
)
def test_why_there_is_no_importance_is_one_reason(good, why):
    findings = dataclasses.replace(FINDINGS, importance=None, good=good)
    assert search_chapters.importance(findings).text == [f"Cannot be computed: {why}."]


def test_the_percentage_below_a_picture_is_explained():
    assert any("probability" in text for text in chapter("Images").text)
    assert not any("probability" in text for text in chapter("Images", pictures=[]).text)
