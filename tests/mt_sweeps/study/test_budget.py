import pytest

from mt_sweeps.study import budget
from tests.helpers.sweeps import digits, new_ledger, report, supervised_report


def begun(tmp_path, *overrides):
    """A sweep of which one trial has completed; its workers took a second for each of its 300 steps."""
    ledger = new_ledger(tmp_path / "ledger.db", digits("finalists.baselines=[]", *overrides))
    trial = ledger.ask_search()
    ledger.report(trial, report(300, 0.5))
    ledger.complete(trial, report(300, 0.5))
    ledger.seconds_done = 300.0
    return ledger


def test_without_limits_the_search_goes_on(tmp_path):
    assert budget.stop_reason(begun(tmp_path), 1e9, 1e9, 1.0, 1) is None


@pytest.mark.parametrize(("limit", "spent"), [("budget.hours=1.0", (3600, 0)), ("budget.gpu_hours=1.0", (0, 3600))])
def test_a_spent_budget_ends_everything(limit, spent, tmp_path):
    ledger = begun(tmp_path, limit)
    assert budget.is_spent(ledger, *spent)
    assert budget.stop_reason(ledger, *spent, 1.0, 1) == budget.SPENT
    assert not budget.is_spent(ledger, 3599, 3599)
    assert budget.stop_reason(ledger, 3599, 3599, 1.0, 1) is None


def test_the_search_leaves_the_finalists_what_they_are_forecast_to_need(tmp_path):
    ledger = begun(tmp_path, "budget.hours=1.0", "finalists.top=2", "finalists.seeds=3")
    needed = 2 * 3 * 300 / 2  # two at once
    assert budget.stop_reason(ledger, 3600 - needed - 1, 0, 0.0, 2) is None
    assert "for the finalists" in budget.stop_reason(ledger, 3600 - needed, 0, 0.0, 2)
    assert not budget.is_spent(ledger, 3600 - needed, 0), "they are not ended by it"


def test_finalists_are_left_nothing_before_each_baseline_has_a_trial(tmp_path):
    settings = ("trials=2", "budget.hours=1.0", "finalists.top=1", "finalists.seeds=3")
    ledger = new_ledger(tmp_path / "ledger.db", digits(*settings))
    for _ in range(3):
        assert budget.stop_reason(ledger, 3599, 0, 0.0, 2) is None
        trial = ledger.ask_search()
        ledger.complete(trial, supervised_report(300, 0.5) if trial.arm == "supervised" else report(300, 0.5))
        ledger.seconds_done += 300.0
    assert {arm: len(ledger.trials(arm)) for arm in ("search", "supervised", "published")} == dict.fromkeys(
        ("search", "supervised", "published"), 1
    )
    assert "for the finalists" in budget.stop_reason(ledger, 3599, 0, 0.0, 2)


def test_the_hours_that_a_search_lacks_are_those_of_all_that_is_left(tmp_path):
    ledger = begun(tmp_path, "trials=4", "budget.hours=1.0", "finalists.top=2", "finalists.seeds=3")
    assert budget.hours_to_search_on(ledger, 3600 - 1350, 2) is None, "three trials and six finalists, two at once"
    assert budget.hours_to_search_on(ledger, 3600, 2) == 0.38


def test_gpu_hours_of_finalists_do_not_depend_on_how_many_run_at_once(tmp_path):
    ledger = begun(tmp_path, "budget.gpu_hours=1.0", "finalists.top=2", "finalists.seeds=3")
    needed = 2 * 3 * 300 * 0.5
    assert budget.stop_reason(ledger, 0, 3600 - needed - 1, 0.5, 2) is None
    assert budget.stop_reason(ledger, 0, 3600 - needed, 0.5, 2) is not None


def test_a_search_whose_best_does_not_improve_beyond_its_noise_is_over(tmp_path):
    ledger = begun(tmp_path, "budget.patience=2")
    for error in (0.495, 0.2, 0.195):
        ledger.complete(ledger.ask_search(), report(300, error))
        assert budget.stop_reason(ledger, 0, 0, 0.0, 2) is None
    ledger.complete(ledger.ask_search(), report(300, 0.6))
    assert "has not improved beyond its noise for 2 completed trials" in budget.stop_reason(ledger, 0, 0, 0.0, 2)
