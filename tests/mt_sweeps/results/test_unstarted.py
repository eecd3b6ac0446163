"""A sweep that its budget cut off says so, and what goes on with it, where people look."""

import pytest

from mt_sweeps.report import build
from mt_sweeps.report.axes import axes
from mt_sweeps.report.chapters import all_chapters, state_line
from mt_sweeps.results.status import status_text, sweep_status
from mt_sweeps.results.unstarted import unstarted_text
from mt_sweeps.study.budget import SPENT
from tests.helpers.sweeps import Sweep, finish


def cut_off(folder, budget="budget.hours=0.01", reason=SPENT):
    """A sweep that its driver ended after the first of three trials."""
    sweep = Sweep(folder, "finalists.baselines=[supervised]", "finalists.top=1", budget)
    finish(sweep.ledger, sweep.ledger.ask_search())
    sweep.ledger.record_active_seconds(60.0)
    sweep.ledger.save_time()
    sweep.ledger.record_end(reason)
    return sweep


def test_a_sweep_that_its_budget_cut_off_says_what_is_missing_and_how_to_go_on(tmp_path):
    sweep = cut_off(tmp_path)
    text = unstarted_text(sweep.directory, sweep.ledger)
    assert text == (
        "the budget is spent; 2 of 3 search trials were not started; no supervised baseline was run; no finalists were "
        f"trained; to go on, give it more hours: `{sweep.directory.resume_command} --hours +1`"
    )
    status = status_text(sweep_status(sweep.directory), "")
    assert f"  ended      {text}\n  search     3 trials: 2 not started, 1 complete\n" in status
    assert "waiting" not in status
    findings = build(sweep.directory)
    assert state_line(findings).startswith(
        f"Finished. 1 of 3 trials searched: 1 complete. 1 min 00 s of work in all. T{text[1:]}. Started "
    )
    verdict = all_chapters(findings, axes(sweep.spec), {}, "", "")[0]
    assert verdict.lead[0].startswith("No verdict: no finalists have been trained, since the budget is spent. ")


@pytest.mark.parametrize(
    ("budget", "reason", "way"),
    [
        ("budget.gpu_hours=0.01", SPENT, "raise budget.gpu_hours in "),
        ("budget.patience=1", "the best has not improved", "raise budget.patience in "),
    ],
)
def test_another_limit_is_raised_in_the_file(tmp_path, budget, reason, way):
    sweep = cut_off(tmp_path, budget, reason)
    assert f"to go on, {way}" in unstarted_text(sweep.directory, sweep.ledger)


def test_of_a_sweep_that_left_nothing_unstarted_nothing_is_said(tmp_path):
    sweep = cut_off(tmp_path, reason="")
    assert unstarted_text(sweep.directory, sweep.ledger) == ""
    assert sweep_status(sweep.directory).unstarted == ""
