import pytest

from mt_sweeps import finalists
from mt_sweeps.study import Ledger
from tests.mt_sweeps.support import digits, new_ledger, report, supervised_report


@pytest.fixture
def ledger(tmp_path):
    """Four searched trials, of which one was pruned, and both baselines."""
    spec = digits("trials=4", "finalists.top=2", "finalists.seeds=2", "points=[]")
    made = new_ledger(tmp_path / "ledger.db", spec)
    errors = {0: 0.3, 1: 0.1, 2: 0.2}
    for trial in iter(made.ask, None):
        if trial.arm == "search" and trial.number == 3:
            made.prune(trial, report(90, 0.01))
            continue
        error = errors[trial.number] if trial.arm == "search" else 0.4
        made.complete(trial, supervised_report(300, error) if trial.arm == "supervised" else report(300, error))
    return made


def test_the_best_completed_and_each_baseline_are_trained_again(ledger):
    of = [(trial.arm, trial.number) for trial in finalists.contenders(ledger)]
    assert of == [("search", 1), ("search", 2), ("supervised", 0), ("published", 0)]
    assert len(finalists.planned(ledger)) == ledger.spec.trials_of("finalists") == 8


def test_one_configuration_under_two_seeds_is_one_contender(tmp_path):
    seeds = "search_space.seed={type: categorical, choices: [0, 1]}"
    spec = digits("trials=20", "finalists.top=3", "finalists.baselines=[]", "points=[]", "sampler.name=random", seeds)
    same = {"ema.decay": 0.95, "consistency.loss": "mse", "consistency.weight": 30.0, "labeled_batch_fraction": 0.5}
    spec = spec.model_copy(update={"points": [{**same, "seed": 0}, {**same, "seed": 1}]})
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    for error in (0.1, 0.11, 0.3):
        ledger.complete(ledger.ask(), report(300, error))
    assert [trial.number for trial in finalists.contenders(ledger)] == [0, 2]


def test_the_first_seed_of_all_comes_before_the_second_of_any(ledger):
    seeds = [trial["values"]["seed"] for trial in finalists.planned(ledger)]
    assert seeds == [finalists.FIRST_SEED] * 4 + [finalists.FIRST_SEED + 1] * 4


def test_a_finalist_differs_from_its_trial_in_seed_label_draw_and_what_it_is_scored_on(ledger):
    ledger.plan(finalists.planned(ledger))
    for trial in iter(lambda: ledger.ask(finalists=True), None):
        again = ledger.spec.config(trial.values, "finalists")
        arm, number = trial.of
        once = ledger.spec.config(ledger.trials(arm)[number].values, arm)
        seed = again.seed
        dataset = once.dataset.model_copy(update={"label_seed": seed})
        assert again == once.model_copy(update={"seed": seed, "verdict": True, "dataset": dataset})
        assert seed >= finalists.FIRST_SEED


def test_without_images_kept_back_every_seed_redraws_the_split(tmp_path):
    spec = digits("trials=1", "finalists.top=1", "trainer.dataset.verdict=0", "finalists.baselines=[]")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    ledger.complete(ledger.ask(), report(300, 0.1))
    for trial in finalists.planned(ledger):
        assert not trial["values"]["verdict"]
        assert trial["values"]["dataset.split_seed"] == trial["values"]["seed"]


def test_nothing_is_replicated_where_no_trial_completed(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=1", "finalists.top=1", "finalists.baselines=[]"))
    ledger.fail(ledger.ask(), "diverged", "", None)
    assert finalists.planned(ledger) == []


def test_a_plan_outlasts_the_driver_and_is_made_once(ledger, tmp_path):
    assert ledger.ask(finalists=True) is None, "before they are planned"
    assert ledger.plan(finalists.planned(ledger))
    first = ledger.ask(finalists=True)
    again = Ledger(tmp_path / "ledger.db", ledger.spec)
    assert not again.plan(finalists.planned(again))
    assert again.total("finalists") == 8
    assert again.trials("finalists")[0].of == first.of == ("search", 1)


def test_more_trials_that_change_the_best_add_the_new_ones(ledger, tmp_path):
    ledger.plan(finalists.planned(ledger))
    ledger.close()
    more = Ledger(tmp_path / "ledger.db", ledger.spec.model_copy(update={"trials": 5}))
    more.complete(more.ask(), report(300, 0.05))
    assert more.plan(finalists.planned(more))
    assert more.total("finalists") == 10, "two seeds of the new one; what was planned stays"


def test_their_mean_errors_on_the_verdict_images_are_told(ledger):
    ledger.plan(finalists.planned(ledger))
    for trial in iter(lambda: ledger.ask(finalists=True), None):
        last = supervised_report(300, 0.9) if trial.of[0] == "supervised" else report(300, 0.9)
        network = "student" if trial.of[0] == "supervised" else "teacher"
        last.metrics[f"verdict.{network}_error"] = 0.1 if trial.values["seed"] == finalists.FIRST_SEED else 0.2
        ledger.complete(trial, last)
    images = {"labeled": 50, "unlabeled": 788, "validation": 300, "verdict": 300}
    told = "\n".join(finalists.lines(ledger, images))
    assert "on 300 images that chose nothing" in told
    assert "trial 1      15.0 % [0.0, 78.5] (2 seeds)" in told
    assert "trial 1 and supervised cannot be told apart: difference 0.0 %" in told
    redrawn = "\n".join(finalists.lines(ledger, {**images, "verdict": 0}))
    assert "selection and verdict share images" in redrawn
    assert "trial 1      15.0 % [0.0, 98.2]" in redrawn, "a wider interval"
