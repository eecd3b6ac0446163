"""What a sweep takes from earlier ones, and how long the sampler listens to it."""

import pytest

from mt_sweeps.errors import InputError
from mt_sweeps.spec.sections import Sampler
from mt_sweeps.study.ledger import Ledger
from mt_sweeps.study.prior import POINTS, collect
from mt_sweeps.study.sampler import ArmSampler
from mt_sweeps.study.trial import EarlierTrial, Prior
from tests.helpers.sweeps import digits, finish, new_ledger, reopened

RANDOM = ("points=[]", "finalists.baselines=[]", "sampler.name=random")


def earlier(folder, errors, *overrides, name="before"):
    """An earlier sweep whose trials completed with these errors."""
    folder.mkdir(exist_ok=True)
    spec = digits(f"trials={len(errors)}", f"name={name}", *RANDOM, *overrides)
    ledger = new_ledger(folder / f"{name}.db", spec)
    for error in errors:
        finish(ledger, ledger.ask_search(), error)
    return ledger


def values_of(ledger, *numbers):
    return [ledger.trials("search")[number].values for number in numbers]


def started(folder, spec, prior):
    new_ledger(folder / "ledger.db", spec).close()  # with Optuna's tables
    return Ledger.create(folder / "ledger.db", spec, {}, prior=prior)


def test_the_best_are_points_and_all_that_completed_are_for_the_sampler(tmp_path):
    before = earlier(tmp_path, [0.5, 0.2, 0.4, 0.1, 0.3])
    prior = collect(digits("trials=8", *RANDOM), [before])["search"]
    assert prior.points == values_of(before, 3, 1, 4)
    assert len(prior.points) == POINTS
    assert [trial.error for trial in prior.trials] == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_of_several_sweeps_the_best_of_each_come_in_turn_and_the_trials_are_shared(tmp_path, monkeypatch):
    monkeypatch.setattr("mt_sweeps.study.prior.TRIALS", 8)
    first = earlier(tmp_path, [0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17], name="first")
    second = earlier(tmp_path, [0.5] * 5, "sampler.seed=1", name="second")
    prior = collect(digits("trials=8", *RANDOM), [first, second])["search"]
    assert prior.points == [*values_of(first, 0), *values_of(second, 0), *values_of(first, 1)]
    assert [sum(trial.sweep == name for trial in prior.trials) for name in ("first", "second")] == [4, 4]
    assert [trial.error for trial in prior.trials[:4]] == [0.1, 0.12, 0.14, 0.16], "spread over all ranks"


def test_points_that_are_in_the_file_or_for_which_no_trial_is_left_are_not_taken(tmp_path):
    before = earlier(tmp_path, [0.1, 0.2, 0.3])
    spec = digits("trials=2", *RANDOM).model_copy(update={"points": values_of(before, 0)})
    assert collect(spec, [before])["search"].points == values_of(before, 1)


def test_the_supervised_baseline_starts_as_warm_as_the_search(tmp_path):
    learned = "search_space.optimizer.learning_rate={type: categorical, choices: [0.1, 0.2]}"
    both = (learned, "finalists.baselines=[supervised]")
    before = earlier(tmp_path, [0.4, 0.3, 0.2, 0.1], *both)
    while (trial := before.ask_search()) is not None:
        finish(before, trial, 0.2)
    prior = collect(digits("trials=4", "points=[]", *both), [before])
    ranked = sorted(before.trials("supervised"), key=lambda one: (one.objective(before.spec.metric), one.number))
    tried = [trial.values for trial in ranked]
    assert prior["supervised"].points == [values for i, values in enumerate(tried) if values not in tried[:i]]
    assert prior["search"].points


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["search_space.optimizer.learning_rate={type: float, low: 0.1, high: 0.2}"],
            r"from: before: searched other keys than this file \(optimizer.learning_rate only here\)",
        ),
        (["objective.metric=validation.student_error"], "its trials are ranked by validation.teacher_error"),
        (["search_space.ema.decay={type: categorical, choices: [0.5]}"], "none of its completed trials is in search"),
    ],
)
def test_an_earlier_sweep_that_does_not_fit_is_refused(tmp_path, overrides, problem):
    with pytest.raises(InputError, match=problem):
        collect(digits("trials=8", *RANDOM, *overrides), [earlier(tmp_path, [0.1, 0.2])])


def test_a_sweep_without_a_completed_trial_is_refused(tmp_path):
    with pytest.raises(InputError, match="from: before: none of its completed trials"):
        collect(digits("trials=8", *RANDOM), [new_ledger(tmp_path / "l.db", digits("name=before", *RANDOM))])


def test_what_was_taken_is_in_the_ledger_comes_after_the_points_of_the_file_and_outlasts_a_reopening(tmp_path):
    before = earlier(tmp_path, [0.5, 0.2, 0.4, 0.1])
    spec = digits("trials=6", "points=[{ema.decay: 0.91}]", "finalists.baselines=[]")
    ledger = started(tmp_path, spec, collect(spec, [before]))
    assert ledger.open_trials() == 6 - 1 - POINTS
    first = ledger.ask_search()
    finish(ledger, first)
    ledger = reopened(ledger, tmp_path)
    taken = [ledger.ask_search() for _ in range(POINTS)]
    assert first.values["ema.decay"] == 0.91
    assert [trial.values for trial in taken] == values_of(before, 3, 1, 2)
    assert {trial.origin for trial in (first, *taken)} == {"point"}
    assert len(ledger.prior("search").trials) == 4


def known_to(sampler):
    """The errors that the model of a sampler is given, without trials that run."""
    return sorted(
        trial.value for trial in sampler._with_earlier().get_trials(deepcopy=False) if trial.value is not None
    )


def test_each_trial_that_ends_replaces_an_earlier_one_until_none_is_left(tmp_path):
    spec = digits("trials=9", *RANDOM[:2])
    before = earlier(tmp_path, [0.6, 0.7, 0.8])
    sampler = ArmSampler(spec.sampler, spec.space(), [], collect(spec, [before])["search"].trials)
    counts = []
    for number in range(4):
        counts.append((len(known_to(sampler)), sum(error >= 0.6 for error in known_to(sampler))))
        sampler.suggest(number, {})
        sampler.observe(number, sampler_state("COMPLETE"), 0.1, {}, "")
    assert counts == [(3, 3), (3, 2), (3, 1), (3, 0)]


def sampler_state(name):
    from optuna.trial import TrialState

    return TrialState[name]


def test_earlier_errors_are_shifted_to_the_level_of_what_was_trained_in_both(tmp_path):
    spec = digits("trials=9", *RANDOM[:2])
    trials = collect(spec, [earlier(tmp_path, [0.1, 0.2, 0.3])])["search"].trials
    sampler = ArmSampler(spec.sampler, spec.space(), [], trials)
    sampler.suggest(0, spec.space().to_params(trials[0].values))
    sampler.observe(0, sampler_state("COMPLETE"), 0.4, {}, "")
    assert known_to(sampler) == pytest.approx([0.4, 0.5, 0.6])


@pytest.mark.system
@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_a_warm_sampler_suggests_where_earlier_trials_were_good_and_a_reopened_one_the_same(name, tmp_path):
    spec = digits("trials=40", *RANDOM[:2], f"sampler.name={name}")
    space = spec.space()
    drawn = [ArmSampler(Sampler(name="random"), space, []).suggest(number, {}).values for number in range(30)]
    trials = [EarlierTrial("before", one, 0.1 + 0.4 * (one["consistency.loss"] == "kl")) for one in drawn]
    ledger = started(tmp_path, spec, {"search": Prior([], trials)})
    asked = [ledger.ask_search() for _ in range(6)]
    assert {trial.origin for trial in asked} == {"sampler"}, "there is nothing to try blindly"
    assert sum(trial.values["consistency.loss"] == "mse" for trial in asked) >= 5
    for trial in asked[:3]:
        finish(ledger, trial)
    again = Ledger(tmp_path / "ledger.db", spec)
    assert again._suggest("search", 6).values == ledger._suggest("search", 6).values
