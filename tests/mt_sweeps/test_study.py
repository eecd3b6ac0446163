import shutil
import sqlite3
import time

import optuna
import pytest

from mt_sweeps import sampling, yaml_file
from mt_sweeps import spec as specs
from mt_sweeps.errors import InputError
from mt_sweeps.study import LOSSES, Ledger
from tests.mt_sweeps.support import DIGITS, digits, new_ledger, report, supervised_report, written


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


def url(folder):
    return f"sqlite:///{folder / 'ledger.db'}"


def reopened(ledger, tmp_path):
    ledger.close()
    return Ledger(tmp_path / "ledger.db", ledger.spec)


def finish(ledger, trial, error=0.1):
    last = supervised_report(300, error) if trial.arm == "supervised" else report(300, error)
    ledger.report(trial, last)
    return ledger.complete(trial, last)


def run_all(ledger):
    asked = []
    while trial := ledger.ask():
        asked.append(trial)
        finish(ledger, trial)
    return asked


def test_baselines_run_beside_the_search(tmp_path):
    learned = "search_space.optimizer.learning_rate={type: categorical, choices: [0.1, 0.2]}"
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3", "points=[]", learned))
    assert [trial.arm for trial in run_all(ledger)] == ["search", "supervised", "published"] + 2 * [
        "search",
        "supervised",
    ]
    single = new_ledger(tmp_path / "single.db", digits("trials=3"))
    assert [trial.arm for trial in run_all(single)] == ["search", "supervised", "published", "search", "search"]


def test_the_published_baseline_has_its_settings_in_the_ledger_and_they_outlast_a_lost_driver(tmp_path):
    spec = digits("trials=1", "finalists.baselines=[published]")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    ledger.ask()
    ledger.requeue(ledger.ask())
    again = reopened(ledger, tmp_path).ask()
    assert (again.arm, again.number, again.attempt) == ("published", 0, 2)
    assert again.values == spec.published(10, 788)


def test_the_published_baseline_is_neither_pruned_nor_the_best(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3", "points=[]", "finalists.baselines=[published]"))
    trials = {trial.arm: trial for trial in iter(ledger.ask, None)}
    for trial in ledger.trials("search"):
        ledger.report(trial, report(90, 0.1))
    assert not ledger.report(trials["published"], report(90, 0.9))
    ledger.complete(trials["search"], report(300, 0.1))
    finish(ledger, trials["published"], 0.01)
    assert ledger.best().arm == "search"


def test_points_that_leave_keys_open_get_different_values_for_them(tmp_path):
    same = "points=[{consistency.loss: mse}, {consistency.loss: mse}]"
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=3", "finalists.baselines=[]", same))
    assert len({trial.values["consistency.weight"] for trial in run_all(ledger)}) == 3


def test_the_time_of_a_lost_worker_is_spent(ledger):
    ledger.lose(ledger.ask(), "killed")
    time.sleep(0.2)
    spent = ledger.lose(ledger.ask(), "killed")
    assert spent.seconds > 0
    assert spent.started > 0


def test_points_come_first_then_the_sampler(ledger):
    asked = run_all(ledger)
    assert [trial.number for trial in asked if trial.arm == "search"] == [0, 1, 2, 3]
    assert asked[0].values == ledger.spec.points[0]


def test_what_was_told_is_there_after_a_reopening(ledger, tmp_path):
    trial = finish(ledger, ledger.ask(), 0.25)
    ledger.active_seconds = 12.0
    ledger.save_time()
    again = reopened(ledger, tmp_path)
    assert again.trials("search") == [trial]
    assert again.best() == trial
    assert again.active_seconds == 12.0
    assert trial.error("validation.teacher_error") == (0.25, 0.01)


def test_a_resumed_sweep_makes_the_suggestions_of_an_undisturbed_one(tmp_path):
    spec = digits("trials=12", "sampler.name=random")
    undisturbed = run_all(new_ledger(tmp_path / "a.db", spec))
    new_ledger(tmp_path / "b.db", spec).close()
    resumed = []
    for _ in range(14):  # a new process, as it were, for every trial
        ledger = Ledger(tmp_path / "b.db", spec)
        trial = ledger.ask()
        resumed.append(trial)
        finish(ledger, trial)
        ledger.close()
    assert [t.values for t in resumed] == [t.values for t in undisturbed]
    distinct = {str(trial.values) for trial in resumed if trial.arm == "search"}
    assert len(distinct) == 12


def test_a_requeued_trial_keeps_its_values_and_number_and_counts_its_attempts(ledger, tmp_path):
    first = ledger.ask()
    second = ledger.ask()
    ledger.requeue(second)
    again = reopened(ledger, tmp_path).ask()
    assert (again.number, again.values, again.attempt) == (second.number, second.values, 2)
    assert first.attempt == 1


def test_a_trial_whose_worker_is_lost_again_and_again_fails(ledger):
    for attempt in range(1, LOSSES + 1):
        trial = ledger.ask()
        assert trial.attempt == attempt
        trial = ledger.lose(trial, "killed")
    assert (trial.state, trial.reason) == ("failed", "lost_worker")
    assert "killed" in trial.message


def test_drivers_may_be_lost_as_often_as_they_like(ledger):
    for _ in range(LOSSES + 2):
        trial = ledger.requeue(ledger.ask())
    assert trial.state == "waiting"


def test_failed_trials_count_and_their_reason_is_kept(ledger):
    failed = ledger.fail(ledger.ask(), "diverged", "Diverged: loss is nan", None)
    assert (failed.state, failed.reason, failed.message) == ("failed", "diverged", "Diverged: loss is nan")
    assert len([trial for trial in run_all(ledger) if trial.arm == "search"]) == 3


def test_the_first_three_failing_alike_are_a_configuration_error(ledger):
    for reason in ("diverged", "diverged"):
        ledger.fail(ledger.ask(), reason, "", None)
        assert ledger.common_failure() is None
    ledger.fail(ledger.ask(), "diverged", "", None)
    assert ledger.common_failure().number == 0


def test_failing_differently_or_after_a_success_is_no_configuration_error(ledger, tmp_path):
    for reason in ("diverged", "out_of_memory", "diverged"):
        ledger.fail(ledger.ask(), reason, "", None)
    assert ledger.common_failure() is None
    other = new_ledger(tmp_path / "other.db", ledger.spec)
    finish(other, other.ask())
    for _ in range(3):
        other.fail(other.ask(), "diverged", "", None)
    assert other.common_failure() is None


def test_a_bad_trial_is_pruned_at_the_rung_and_only_there(ledger):
    trials = [ledger.ask() for _ in range(4)]
    for trial, error in zip(trials[:3], (0.1, 0.2, 0.3), strict=True):
        assert not ledger.report(trial, report(30, error))
        ledger.report(trial, report(90, error))
    assert not ledger.report(trials[3], report(60, 0.9))
    assert ledger.report(trials[3], report(90, 0.9))
    assert ledger.report(trials[3], report(90, 0.9)), "asked again after a crash, the answer is the same"
    pruned = ledger.prune(trials[3], report(90, 0.9))
    assert (pruned.state, pruned.step) == ("pruned", 90)


def test_trials_are_ranked_on_the_better_of_student_and_teacher(ledger):
    trials = [ledger.ask() for _ in range(4)]
    for trial in trials[:3]:
        ledger.report(trial, report(90, 0.3))
    slow_teacher = report(90, teacher=0.9, student=0.1)
    assert not ledger.report(trials[3], slow_teacher)


def test_the_objective_is_the_last_evaluation_and_the_best_is_the_lowest(ledger):
    first, second = ledger.ask(), ledger.ask()
    ledger.report(first, report(30, 0.01))  # lucky, and early
    finish(ledger, first, 0.3)
    finish(ledger, second, 0.2)
    assert ledger.best().number == second.number


def test_a_ledger_of_another_format_is_refused(ledger, tmp_path):
    optuna.load_study(study_name="digits", storage=url(tmp_path)).set_user_attr("format", 99)
    with pytest.raises(InputError, match="ledger of format 99, this version reads 3; use the version"):
        reopened(ledger, tmp_path)


def test_optuna_reads_the_ledger_as_it_is(ledger, tmp_path):
    finish(ledger, ledger.ask(), 0.25)
    study = optuna.load_study(study_name="digits", storage=url(tmp_path))
    assert study.best_value == 0.25
    assert study.trials[0].intermediate_values == {300: 0.25}


def test_what_remains_are_the_trials_that_wait_and_those_not_yet_asked_for(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=4"))
    assert ledger.remaining("search") == 4
    trial = ledger.ask()
    assert ledger.remaining("search") == 3
    ledger.requeue(trial)
    assert ledger.remaining("search") == 4
    run_all(ledger)
    assert (ledger.remaining("search"), ledger.remaining("supervised")) == (0, 0)


def test_a_missing_ledger_is_not_made_up(tmp_path):
    with pytest.raises(InputError, match="the ledger is missing"):
        Ledger(tmp_path / "none.db", digits())
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_ledger_of_the_sweep_is_refused_and_left_alone(ledger, tmp_path):
    other = digits("name=other")
    with pytest.raises(InputError, match="is no ledger of the sweep other"):
        Ledger(tmp_path / "ledger.db", other)
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(b"no database at all, but long enough to be mistaken for one" * 9)
    with pytest.raises(InputError, match=r"foreign\.db: is no ledger"):
        Ledger(foreign, ledger.spec)
    assert foreign.read_bytes().startswith(b"no database")
    with sqlite3.connect(tmp_path / "empty.db") as made:
        made.execute("create table something (id integer)")
    with pytest.raises(InputError, match=r"empty\.db: is no ledger"):
        Ledger(tmp_path / "empty.db", ledger.spec)


def test_a_sweep_goes_on_only_with_what_it_was_started_with(ledger, tmp_path):
    ledger.close()
    changed = digits("trials=4", "finalists.baselines=[]", "trainer.steps=400", "search_space.ema.decay.high=0.99")
    with pytest.raises(InputError, match=r"spec\.yaml: trainer\.steps: the sweep was started with 300, here is 400"):
        Ledger(tmp_path / "ledger.db", changed)
    more = digits("trials=9", "finalists.baselines=[]", "budget.hours=1.0", "resources.max_concurrent=1")
    assert Ledger(tmp_path / "ledger.db", more).remaining("search") == 9


def test_what_a_stale_worker_says_changes_nothing(ledger):
    stale = ledger.ask()
    ledger.requeue(stale)
    owner = ledger.ask()
    assert (owner.number, owner.attempt) == (stale.number, 2)
    assert not ledger.report(stale, report(30, 0.1))
    for said in (
        ledger.complete(stale, report(300, 0.1)),
        ledger.prune(stale, report(90, 0.1)),
        ledger.fail(stale, "error", "", None),
        ledger.requeue(stale),
        ledger.lose(stale, "killed"),
    ):
        assert said == owner
    ledger.report(owner, report(30, 0.2))
    assert ledger.trials("search")[0].step == 30


def test_a_step_that_is_told_twice_counts_once_and_the_first_time(ledger, tmp_path):
    trial = ledger.ask()
    for step, error in ((30, 0.5), (60, 0.4), (30, 0.1), (60, 0.1)):
        ledger.report(trial, report(step, error))
    assert optuna.load_study(study_name="digits", storage=url(tmp_path)).trials[0].intermediate_values == {
        30: 0.5,
        60: 0.4,
    }


def test_a_trial_whose_values_are_at_fault_is_as_bad_as_can_be_to_the_sampler(tmp_path):
    learning = digits("trials=40", "points=[]", "finalists.baselines=[]", "sampler.name=tpe")
    asked = {}
    for reason in ("diverged", "error"):
        ledger = new_ledger(tmp_path / f"{reason}.db", learning)
        for trial in iter(ledger.ask, None):
            if trial.values["consistency.loss"] == "kl":
                ledger.fail(trial, reason, "", None)
            else:
                finish(ledger, trial, 0.1)
        asked[reason] = sum(trial.values["consistency.loss"] == "kl" for trial in ledger.trials("search"))
    assert asked["diverged"] < asked["error"], "a bug or a lost worker says nothing of the values"


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_reopened_ledger_suggests_what_an_undisturbed_one_would(sampler, tmp_path):
    spec = digits("trials=20", "points=[]", "finalists.baselines=[]", f"sampler.name={sampler}")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    open_trials = []
    for number in range(15):
        trial = ledger.ask()
        if number % 5 == 1:
            ledger.report(trial, report(90, 0.9))
            ledger.prune(trial, report(90, 0.9))
        elif number % 5 == 2:
            ledger.fail(trial, "diverged" if number % 2 else "error", "", None)
        elif number % 5 == 3:
            open_trials.append(trial)
        else:
            finish(ledger, trial, 0.1 + number / 100)
    shutil.copy(tmp_path / "ledger.db", tmp_path / "copy.db")
    assert Ledger(tmp_path / "copy.db", spec).ask().values == ledger.ask().values


def test_the_best_that_improves_within_its_noise_has_not_improved(ledger):
    for error, since in ((0.5, 0), (0.495, 1), (0.2, 0), (0.191, 1)):
        finish(ledger, ledger.ask(), error)
        assert ledger.trials_since_improvement() == since


def test_a_grid_is_run_whole_in_its_order_and_outlasts_a_reopening(tmp_path):
    spec = specs.load(written(tmp_path, GRID))
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    first = [ledger.ask(), ledger.ask()]
    for trial in first:
        finish(ledger, trial)
    rest = run_all(reopened(ledger, tmp_path))
    assert [trial.values for trial in (*first, *rest)] == spec.space().grid()
    assert len(spec.space().grid()) == spec.trials == 12
    assert [trial.values["seed"] for trial in (*first, *rest)] == [0] * 6 + [1] * 6


def test_a_sampler_looks_at_the_newest_and_the_best_trials_and_a_reopened_ledger_at_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(sampling, "NEWEST", 12)
    monkeypatch.setattr(sampling, "_BEST", 2)
    spec = digits("trials=50", "points=[]", "finalists.baselines=[]")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    for number in range(40):
        trial = ledger.ask()
        ledger.report(trial, report(300, 0.1 + 0.01 * number))
        ledger.complete(trial, report(300, 0.1 + 0.01 * number))
    known = ledger._suggestions["search"]._place
    assert sorted(known) == [0, 1, *range(24, 40)], "24 to 39 are the newest, 0 and 1 the best of before"
    again = Ledger(tmp_path / "ledger.db", spec)
    expected = [ledger._suggested("search", 40 + i)[0] for i in range(3)]
    assert [again._suggested("search", 40 + i)[0] for i in range(3)] == expected


def test_no_trial_breaks_a_filter_whatever_the_sampler(tmp_path):
    rule = "filters=['consistency.weight > 20 or labeled_batch_fraction == 0.5']"
    for sampler in ("random", "tpe", "gp"):
        spec = digits("trials=15", "points=[]", "finalists.baselines=[]", f"sampler.name={sampler}", rule)
        for trial in run_all(new_ledger(tmp_path / f"{sampler}.db", spec)):
            assert trial.values["consistency.weight"] > 20 or trial.values["labeled_batch_fraction"] == 0.5


def test_gp_models_the_parameters_of_every_branch(tmp_path):
    spec = digits("trials=2", "finalists.baselines=[]", "sampler.name=gp")
    run_all(new_ledger(tmp_path / "ledger.db", spec))
    trial = optuna.load_study(study_name="digits", storage=url(tmp_path)).trials[1]
    assert {"consistency.weight[mse]", "consistency.weight[kl]"} <= trial.params.keys()
