"""The words of chapters, made of findings alone."""

import dataclasses

import pytest

from mt_sweeps.report import chapters
from mt_sweeps.report.axes import axes
from tests.helpers.sweeps import digits
from tests.mt_sweeps.report.test_findings import FINDINGS


def chapter(title, **changes):
    """A chapter of the findings with these changes."""
    findings = dataclasses.replace(FINDINGS, **{"trials": FINDINGS.trials[:1]} | changes)
    return next(one for one in chapters.all_chapters(findings, axes(digits()), {}, "", "") if one.title == title)


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
