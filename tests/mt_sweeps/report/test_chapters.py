"""The words of chapters, made of findings alone."""

import dataclasses

import pytest

from mt_sweeps.report import chapters
from mt_sweeps.report.axes import axes
from mt_sweeps.report.search_findings import Progress, TrialFinding
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
