from mt_sweeps.pruning import is_pruned, rungs
from tests.mt_sweeps.support import digits


def test_no_rung_stands_before_the_consistency_ramp_up_is_over():
    assert rungs(digits("trainer.consistency.ramp_up_steps=150")) == [150]
    longest = "search_space.consistency.ramp_up_steps={type: int, low: 10, high: 120}"
    assert rungs(digits(longest)) == [120]


def test_the_first_rung_is_no_earlier_than_three_tenths_and_none_stands_in_the_last_fifth():
    assert rungs(digits()) == [90]
    assert rungs(digits("trainer.steps=10000", "pruner.reduction_factor=2")) == [3000, 6000]


def test_no_pruner_has_no_rungs():
    assert rungs(digits("pruner.name=none")) == []


def test_one_in_three_goes_on_at_a_rung():
    others = [{90: error} for error in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert not is_pruned({30: 0.9, 90: 0.15}, others, [90], 3)
    assert is_pruned({30: 0.1, 90: 0.25}, others, [90], 3)


def test_the_first_trials_at_a_rung_all_go_on():
    assert not is_pruned({90: 0.9}, [], [90], 3)
    assert not is_pruned({90: 0.9}, [{90: 0.1}], [90], 3)


def test_between_rungs_nobody_is_pruned():
    others = [{30: 0.1, 90: 0.1}] * 9
    assert not is_pruned({30: 0.9}, others, [90], 3)
    assert not is_pruned({30: 0.9, 90: 0.05, 120: 0.9}, others, [90], 3)


def test_a_trial_is_compared_at_the_rung_and_not_with_what_others_reached_later():
    others = [{90: 0.5, 300: 0.01} for _ in range(5)]
    assert not is_pruned({90: 0.4}, others, [90], 3)


def test_a_rung_between_two_evaluations_is_judged_at_the_next_one():
    others = [{100: 0.1}, {100: 0.2}, {100: 0.3}]
    assert is_pruned({50: 0.0, 100: 0.9}, others, [90], 3)


def test_equal_trials_do_not_prune_each_other():
    assert not is_pruned({90: 0.5}, [{90: 0.5}] * 8, [90], 3)
