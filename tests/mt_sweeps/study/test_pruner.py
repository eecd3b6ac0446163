import math

import pytest

from mt_sweeps.study.pruner import MARGIN, MEDIAN_OF, RungRanking, rungs
from mt_sweeps.study.ranking_error import RankingError
from tests.helpers.sweeps import digits


def ends(curve, others, *overrides, at=(90,), standard_error=0.0):
    """Whether a trial with this curve ends at its last report, after the others made theirs."""
    standings = RungRanking(digits(*overrides), list(at))
    for number, reported in enumerate([*others, curve]):
        for step, value in reported.items():
            standings.report(number, step, RankingError(value, standard_error))
    return standings.should_prune(len(others), max(curve))


def test_no_rung_stands_before_the_consistency_ramp_up_is_over():
    assert rungs(digits("trainer.consistency.ramp_up_steps=150")) == [150]
    longest = "search_space.consistency.ramp_up_steps={type: int, low: 10, high: 120}"
    assert rungs(digits(longest)) == [120]


def test_the_first_rung_is_no_earlier_than_three_tenths_and_none_stands_in_the_last_fifth():
    assert rungs(digits()) == [90]
    assert rungs(digits("trainer.steps=10000", "pruner.reduction_factor=2")) == [3000, 6000]


def test_the_median_is_asked_at_every_evaluation_between_the_first_rung_and_the_last_fifth():
    assert rungs(digits("pruner.name=median")) == [90, 120, 150, 180, 210, 240]


def test_no_rung_stands_where_the_next_evaluation_is_the_last():
    short = (
        "pruner.name=median",
        "trainer.steps=40",
        "trainer.evaluate_every=10",
        "trainer.consistency.ramp_up_steps=10",
    )
    assert rungs(digits(*short)) == [12, 22], "one at 32 would be evaluated at 40, when nothing is left to save"


def test_trials_of_a_cross_validation_are_ranked_at_the_ends_of_folds():
    folds = ("trainer.dataset.validation=0", "trainer.dataset.folds=5")
    assert rungs(digits(*folds)) == [600], "two of five trainings; six would be more than there are"
    assert rungs(digits(*folds, "pruner.name=median")) == [600, 900, 1200]
    assert rungs(digits(*folds[:1], "trainer.dataset.folds=2")) == [300]


def test_no_pruner_has_no_rungs():
    assert rungs(digits("pruner.name=none")) == []


def test_one_in_three_goes_on_at_a_rung():
    others = [{90: error} for error in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert not ends({30: 0.9, 90: 0.15}, others)
    assert ends({30: 0.1, 90: 0.25}, others)


def test_the_first_trials_at_a_rung_all_go_on():
    assert not ends({90: 0.9}, [])
    assert not ends({90: 0.9}, [{90: 0.1}])


def test_between_rungs_nobody_is_pruned():
    others = [{30: 0.1, 90: 0.1}] * 9
    assert not ends({30: 0.9}, others)
    assert not ends({30: 0.9, 90: 0.05, 120: 0.9}, others)


def test_a_trial_is_compared_at_the_rung_and_not_with_what_others_reached_later():
    others = [{90: 0.5, 300: 0.01} for _ in range(5)]
    assert not ends({90: 0.4}, others)


def test_a_rung_between_two_evaluations_is_judged_at_the_next_one():
    others = [{100: 0.1}, {100: 0.2}, {100: 0.3}]
    assert ends({50: 0.0, 100: 0.9}, others)


def test_equal_trials_do_not_prune_each_other():
    assert not ends({90: 0.5}, [{90: 0.5}] * 8)
    assert not ends({90: 0.5}, [{90: 0.5}] * 8, "pruner.name=median")


def test_the_worse_half_ends_with_the_median_once_there_are_enough():
    others = [{90: error} for error in (0.1, 0.2, 0.3, 0.4)]
    assert len(others) == MEDIAN_OF - 1
    assert ends({90: 0.35}, others, "pruner.name=median")
    assert not ends({90: 0.25}, others, "pruner.name=median")
    assert not ends({90: 0.9}, others[1:], "pruner.name=median")


@pytest.mark.parametrize(("error", "pruned"), [(0.24, False), (0.26, True)])
def test_a_trial_ends_if_it_is_worse_than_the_last_that_goes_on_by_more_than_noise(error, pruned):
    others = [{90: other} for other in (0.1, 0.2, 0.4, 0.5, 0.6)]  # 0.2 goes on
    noise = 0.05 / math.sqrt(2) / MARGIN
    assert ends({90: error}, others, standard_error=noise) == pruned
    assert ends({90: error}, others), "without noise both end"


def test_a_trial_behind_the_median_ends_only_if_it_is_worse_by_more_than_noise():
    others = [{90: other} for other in (0.1, 0.2, 0.3, 0.4)]  # with this one, 0.3 is the median or the last before it
    noise = 0.05 / math.sqrt(2) / MARGIN
    assert ends({90: 0.36}, others, "pruner.name=median", standard_error=noise)
    assert not ends({90: 0.34}, others, "pruner.name=median", standard_error=noise)


def test_of_equal_trials_the_one_that_was_asked_for_first_is_the_last_that_goes_on():
    standings = RungRanking(digits(), [90])
    for number, bits in ((2, "fff0"), (1, "f0ff"), (0, "fff0")):
        standings.report(number, 90, RankingError(0.25, 0.1, bits))
    standings.report(3, 90, RankingError(0.5, 0.1, "f0f0"))
    assert standings.should_prune(3, 90), "it lost four images to trial 0, as to 2; to 1 it lost four others"
    assert standings.separated() == (1, 1)


def test_the_trials_that_a_rung_ranks_behind_are_counted_and_those_that_are_so_beyond_noise():
    standings = RungRanking(digits(), [90])
    assert standings.separated() == (0, 0)
    for number, rate in enumerate((0.1, 0.2, 0.3, 0.4, 0.5, 0.6)):
        assert standings.is_at_rung(number, 90)
        standings.report(number, 90, RankingError(rate, 0.15))
        assert not standings.is_at_rung(number, 120)
    assert not standings.is_at_rung(7, 60)
    assert standings.separated() == (4, 2), "0.3 and 0.4 are within 0.21 of 0.2"


def test_the_correlation_of_a_rung_is_that_of_the_trials_that_reached_the_end():
    standings = RungRanking(digits(), [90])
    for number in range(9):
        standings.report(number, 90, RankingError(number / 10))
    (same,) = standings.correlations({number: number / 20 for number in range(8)})
    assert (same.rung, same.spearman, same.trials) == (90, pytest.approx(1.0), 8)
    assert not same.is_guessing
    (reversed_,) = standings.correlations({number: 1 - number / 20 for number in range(8)})
    assert reversed_.spearman == pytest.approx(-1.0)
    assert reversed_.is_guessing
    (few,) = standings.correlations({number: 1 - number / 20 for number in range(6)})
    assert not few.is_guessing, "of six trials it says little"
    assert standings.correlations({number: number / 20 for number in range(5)}) == [], "of five it says nothing"


def test_values_that_are_all_the_same_have_no_order_to_correlate():
    standings = RungRanking(digits(), [90])
    for number in range(9):
        standings.report(number, 90, RankingError(0.5))
    assert standings.correlations({number: number / 20 for number in range(9)}) == []
