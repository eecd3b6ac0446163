import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtrit

from mt_sweeps.results import finalists
from mt_sweeps.results.group_sequential import compare_sequentially
from mt_sweeps.results.probe import probe_text
from mt_sweeps.spec.sections import Budget
from mt_sweeps.storage.local import LocalHome
from mt_sweeps.study.ledger import Ledger
from tests.helpers.sweeps import digits, new_ledger, next_finalist, report, supervised_report, swept
from trainers import Report

IMAGES = {"labeled": 50, "unlabeled": 788, "validation": 300, "verdict": 300}


@pytest.fixture
def ledger(tmp_path):
    return searched(tmp_path, seeds=2)


def searched(tmp_path, seeds):
    """Four searched trials, of which one was pruned, and both baselines."""
    spec = digits("trials=4", "finalists.top=2", f"finalists.seeds={seeds}", "points=[]")
    made = new_ledger(tmp_path / "ledger.db", spec)
    errors = {0: 0.3, 1: 0.1, 2: 0.2}
    for trial in iter(made.ask_search, None):
        if trial.arm == "search" and trial.number == 3:
            made.prune(trial, report(90, 0.01))
            continue
        error = errors[trial.number] if trial.arm == "search" else 0.4
        made.complete(trial, supervised_report(300, error) if trial.arm == "supervised" else report(300, error))
    return made


def test_the_best_completed_and_each_baseline_are_trained_again(ledger):
    of = [(trial.arm, trial.number) for trial in finalists.contenders(ledger)]
    assert of == [("search", 1), ("search", 2), ("supervised", 0), ("published", 0)]
    assert len(finalists.plan(ledger, IMAGES)) == ledger.spec.trials_of("finalists") == 8


def test_one_configuration_under_two_seeds_is_one_contender(tmp_path):
    seeds = "search_space.seed={type: categorical, choices: [0, 1]}"
    spec = digits("trials=20", "finalists.top=3", "finalists.baselines=[]", "points=[]", "sampler.name=random", seeds)
    same = {"ema.decay": 0.95, "consistency.loss": "mse", "consistency.weight": 30.0, "labeled_batch_fraction": 0.5}
    spec = spec.model_copy(update={"points": [{**same, "seed": 0}, {**same, "seed": 1}]})
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    for error in (0.1, 0.11, 0.3):
        ledger.complete(ledger.ask_search(), report(300, error))
    assert [trial.number for trial in finalists.contenders(ledger)] == [0, 2]


def test_the_first_seed_of_all_comes_before_the_second_of_any(ledger):
    seeds = [trial["values"]["seed"] for trial in finalists.plan(ledger, IMAGES)]
    assert seeds == [finalists.FIRST_SEED] * 4 + [finalists.FIRST_SEED + 1] * 4


def test_a_finalist_differs_from_its_trial_in_seed_label_draw_and_what_it_is_scored_on(ledger):
    for trial in iter(lambda: next_finalist(ledger), None):
        again = ledger.spec.config(trial.values, "finalists")
        arm, number = trial.replicates
        once = ledger.spec.config(ledger.trials(arm)[number].values, arm)
        seed = again.seed
        dataset = once.dataset.model_copy(update={"label_seed": seed})
        assert again == once.model_copy(update={"seed": seed, "verdict": True, "dataset": dataset})
        assert seed >= finalists.FIRST_SEED


def test_without_images_kept_back_every_seed_redraws_the_split(tmp_path):
    spec = digits("trials=1", "finalists.top=1", "trainer.dataset.verdict=0", "finalists.baselines=[]")
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    ledger.complete(ledger.ask_search(), report(300, 0.1))
    for trial in finalists.plan(ledger, IMAGES):
        assert not trial["values"]["verdict"]
        assert trial["values"]["dataset.split_seed"] == trial["values"]["seed"]


def test_the_trainings_of_a_cross_validation_overlap_as_a_corrected_repeated_test_has_it(tmp_path):
    folds = ("trainer.dataset.validation=0", "trainer.dataset.folds=5", "trainer.dataset.verdict=0")
    folds += ("trainer.evaluate_every=300",)
    spec = digits("trials=1", "finalists.top=1", "finalists.baselines=[]", "finalists.seeds=3", *folds)
    directory = swept(LocalHome(tmp_path), spec)
    ledger = Ledger(directory.ledger, spec)
    assert {trial.step for trial in ledger.trials("finalists")} == {5 * 300}
    verdict = finalists.compare_finalists(ledger, {"labeled": 50, "unlabeled": 0, "validation": 50, "verdict": 0})
    errors = list(next(iter(finalists.errors_by_seed(ledger).values())).values())
    (mean,) = verdict.means.values()
    expected = stdtrit(2, 0.975) * np.std(errors, ddof=1) * math.sqrt(1 / 3 + 5 / 4)
    assert mean.high - mean.mean == pytest.approx(expected)
    assert verdict.images == 50


def test_nothing_is_replicated_where_no_trial_completed(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=1", "finalists.top=1", "finalists.baselines=[]"))
    ledger.fail(ledger.ask_search(), "diverged", "", None)
    assert finalists.plan(ledger, IMAGES) == []


def test_a_plan_outlasts_the_driver_and_is_made_once(ledger, tmp_path):
    assert ledger.ask_finalist() is None, "before they are planned"
    first = next_finalist(ledger)
    again = Ledger(tmp_path / "ledger.db", ledger.spec)
    before = again.total("finalists")
    again.plan_finalists(finalists.plan(again, IMAGES))
    assert again.total("finalists") == before
    assert again.total("finalists") == 8
    assert again.trials("finalists")[0].replicates == first.replicates == ("search", 1)


def test_more_trials_that_change_the_best_add_the_new_ones_and_drop_those_that_they_displace(ledger, tmp_path):
    for _ in range(4):  # a seed of each
        next_finalist(ledger)
    ledger.close()
    more = Ledger(tmp_path / "ledger.db", ledger.spec.model_copy(update={"trials": 5}))
    more.complete(more.ask_search(), report(300, 0.05))
    more.plan_finalists(finalists.plan(more, IMAGES))
    assert more.total("finalists") == 9, "two seeds of the new one; trial 2 has begun one, and begins no other"


def run_finalists(ledger, errors, fails=()):
    """Train them: `errors` by contender, one a seed; `fails` has contenders, and numbers of their seeds."""
    for trial in iter(lambda: next_finalist(ledger), None):
        arm, number = trial.replicates
        name, seed = f"trial {number}" if arm == "search" else arm, trial.values["seed"] - finalists.FIRST_SEED
        if (name, seed) in fails:
            ledger.fail(trial, "diverged", "a loss", None)
            continue
        last = supervised_report(300, 0.9) if arm == "supervised" else report(300, 0.9)
        last.metrics[f"verdict.{'student' if arm == 'supervised' else 'teacher'}_error"] = errors[name][seed]
        ledger.complete(trial, last)


def test_their_mean_errors_on_the_verdict_images_are_told(ledger):
    run_finalists(ledger, dict.fromkeys(("trial 1", "trial 2", "supervised", "published"), (0.1, 0.2)))
    text = finalists.text(ledger, IMAGES)
    assert "on 300 images that chose nothing" in text
    assert "trial 1      15.0 % [0.0, 78.5] (2 seeds)" in text
    assert "trial 1 and supervised cannot be told apart: trial 1 minus supervised is 0.0 points" in text
    assert "corrected for the looks at the seeds and for 3 comparisons (Holm))" in " ".join(text.split())
    redrawn = finalists.text(ledger, {**IMAGES, "verdict": 0})
    assert "selection and verdict share images" in redrawn
    assert "corrected resampled t-test (Nadeau & Bengio 2003)" in redrawn
    assert "trial 1      15.0 % [0.0, 98.2]" in redrawn, "a wider interval"


def test_splits_that_are_redrawn_by_groups_are_corrected_for_the_groups_that_they_share(ledger):
    run_finalists(ledger, dict.fromkeys(("trial 1", "trial 2", "supervised", "published"), (0.1, 0.11)))
    redrawn = {**IMAGES, "verdict": 0}

    def width(groups):
        mean = finalists.compare_finalists(ledger, redrawn, groups).means["trial 1"]
        return mean.high - mean.mean

    alone = {"training": 838, "validation": 300, "verdict": 0}
    assert width(alone) == width({}) == width(None)
    ratio = width({"training": 20, "validation": 10, "verdict": 0}) / width(None)
    assert ratio == pytest.approx(np.sqrt((1 / 2 + 10 / 20) / (1 / 2 + 300 / 838)))


def test_the_gain_over_supervised_is_a_line_of_its_own(ledger):
    errors = {"trial 1": (0.05, 0.06, 0.055), "supervised": (0.10, 0.11, 0.105)}
    errors |= {"trial 2": errors["trial 1"], "published": errors["supervised"]}
    run_finalists(ledger_with_seeds(ledger, 3), errors)
    verdict = finalists.compare_finalists(ledger, IMAGES)
    assert verdict.gain.absolute.mean == pytest.approx(0.05)
    assert verdict.gain.relative.mean == pytest.approx(1 - 0.055 / 0.105)
    (line,) = [line for line in finalists.text(ledger, IMAGES).splitlines() if line.startswith("gain ")]
    assert line.startswith("gain       over the supervised baseline 5.0 points [4.3, 5.7], 47.6 % ")
    assert line.endswith(" fewer errors")


def test_the_best_of_the_search_is_compared_though_its_first_seed_failed(ledger):
    errors = {"trial 1": (0.1, 0.1), "trial 2": (0.2, 0.2), "supervised": (0.3, 0.3), "published": (0.3, 0.3)}
    ledger = ledger_with_seeds(ledger, 3)
    run_finalists(ledger, {name: (*pair, pair[0] + 0.01) for name, pair in errors.items()}, fails={("trial 1", 0)})
    verdict = finalists.compare_finalists(ledger, IMAGES)
    assert list(verdict.means) == ["trial 1", "trial 2", "supervised", "published"]
    assert {comparison.a for comparison in verdict.comparisons} == {"trial 1"}
    assert verdict.failed == {"trial 1": 1}
    assert "(2 seeds; 1 that failed not counted)" in finalists.text(ledger, IMAGES)


def ledger_with_seeds(ledger, seeds):
    """The same trials; this many seeds of each are planned."""
    ledger.spec = ledger.spec.model_copy(
        update={"finalists": ledger.spec.finalists.model_copy(update={"seeds": seeds})}
    )
    return ledger


def test_a_contender_that_fails_too_often_for_a_mean_is_told(ledger):
    pair = dict.fromkeys(("trial 1", "trial 2", "supervised", "published"), (0.1, 0.2))
    run_finalists(ledger, pair, fails={("trial 2", 1)})
    text = finalists.text(ledger, IMAGES)
    assert "trial 2      1 failed: too few are left for a mean" in text


BALANCED = "objective.metric=validation.teacher_balanced_error"


def with_balanced(error: float, balanced: float, verdict: float) -> Report:
    plain = report(300, error)
    more = {"validation.student_balanced_error": 0.9, "validation.teacher_balanced_error": balanced}
    more |= {"validation.teacher_balanced_standard_error": 0.02, "validation.student_balanced_standard_error": 0.02}
    more |= {"verdict.teacher_error": 0.9, "verdict.teacher_balanced_error": verdict}
    return Report(plain.step, plain.time, plain.metrics | more)


def test_with_the_balanced_objective_balanced_errors_choose_and_are_compared(tmp_path):
    spec = digits("trials=2", "finalists.top=1", "finalists.seeds=2", "finalists.baselines=[]", "points=[]", BALANCED)
    ledger = new_ledger(tmp_path / "ledger.db", spec)
    for error, balanced in ((0.1, 0.5), (0.2, 0.4)):
        trial, last = ledger.ask_search(), with_balanced(error, balanced, 0.9)
        ledger.report(trial, last)
        ledger.complete(trial, last)
    assert ledger.best().number == 1
    assert ledger.best().error(spec.metric) == (0.4, 0.02)
    for verdict in (0.3, 0.5):
        ledger.complete(next_finalist(ledger), with_balanced(0.1, 0.2, verdict))
    images = {"labeled": 50, "unlabeled": 788, "validation": 300, "verdict": 300}
    assert finalists.compare_finalists(ledger, images).means["trial 1"].mean == pytest.approx(0.4)
    assert "mean balanced error [95 %]" in finalists.text(ledger, images)


@pytest.mark.parametrize(
    ("best", "words"),
    [
        ([0.10, 0.11, 0.09, 0.10], ""),
        (
            [0.20, 0.22, 0.19, 0.21],
            "the linear probe is not beaten: it does not differ significantly from the best of the search",
        ),
        ([0.30, 0.31, 0.29, 0.30], "the linear probe is not beaten: it is better than the best of the search"),
    ],
)
def test_where_the_probe_is_not_beaten_it_is_said(best, words):
    errors = {"trial 3": dict(enumerate(best)), "probe": dict(enumerate([0.21, 0.20, 0.20, 0.21]))}
    comparisons = list(compare_sequentially(errors, range(4), 0.01).values())
    text = probe_text(comparisons, kept_back=True)
    assert (text or "").startswith(words)
    assert bool(text) == bool(words)
    if text is not None:
        assert probe_text(comparisons, kept_back=False).endswith("which favours it)")
    assert probe_text([replace(one, a="supervised") for one in comparisons], kept_back=True) is None


def trained_until_settled(ledger, errors):
    """Train finalists one after the other as far as they are wanted; return how many seeds each contender had."""
    run_finalists(ledger, errors)
    return {name: len(by_seed) for name, by_seed in finalists.errors_by_seed(ledger).items()}


CLEAR = {
    "trial 1": [0.10, 0.11, 0.09, 0.10, 0.105, 0.10, 0.11, 0.10],
    "trial 2": [0.11, 0.10, 0.10, 0.09, 0.105, 0.11, 0.10, 0.10],
    "supervised": [0.20, 0.21, 0.20, 0.20, 0.205, 0.21, 0.20, 0.21],
    "published": [0.30, 0.31, 0.29, 0.31, 0.305, 0.31, 0.30, 0.31],
}


def test_trainings_end_with_what_settles_their_comparison_and_it_is_said_why(tmp_path):
    ledger = searched(tmp_path, seeds=8)
    seeds = trained_until_settled(ledger, CLEAR)
    verdict = finalists.compare_finalists(ledger, IMAGES)
    after = {one.b: one.after for one in verdict.comparisons}
    assert {name: seeds[name] for name in after} == after
    assert seeds["trial 1"] == max(after.values()) < 8
    assert {one.b: one.outcome for one in verdict.comparisons} == {
        "trial 2": "unlikely",
        "supervised": "decided",
        "published": "decided",
    }
    assert ledger.remaining("finalists") == 0, "so that the sweep is finished"
    assert {name: mean.seeds for name, mean in verdict.means.items()} == seeds
    text = " ".join(finalists.text(ledger, IMAGES).split())
    assert f"ended without a decision for 1 of 3 comparisons after {seeds['trial 1']} of at most 8 seeds" in text
    assert "take whichever is cheaper to train, if up to" in text
    assert verdict.gain.absolute == -next(one.difference for one in verdict.comparisons if one.b == "supervised")
    again = Ledger(tmp_path / "ledger.db", ledger.spec)
    again.plan_finalists(finalists.plan(again, IMAGES))
    assert again.remaining("finalists") == 0, "a driver that takes over decides the same"
    assert finalists.compare_finalists(again, IMAGES) == verdict


def train_some(ledger, errors, counts):
    """Train the contenders, each with so many seeds, as where a budget ends a sweep between two seeds."""
    left = dict(counts)
    for planned in finalists.plan(ledger, IMAGES):
        ledger.plan_finalists(finalists.plan(ledger, IMAGES))
        arm = planned["of"][0]
        trial = ledger.ask_finalist() if left[arm] else None
        if trial is None:
            break
        assert trial.replicates.arm == arm
        left[arm] -= 1
        seed = trial.values["seed"] - finalists.FIRST_SEED
        ledger.complete(trial, report(300, errors[arm] + 0.001 * seed))


def test_where_the_budget_ends_between_two_seeds_those_that_have_three_are_compared_and_the_others_named(tmp_path):
    ledger = searched(tmp_path, seeds=8)
    few = ledger.spec.finalists.model_copy(update={"top": 1, "seeds": 8})
    ledger.spec = ledger.spec.model_copy(update={"finalists": few, "budget": Budget(hours=1)})
    train_some(
        ledger, {"search": 0.1, "supervised": 0.3, "published": 0.3}, {"search": 3, "supervised": 3, "published": 2}
    )
    before = finalists.compare_finalists(ledger, IMAGES)
    assert (before.comparisons, before.not_compared) == ([], ""), "the third seed of all is still to come"
    ledger.record_end("the budget is spent")
    verdict = finalists.compare_finalists(ledger, IMAGES)
    (comparison,) = verdict.comparisons
    assert (comparison.b, comparison.after, comparison.winner) == ("supervised", 3, "trial 1")
    assert verdict.gain is not None
    assert verdict.not_compared == (
        "trial 1 (3 seeds) is not compared with published (2 seeds): it takes 3 seeds of both, and the budget is "
        "spent; to go on, resume the sweep with more hours: --hours +1"
    )
    assert "not compared with published" in finalists.text(ledger, IMAGES)
    ledger.spec = ledger.spec.model_copy(update={"budget": Budget(gpu_hours=1)})
    other = finalists.compare_finalists(ledger, IMAGES)
    assert other.not_compared.endswith("; to go on, raise its budget, and resume the sweep")
    assert len(finalists.plan(ledger, IMAGES)) > 8, "a resume with more hours trains on"


def test_where_the_budget_leaves_no_two_seeds_the_verdict_says_why_there_is_none(tmp_path):
    ledger = searched(tmp_path, seeds=8)
    assert finalists.text(ledger, IMAGES) == ""
    ledger.record_end("the budget is spent")
    text = " ".join(finalists.text(ledger, IMAGES).split())
    assert text.startswith(
        "verdict none: trial 1 (0 seeds) is not compared with trial 2 (0 seeds), supervised (0 seeds)"
    )
    assert "the budget is spent" in text


def test_what_ran_ahead_of_the_look_that_settled_everything_changes_nothing(ledger):
    ledger = ledger_with_seeds(ledger, 8)
    run_finalists(ledger, CLEAR)
    verdict = finalists.compare_finalists(ledger, IMAGES)
    last = max(trial.values["seed"] for trial in ledger.trials("finalists"))
    ahead = [
        {"of": trial.replicates, "values": {**trial.values, "seed": last + 1}}
        for trial in ledger.trials("finalists")[:4]
    ]
    ledger.plan_finalists(ahead)
    for trial in iter(ledger.ask_finalist, None):
        ledger.complete(trial, (supervised_report if trial.replicates.arm == "supervised" else report)(300, 0.9))
    assert finalists.compare_finalists(ledger, IMAGES) == verdict


@pytest.mark.parametrize(("points", "images", "fraction"), [(None, 300, 0.01), (None, 50, 0.02), (2.5, 300, 0.025)])
def test_the_smallest_gain_is_a_point_or_an_image(points, images, fraction):
    spec = digits("finalists.top=1", *([f"finalists.smallest_gain={points}"] if points else []))
    assert finalists.smallest_gain(spec, images) == pytest.approx(fraction)
