"""When comparisons of finalists end, and how often they are wrong."""

import numpy as np
import pytest

from benchmarks.verdict import LIMIT, Equals, claimed, found, power
from mt_sweeps.results import group_sequential
from mt_sweeps.results.group_sequential import compare_sequentially
from mt_sweeps.results.spending import boundary
from mt_sweeps.results.statistics import ALPHA, compare

SEEDS = range(12)


def drawn(seed, **means):
    """Errors of contenders with these true means; what a seed does to all is more than what it does to one."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.02, len(SEEDS))
    return {name: dict(enumerate(mean + shared + rng.normal(0, 0.01, len(SEEDS)))) for name, mean in means.items()}


def test_a_clear_difference_ends_early_and_a_small_one_goes_on_or_is_given_up():
    compared = compare_sequentially(drawn(0, best=0.1, worse=0.16, equal=0.1), SEEDS, 0.01)
    assert compared["worse"].outcome == "decided"
    assert compared["worse"].winner == "best"
    assert compared["worse"].after < 7
    assert compared["equal"].outcome == "unlikely"
    assert compared["equal"].after < 12
    assert str(compared["worse"]).endswith(f"after {compared['worse'].after} of at most 12 seeds")


def test_numbers_are_those_of_the_look_that_settled_it():
    errors = drawn(0, best=0.1, worse=0.16)
    (one,) = compare_sequentially(errors, SEEDS, 0.01).values()
    paired = [errors["best"][seed] - errors["worse"][seed] for seed in range(one.after)]
    alone = compare("best", "worse", paired, boundary(ALPHA, 12).level(one.after))
    assert (one.difference, one.p, one.seeds) == (alone.difference, alone.p, one.after)
    assert one.difference.high < 0, "the interval says what the test says"


def test_there_is_no_look_before_the_third_seed_and_none_at_a_seed_that_somebody_lacks():
    errors = drawn(0, best=0.1, worse=0.3, equal=0.1)
    assert compare_sequentially({name: {0: of[0], 1: of[1]} for name, of in errors.items()}, SEEDS, 0.01) == {}
    errors["equal"].pop(1)
    assert compare_sequentially(errors, SEEDS, 0.01) == {}


@pytest.mark.parametrize("order", range(10))
def test_the_order_in_which_trainings_end_changes_no_decision(order):
    errors = drawn(3, best=0.1, worse=0.12, equal=0.1, other=0.105)
    whole = compare_sequentially(errors, SEEDS, 0.01)
    trainings = [(name, seed) for name in errors for seed in SEEDS]
    known = {name: {} for name in errors}
    settled = {}
    for i in np.random.default_rng(order).permutation(len(trainings)):
        name, seed = trainings[i]
        known[name][seed] = errors[name][seed]
        for other, one in compare_sequentially(known, SEEDS, 0.01).items():
            if one.outcome != "open":
                assert settled.setdefault(other, one) == one, "what is settled stays"
    assert settled == whole


def test_failed_trainings_are_in_no_pair_and_the_last_look_spends_what_is_left(monkeypatch):
    monkeypatch.setattr(group_sequential, "HOPELESS", 0.0)
    errors = drawn(4, best=0.1, other=0.1)
    for seed in (0, 5):
        errors["best"][seed] = None
    errors["other"][7] = None
    (one,) = compare_sequentially(errors, SEEDS, 0.0).values()
    assert (one.after, one.seeds, one.outcome) == (12, 9, "all")
    assert one.level == boundary(ALPHA, 12).level(9, is_last=True)
    two_left = {name: {seed: of[seed] if seed in (1, 2) else None for seed in SEEDS} for name, of in errors.items()}
    (one,) = compare_sequentially(two_left, SEEDS, 0.0).values()
    assert (one.seeds, one.level) == (2, ALPHA)
    none_left = {name: dict.fromkeys(SEEDS) for name in errors}
    assert compare_sequentially(none_left, SEEDS, 0.0) == {}


def test_the_clearest_comparison_leaves_its_share_of_alpha_to_the_others():
    errors = drawn(0, best=0.1, worse=0.3, other=0.11)
    compared = compare_sequentially(
        {name: {seed: of[seed] for seed in range(3)} for name, of in errors.items()}, range(3), 0.0
    )
    assert compared["worse"].level == ALPHA / 2
    assert compared["other"].level == ALPHA
    assert compared["worse"].winner == "best"


def test_a_difference_that_does_not_matter_is_not_pursued():
    errors = drawn(5, best=0.1, worse=0.11)
    assert compare_sequentially(errors, SEEDS, 0.2)["worse"].after == 3
    assert compare_sequentially(errors, SEEDS, 0.001)["worse"].after > 3


@pytest.mark.parametrize("case", claimed())
@pytest.mark.parametrize("others", [1, 4])
def test_equals_are_seldom_told_apart(case, others, monkeypatch):
    monkeypatch.setattr(group_sequential, "HOPELESS", 0.0)  # all seeds, so that every look may be wrong
    repetitions = 150
    rate = Equals(case, 6, others, **claimed()[case]).false_positives(repetitions)
    assert rate <= LIMIT + 2 * np.sqrt(LIMIT / repetitions), "and the luck of so few; benchmarks/verdict.py has more"


def test_the_simulation_sees_a_test_that_is_too_liberal():
    assert Equals("", 10, 1, redrawn=0.21, corrected=False).false_positives(200) > 0.12
    assert Equals("", 10, 1, differing=0.5).false_positives(200) > 0.12


def test_a_difference_is_found_about_as_often_as_with_all_seeds_and_with_fewer():
    it = found(1.5, 12, 1, 200)
    assert power(1.5, 12, ALPHA) - 0.07 < it.detected
    assert it.seeds < 9
    assert power(0.0, 5, ALPHA) == pytest.approx(ALPHA, abs=1e-4)
