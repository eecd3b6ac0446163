"""Reasons to doubt the best, and none where there are none."""

from dataclasses import replace

import pytest

from mt_sweeps.program import program
from mt_sweeps.results.cautions import cautions
from tests.helpers.sweeps import digits, new_ledger, report

IMAGES = {"labeled": 200, "unlabeled": 638, "validation": 200, "verdict": 300}
MSE = {"consistency.loss": "mse", "consistency.weight": 30.0, "ema.decay": 0.95, "labeled_batch_fraction": 0.5}


def cautions_of(folder, *trials, images=IMAGES, settings=(), guessing=None):
    """The cautions of a search whose trials have these values, beside the usual ones, and errors."""
    settings = (f"trials={len(trials)}", "finalists.baselines=[]", *settings)
    spec = digits(*settings).model_copy(update={"points": [{**MSE, **values} for values, _ in trials]})
    ledger = new_ledger(folder / "ledger.db", spec)
    for _, error in trials:
        ledger.complete(ledger.ask_search(), report(300, error))  # its standard error is 0.01
    return cautions(ledger, images, guessing)


def at(key, values, errors=None):
    errors = errors or [0.1 + 0.1 * i for i in range(len(values))]
    return [({key: value}, error) for value, error in zip(values, errors, strict=True)]


def test_a_clear_best_in_the_middle_of_its_ranges_is_not_doubted(tmp_path):
    assert cautions_of(tmp_path, *at("ema.decay", [0.95, 0.9, 0.99, 0.85, 0.995])) == []


def test_nothing_is_doubted_before_a_trial_has_completed(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=1", "finalists.baselines=[]"))
    assert cautions(ledger, IMAGES) == []
    assert cautions(ledger, IMAGES, of_images=["look-alikes"]) == ["look-alikes"]  # true without a trial, too


def test_more_trials_within_noise_of_the_best_than_are_trained_again_are_counted(tmp_path):
    near = at("ema.decay", [0.95, 0.9, 0.99, 0.85, 0.995], [0.1, 0.105, 0.108, 0.12, 0.2])
    (only,) = cautions_of(tmp_path, *near, settings=["finalists.top=2"])
    assert "3 of 5 completed trials are within one standard error of the best" in only
    # That of the difference is 0.0141 with 200 images, and 0.008 with 200 * (0.0141 / 0.008) ** 2.
    assert "about 630 to tell the best from number 3" in only
    assert "finalists.top (now 2)" in only


def test_images_that_would_separate_them_are_asked_for_where_labels_allow_it(tmp_path):
    near = at("ema.decay", [0.95, 0.9], [0.1, 0.105])
    (only,) = cautions_of(tmp_path, *near, images={**IMAGES, "labeled": 2000})
    assert only.endswith("about 1,600 would tell the best from number 2: raise trainer.dataset.validation")


def test_equal_errors_cannot_be_separated_by_any_number_of_images(tmp_path):
    (only,) = cautions_of(tmp_path, *at("ema.decay", [0.95, 0.9], [0.1, 0.1]))
    assert "it would take more than there are to tell the best from number 2" in only


def test_finalists_that_take_in_all_that_are_within_noise_need_no_caution(tmp_path):
    near = at("ema.decay", [0.95, 0.9, 0.99], [0.1, 0.105, 0.2])
    assert cautions_of(tmp_path, *near, settings=["finalists.top=2"]) == []


def test_more_validation_images_than_labeled_ones_are_unrealistic(tmp_path):
    (only,) = cautions_of(tmp_path, ({}, 0.1), images={**IMAGES, "validation": 300})
    assert "300 images with labels select and only 200 train" in only
    assert "lower trainer.dataset.validation to 200 or fewer" in only


@pytest.mark.parametrize(
    ("key", "values", "edge"),
    [
        ("ema.decay", [0.9989, 0.998, 0.99, 0.9], "upper edge of ema.decay: 0.9989, searched from 0.8 to 0.999"),
        ("ema.decay", [0.8, 0.83, 0.95, 0.99], "lower edge of ema.decay: 0.8, searched from 0.8 to 0.999"),
        ("consistency.weight", [290.0, 200.0, 30.0, 3.0], "upper edge of consistency.weight: 290, searched from 3 to"),
    ],
)
def test_the_best_on_an_edge_to_which_the_better_half_leans_is_told(tmp_path, key, values, edge):
    (only,) = cautions_of(tmp_path, *at(key, values))
    assert edge in only
    assert ("raise its high" if "upper" in edge else "lower its low") in only


def test_where_an_edge_is_follows_the_scale(tmp_path):
    linearly = (0.99 - 0.8) / (0.999 - 0.8)
    assert linearly > 0.95
    assert cautions_of(tmp_path, *at("ema.decay", [0.99, 0.98, 0.95, 0.9])) == []


def test_a_best_that_is_alone_on_its_edge_may_be_luck(tmp_path):
    assert cautions_of(tmp_path, *at("ema.decay", [0.999, 0.9, 0.95, 0.85, 0.9, 0.8])) == []


def test_three_trials_say_nothing_of_an_edge(tmp_path):
    assert cautions_of(tmp_path, *at("ema.decay", [0.999, 0.998, 0.9])) == []


def test_the_edge_of_a_branch_is_seen_among_its_own_trials(tmp_path):
    kl = {"consistency.loss": "kl"}
    trials = at("consistency.weight", [100.0, 80.0, 200.0, 10.0], [0.5, 0.6, 0.7, 0.8])
    low = [({**kl, "consistency.weight": weight}, 0.1 + 0.1 * i) for i, weight in enumerate([0.3, 0.35, 3.0, 30.0])]
    (only,) = cautions_of(tmp_path, *low, *trials)
    assert "lower edge of consistency.weight: 0.3, searched from 0.3 to 30" in only


def test_a_search_that_learned_nothing_says_so_and_nothing_else(tmp_path):
    assert cautions_of(tmp_path, *at("ema.decay", [0.95, 0.9], [0.9, 0.9]), guessing=0.9) == [
        "nothing was learned: the best error is 90.0 %, and guessing has 90.0 %; look at the images and their classes "
        f"(`{program()} preview FILE`), then try more labels, more steps, or other values of "
        "optimizer.learning_rate and augmentation"
    ]


def test_an_error_below_that_of_guessing_by_more_than_luck_is_learned(tmp_path):
    # Two standard errors of 0.9 with 200 images are 0.042.
    for folder, error, learned in (("a", 0.85, True), ("b", 0.87, False)):
        (tmp_path / folder).mkdir()
        found = cautions_of(tmp_path / folder, ({}, error), guessing=0.9)
        assert (found == []) == learned


def test_a_trial_that_a_person_ended_is_not_one_that_noise_pruned(tmp_path):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=6", "finalists.baselines=[]"))
    first, second = ledger.ask_search(), ledger.ask_search()
    ledger.report(first, report(90, 0.1))
    ledger.end_by_hand(second, [report(90, 0.1)])
    ledger.complete(first, report(300, 0.1))
    assert cautions(ledger, IMAGES) == []


@pytest.mark.parametrize(("worst", "doubted"), [(0.35, 1), (0.5, 0)])
def test_a_rung_whose_differences_are_within_the_noise_of_few_photographs_is_doubted(tmp_path, worst, doubted):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=6", "finalists.baselines=[]"))
    trials = [ledger.ask_search() for _ in range(3)]
    with_noise = {"validation.teacher_standard_error": 0.072, "validation.student_standard_error": 0.072}
    for trial, error in zip(trials, (0.3, worst, worst), strict=True):
        one = report(90, error)
        ledger.report(trial, replace(one, metrics=one.metrics | with_noise))
    ledger.complete(trials[0], report(300, 0.3))
    found = cautions(ledger, {**IMAGES, "labeled": 60, "validation": 40, "verdict": 0})
    assert len(found) == doubted
    if doubted:
        assert found[0].startswith(
            "of 2 trials ranked behind those that go on at a rung, 0 can be told from the last of them with 40 "
            "validation images, and only such trials are pruned"
        )


@pytest.mark.system
def test_whole_numbers_have_edges_and_choices_have_none(tmp_path):
    steps = "search_space.consistency.ramp_up_steps={type: int, low: 10, high: 200}"
    trials = at("consistency.ramp_up_steps", [200, 190, 100, 20])
    (only,) = cautions_of(tmp_path, *trials, settings=[steps])
    assert "upper edge of consistency.ramp_up_steps: 200, searched from 10 to 200" in only


def test_a_range_that_ends_where_its_setting_does_is_no_mistake(tmp_path):
    dropout = "search_space.model.dropout={type: float, low: 0.0, high: 0.5}"
    assert cautions_of(tmp_path, *at("model.dropout", [0.0, 0.05, 0.3, 0.5]), settings=[dropout]) == []


@pytest.mark.parametrize("share", [0.0, 0.01])
def test_a_best_trial_that_learnt_nothing_from_unlabeled_images_is_doubted(tmp_path, share):
    ledger = new_ledger(tmp_path / "ledger.db", digits("trials=1", "finalists.baselines=[]"))
    last = report(300, 0.1)
    ledger.complete(ledger.ask_search(), replace(last, metrics={**last.metrics, "train.confident_share": share}))
    assert [caution[:69] for caution in cautions(ledger, IMAGES)] == (
        [] if share else ["at the end of the best trial no target exceeded consistency.confidenc"]
    )
