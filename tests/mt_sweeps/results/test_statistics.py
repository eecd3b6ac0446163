from dataclasses import replace

import numpy as np
import pytest
from scipy.special import stdtrit
from scipy.stats import ttest_rel

from mt_sweeps.results.statistics import ALPHA, Interval, chance_to_detect, compare, gain, interval


def drawn(rng, means, seeds=5, spread=0.01, shared=0.02):
    """Errors of contenders with these true means; what a seed does to all is more than what it does to one."""
    of_seed = rng.normal(0, shared, seeds)
    return {
        name: dict(enumerate(mean + of_seed + rng.normal(0, spread, seeds)))
        for name, mean in zip("abcde", means, strict=False)
    }


def paired(errors):
    """The differences of a and b, seed by seed."""
    return [errors["a"][seed] - errors["b"][seed] for seed in errors["a"].keys() & errors["b"].keys()]


def test_two_contenders_are_compared_by_the_paired_t_test():
    errors = drawn(np.random.default_rng(0), (0.1, 0.12))
    only = compare("a", "b", paired(errors))
    expected = ttest_rel(list(errors["a"].values()), list(errors["b"].values()))
    assert only.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (only.difference.low, only.difference.high) == pytest.approx((low, high))


def test_a_clear_difference_is_a_win_whoever_has_it():
    for means, winner in (((0.1, 0.3), "a"), ((0.3, 0.1), "b")):
        only = compare("a", "b", paired(drawn(np.random.default_rng(0), means)))
        assert only.winner == winner
        loser = "ab".replace(winner, "")
        assert str(only).startswith(f"{winner} beats {loser} by ")
        assert only.difference.mean == pytest.approx(0.2 if winner == "b" else -0.2, abs=0.02)


def test_a_tie_is_called_a_tie_with_what_is_not_ruled_out():
    tie = compare("a", "b", [-0.01, 0.0, -0.01])
    assert tie.winner == ""
    text = "a and b cannot be told apart: a minus b is -0.7 points [-2.1, 0.8], p = 0.18, after 3 seeds"
    assert str(tie) == text
    early = replace(tie, after=3, most=12, outcome="unlikely")
    assert str(early) == text.replace("3 seeds", "3 of at most 12 seeds; the remaining seeds are unlikely to decide it")
    assert "cannot be told apart so far: " in str(replace(early, outcome="open"))
    assert compare("a", "b", [0.0, 0.0]).p == 1.0


@pytest.mark.parametrize("seed", range(20))
def test_p_and_the_interval_agree_at_any_level(seed):
    rng = np.random.default_rng(seed)
    for level in (0.05, 0.0125, 0.001):
        differences = rng.normal(-0.012, 0.01, 6)
        at_level = compare("a", "b", differences, level)
        test = ttest_rel(differences, np.zeros(6))
        assert bool(at_level.winner) == (test.pvalue < level)
        assert bool(at_level.winner) == (at_level.difference.high < 0 or at_level.difference.low > 0)
        expected = test.confidence_interval(1 - level)
        assert (at_level.difference.low, at_level.difference.high) == pytest.approx((expected.low, expected.high))


def test_the_chance_that_more_seeds_tell_is_that_of_the_predicted_mean():
    differences = np.array([-0.02, -0.01, -0.015, 0.0])
    rng = np.random.default_rng(0)
    spread, mean = differences.std(ddof=1), differences.mean()
    final = mean + spread * np.sqrt(1 / 4 - 1 / 9) * rng.standard_t(3, 200_000)
    needed = max(0.01, stdtrit(8, 0.975) * spread / 3)
    assert chance_to_detect(differences, 9, 1, 0.01) == pytest.approx(np.mean(abs(final) >= needed), abs=0.004)
    assert chance_to_detect(differences, 4, 1, 0.0) == 0.0, "none is left, and p is above 0.05"
    assert chance_to_detect(differences, 9, 1, 0.9) < 0.001, "nothing as large as that is left"


def test_redrawn_images_widen_the_interval_by_what_nadeau_and_bengio_say():
    values = [0.1, 0.12, 0.11, 0.14]
    plain, corrected = interval(values), interval(values, overlap=0.5)
    widths = [one.high - one.low for one in (plain, corrected)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt((1 / 4 + 0.5) / (1 / 4)))
    assert plain.mean == corrected.mean


def test_identical_differences_are_no_finer_than_one_image():
    assert compare("a", "b", [-0.01, -0.01]).p == 0.0
    assert compare("a", "b", [-0.01, -0.01], images=100).p > 0.01


def test_the_gain_is_the_paired_difference_and_the_ratios_that_a_t_test_does_not_rule_out():
    errors = drawn(np.random.default_rng(3), (0.1, 0.2), spread=0.02)
    best, baseline = (np.array(list(errors[name].values())) for name in "ab")
    gained = gain(errors["a"], errors["b"])
    expected = ttest_rel(baseline, best).confidence_interval()
    assert (gained.absolute.low, gained.absolute.high) == pytest.approx((expected.low, expected.high))
    assert gained.relative.mean == pytest.approx(1 - best.mean() / baseline.mean())
    for end in (gained.relative.low, gained.relative.high):
        assert ttest_rel(best, (1 - end) * baseline).pvalue == pytest.approx(ALPHA)
    assert str(gained).endswith(" % [{:.1f}, {:.1f}] fewer errors".format(*_percent(gained.relative)))


def _percent(of):
    return 100 * of.low, 100 * of.high


def test_a_gain_whose_interval_has_zero_is_not_shown_absolute_or_relative():
    for seed in range(50):
        errors = drawn(np.random.default_rng(seed), (0.1, 0.105), seeds=4)
        gained = gain(errors["a"], errors["b"])
        assert (gained.absolute.low > 0) == (gained.relative.low > 0)
        assert str(gained).startswith("not shown: ") == (gained.absolute.low <= 0)


def test_no_relative_gain_is_stated_of_a_difference_that_is_not_shown():
    noise = {"a": {0: 0.1, 1: 0.12, 2: 0.11}, "b": {0: 0.12, 1: 0.1, 2: 0.12}}
    gained = gain(noise["a"], noise["b"])
    assert gained.relative.low < 0 < gained.relative.high
    assert str(gained) == f"not shown: {gained.absolute.text('points')}"
    worse = gain({0: 0.2, 1: 0.22, 2: 0.21}, noise["b"], level=0.2)
    assert worse.absolute.high < 0
    assert str(worse).endswith("] more errors"), "that it is worse is shown"


def test_a_baseline_that_is_hardly_known_leaves_the_relative_gain_open():
    gained = gain({0: 0.1, 1: 0.2}, {0: 0.1, 1: 0.5})
    assert gained.relative is None
    assert str(gained) == "not shown: 15.0 points [-100.0, 100.0]"
    assert gain({0: 0.1, 1: 0.2}, {1: 0.3}) is None


def test_equal_errors_have_an_interval_as_wide_as_half_an_image_makes_it():
    errors = {0: 0.65, 1: 0.65}
    assert str(interval([*errors.values()], images=20)) == "65.0 % [42.5, 87.5]"
    assert str(interval([0.0, 0.0], images=20)) == "0.0 % [0.0, 22.5]"
    assert str(gain(errors, {0: 0.6, 1: 0.8}, images=20)) == "not shown: 5.0 points [-100.0, 100.0]"


def test_both_intervals_of_a_gain_agree_where_errors_are_equal():
    gained = gain({0: 0.0, 1: 0.0}, {0: 0.6, 1: 0.6}, images=10)
    assert str(gained) == "60.0 points [15.1, 100.0], 100.0 % [37.6, 100.0] fewer errors"


def test_both_intervals_of_a_gain_agree_whatever_the_errors_and_none_leaves_what_can_be():
    rng = np.random.default_rng(5)
    for _ in range(2000):
        images, seeds = int(rng.integers(5, 60)), int(rng.integers(2, 7))
        a, b = (dict(enumerate(rng.integers(0, images + 1, seeds) / images)) for _ in "ab")
        if rng.random() < 0.5:  # equal, or equally apart
            a = {seed: max(0.0, error - 0.2) for seed, error in b.items()}
        gained = gain(a, b, overlap=float(rng.choice([0.0, 0.3])), images=images)
        assert -1 <= gained.absolute.low <= gained.absolute.mean <= gained.absolute.high <= 1
        if gained.relative is not None:
            assert (gained.absolute.low > 0, gained.absolute.high < 0) == (
                gained.relative.low > 0,
                gained.relative.high < 0,
            )
            assert gained.relative.low <= gained.relative.mean <= gained.relative.high <= 1
        assert "-0.0" not in str(gained)


def test_no_difference_is_below_zero():
    assert Interval(-0.0001, -0.02, 0.0001).text("points") == "0.0 points [-2.0, 0.0]"
