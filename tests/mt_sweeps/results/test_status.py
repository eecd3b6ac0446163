"""What `status` and `list` show, for people and as the JSON that docs/json.md describes."""

import json
from dataclasses import replace

import pytest

from mt_sweeps.formatting import local_time
from mt_sweeps.results.status import ArmStatus, BestStatus, SweepStatus, list_text, status_text, sweep_status
from mt_sweeps.results.training_result import FinalModel
from tests.helpers.sweeps import Sweep, report, supervised_report

SEARCH = ArmStatus(total=5, waiting=1, running=0, complete=2, pruned=1, failed=1)
BEST = BestStatus(3, "validation.teacher_error", 0.07, 0.01, {"ema.decay": 0.99}, "random")
STATUS = SweepStatus("digits", "interrupted", {"search": SEARCH}, BEST, started=1.7e9, seconds=61.0)


def test_the_keys_of_the_json_and_their_order_are_fixed():
    shown = json.loads(json.dumps(STATUS.as_json()))
    assert " ".join(shown) == (
        "format name state arms best started seconds failure seconds_left search verdict comparisons trained "
        "probe unstarted"
    )
    assert " ".join(shown["arms"]["search"]) == "total waiting running complete pruned failed"
    assert " ".join(shown["best"]) == "trial metric error standard_error values origin"
    assert shown["format"] == "mt-sweeps-status/1"
    assert replace(STATUS, best=None).as_json()["best"] is None


def test_a_status_counts_trials_by_state_and_says_how_to_go_on():
    text = status_text(STATUS, "mt-sweep resume digits")
    assert text.startswith(f"digits: interrupted, 1 min 01 s of work; started {local_time(1.7e9)}\n")
    assert "  search     5 trials: 1 waiting, 2 complete, 1 pruned, 1 failed\n" in text
    assert "  best       trial 3: 7.0 % ± 1.0\n" in text
    assert "  go on with: mt-sweep resume digits" in text
    assert "go on with" not in status_text(replace(STATUS, state="finished"), "")


def test_test_errors_of_final_models_stand_with_where_they_lie():
    model = FinalModel("search", 3, 0, [], "teacher", 0.05, 0.03, 0.08, 359, "sweeps/trained/digits-1a2b3c4d-seed-0")
    baseline = replace(model, arm="supervised", trial=1, changed=["steps"], error=None, folder="other")
    text = status_text(replace(STATUS, trained=(model, baseline)), "")
    assert (
        "  test error 5.0 % [3.0, 8.0] on 359 images: trial 3, seed 0, in sweeps/trained/digits-1a2b3c4d-seed-0\n"
        "             no test images: supervised 1, seed 0, not as exported (steps), in other\n"
    ) in text
    assert "test error" not in status_text(STATUS, "")


def test_a_sweep_that_has_not_ended_says_how_long_it_takes_still(tmp_path):
    sweep = Sweep(tmp_path, "trials=3", "finalists.baselines=[]", "finalists.top=0", "pruner.name=none")
    assert sweep_status(sweep.directory).seconds_left is None
    assert "1 min 01 s of work, about 2 min 05 s left; " in status_text(replace(STATUS, seconds_left=125.0), "")
    for _ in range(3):
        trial = sweep.ledger.ask_search()
        sweep.ledger.report(trial, report(300, 0.5))
        sweep.ledger.complete(trial, report(300, 0.5))
        left = sweep_status(sweep.directory).seconds_left
        assert left is None if trial.number == 2 else left > 0


def test_finalists_that_are_left_are_called_a_maximum_and_why_they_ended_is_said():
    finalists = ArmStatus(total=24, waiting=14, running=0, complete=10, pruned=0, failed=0)
    status = replace(STATUS, arms={"search": SEARCH, "finalists": finalists})
    assert "  finalists  at most 24 trials: 14 waiting, 10 complete\n" in status_text(status, "")
    ended = "decided after 5 of at most 8 seeds"
    status = replace(status, arms={"finalists": replace(finalists, total=15, waiting=0, complete=15)}, verdict=ended)
    text = status_text(status, "")
    assert "  finalists  15 trials: 15 complete\n" in text
    assert f"  verdict    {ended}\n" in text
    beats = "trial 6 beats supervised by 4.6 points [1.7, 7.4], p = 0.0075, after 6 seeds"
    text = status_text(replace(status, comparisons=(beats,)), "")
    assert f"  verdict    {beats}\n             {ended}\n" in text, "what was decided stands first"


def test_where_a_budget_left_contenders_uncompared_it_is_said(tmp_path):
    sweep = Sweep(tmp_path, "trials=1", "finalists.baselines=[supervised]", "finalists.top=1")
    for trial in iter(sweep.ledger.ask_search, None):
        sweep.ledger.complete(trial, (supervised_report if trial.arm == "supervised" else report)(300, 0.2))
    assert sweep_status(sweep.directory).verdict == ""
    sweep.ledger.record_end("the budget is spent")
    status = sweep_status(sweep.directory)
    assert status.verdict.startswith("trial 0 (0 seeds) is not compared with supervised (0 seeds)")
    assert "and the budget is spent" in status_text(status, "")


@pytest.mark.parametrize(
    ("reasons", "state"),
    [(["diverged", "collapsed", "diverged"], "failed"), (["diverged"] * 3, "failed"), (["diverged"], "interrupted")],
)
def test_a_sweep_whose_trials_all_failed_is_not_to_be_resumed(tmp_path, reasons, state):
    sweep = Sweep(tmp_path, "finalists.baselines=[]", "finalists.top=2")
    for reason in reasons:
        sweep.ledger.fail(sweep.ledger.ask_search(), reason, "it failed", None)
    shown = sweep_status(sweep.directory)
    assert shown.state == state
    assert shown.failure == ("trial 0: diverged: it failed" if state == "failed" else "")
    assert list_text([shown]).endswith("trial 0: diverged: it failed") == (state == "failed")
    assert ("failed     trial 0: diverged: it failed" in status_text(shown, "")) == (state == "failed")
    assert ("go on with" in status_text(shown, "mt-sweep resume digits")) == (state == "interrupted")


def test_a_list_has_one_line_per_sweep():
    lines = list_text([STATUS, replace(STATUS, name="a", best=None)]).splitlines()
    begun = f"interrupted  {local_time(1.7e9)}    1 min 01 s of work  4/5 trials"
    assert lines[0] == f"digits  {begun}      best 7.0 % ± 1.0"
    assert lines[1] == f"a       {begun}"
    assert "mt-sweep run" in list_text([])
