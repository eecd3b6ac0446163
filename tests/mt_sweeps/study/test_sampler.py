import shutil

import optuna
import pytest

from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.load import load_spec
from mt_sweeps.study import sampler
from mt_sweeps.study.ledger import Ledger
from tests.helpers.command_line import DIGITS
from tests.helpers.sweeps import digits, finish, new_ledger, reopened, report, run_all, url, written


@pytest.fixture
def ledger(tmp_path):
    return new_ledger(tmp_path / "ledger.db", digits("trials=4", "finalists.baselines=[]"))


GRID = {
    **yaml_file.read(DIGITS),
    "search_space": {
        "ema.decay": {"type": "float", "low": 0.9, "high": 0.999, "scale": "one_minus_log", "levels": 3},
        "seed": {"type": "categorical", "choices": [0, 1]},
        "consistency.loss": {"type": "categorical", "choices": ["mse", "kl"]},
    },
    "sampler": {"name": "grid"},
    "points": [],
    "finalists": {"baselines": []},
}
del GRID["trials"]


def test_points_that_leave_keys_open_get_different_values_for_them(tmp_path):
    same = "points=[{consistency.loss: mse}, {consistency.loss: mse}]"
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3", "finalists.baselines=[]", same))
    assert len({trial.values["consistency.weight"] for trial in run_all(ledger)}) == 3


def test_points_come_first_then_the_sampler(ledger):
    asked = run_all(ledger)
    assert [trial.number for trial in asked if trial.arm == "search"] == [0, 1, 2, 3]
    assert asked[0].values == ledger.spec.points[0]


@pytest.mark.system
def test_a_resumed_sweep_makes_the_suggestions_of_an_undisturbed_one(tmp_path):
    spec = digits("trials=12", "sampler.name=random")
    undisturbed = run_all(new_ledger(tmp_path / "a.db", spec))
    new_ledger(tmp_path / "b.db", spec).close()
    resumed = []
    for _ in range(14):  # a new process, as it were, for every trial
        ledger = Ledger(tmp_path / "b.db", spec)
        trial = ledger.ask_search()
        resumed.append(trial)
        finish(ledger, trial)
        ledger.close()
    assert [t.values for t in resumed] == [t.values for t in undisturbed]
    distinct = {str(trial.values) for trial in resumed if trial.arm == "search"}
    assert len(distinct) == 12


@pytest.mark.system
def test_a_trial_whose_values_are_at_fault_is_as_bad_as_can_be_to_the_sampler(tmp_path):
    learning = digits("trials=40", "points=[]", "finalists.baselines=[]", "sampler.name=tpe")
    asked = {}
    for reason in ("diverged", "refused", "error"):
        ledger = new_ledger(tmp_path / f"{reason}.db", learning)
        for trial in iter(ledger.ask_search, None):
            if trial.values["consistency.loss"] == "kl":
                ledger.fail(trial, reason, "", None)
            else:
                finish(ledger, trial, 0.1)
        asked[reason] = sum(trial.values["consistency.loss"] == "kl" for trial in ledger.trials("search"))
    assert max(asked["diverged"], asked["refused"]) < asked["error"], (
        "a bug or a lost worker says nothing of the values"
    )


@pytest.mark.system
@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_reopened_ledger_suggests_what_an_undisturbed_one_would(sampler, tmp_path):
    spec = digits("trials=20", "points=[]", "finalists.baselines=[]", f"sampler.name={sampler}")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    open_trials = []
    for number in range(15):
        trial = ledger.ask_search()
        if number % 5 == 1:
            ledger.report(trial, report(90, 0.9))
            ledger.prune(trial, report(90, 0.9))
        elif number % 5 == 2:
            ledger.fail(trial, "diverged" if number % 2 else "error", "", None)
        elif number in (4, 9):
            ledger.end_by_hand(trial, [report(90, 0.9)] if number == 4 else [])
        elif number % 5 == 3:
            open_trials.append(trial)
        else:
            finish(ledger, trial, 0.1 + number / 100)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert Ledger(tmp_path / "copy.db", spec).ask_search().values == ledger.ask_search().values


@pytest.mark.system
def test_a_grid_is_run_whole_in_its_order_and_outlasts_a_reopening(tmp_path):
    spec = load_spec(written(tmp_path, GRID))
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    first = [ledger.ask_search(), ledger.ask_search()]
    for trial in first:
        finish(ledger, trial)
    rest = run_all(reopened(ledger, tmp_path))
    assert [trial.values for trial in (*first, *rest)] == spec.space().grid()
    assert len(spec.space().grid()) == spec.trials == 12
    assert [trial.values["seed"] for trial in (*first, *rest)] == [0] * 6 + [1] * 6


@pytest.mark.system
def test_a_sampler_looks_at_the_newest_and_the_best_trials_and_a_reopened_ledger_at_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(sampler, "NEWEST", 12)
    monkeypatch.setattr(sampler, "_BEST", 2)
    spec = digits("trials=50", "points=[]", "finalists.baselines=[]")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    for number in range(40):
        trial = ledger.ask_search()
        ledger.report(trial, report(300, 0.1 + 0.01 * number))
        ledger.complete(trial, report(300, 0.1 + 0.01 * number))
    known = ledger._samplers["search"]._numbers
    assert sorted(known) == [0, 1, *range(24, 40)], "24 to 39 are the newest, 0 and 1 the best of before"
    again = Ledger(tmp_path / "ledger.db", spec)
    expected = [ledger._suggest("search", 40 + i).values for i in range(3)]
    assert [again._suggest("search", 40 + i).values for i in range(3)] == expected


@pytest.mark.system
def test_no_trial_breaks_a_filter_whatever_the_sampler(tmp_path):
    rule = "filters=['consistency.weight > 20 or labeled_batch_fraction == 0.5']"
    for name in ("random", "tpe", "gp"):
        spec = digits("trials=15", "points=[]", "finalists.baselines=[]", f"sampler.name={name}", rule)
        for trial in run_all(new_ledger(tmp_path / f"{name}.db", spec)):
            assert trial.values["consistency.weight"] > 20 or trial.values["labeled_batch_fraction"] == 0.5


def test_gp_models_the_parameters_of_every_branch(tmp_path):
    spec = digits("trials=2", "finalists.baselines=[]", "sampler.name=gp")
    run_all(new_ledger(tmp_path / "ledger.db", spec))
    trial = optuna.load_study(study_name="digits", storage=url(tmp_path)).trials[1]
    assert {"consistency.weight[mse]", "consistency.weight[kl]"} <= trial.params.keys()
