import numpy as np
import pytest
from scipy.stats import ttest_rel

from benchmarks.verdict import LIMIT, Equals, claimed, found, power, seeds_for
from mt_sweeps.results.statistics import ALPHA, Interval, compare, gain, interval


def drawn(rng, means, seeds=5, spread=0.01, shared=0.02):
    """Errors of contenders with these true means; what a seed does to all is more than what it does to one."""
    of_seed = rng.normal(0, shared, seeds)
    return {
        name: dict(enumerate(mean + of_seed + rng.normal(0, spread, seeds)))
        for name, mean in zip("abcde", means, strict=False)
    }


def test_two_contenders_are_compared_by_the_paired_t_test():
    errors = drawn(np.random.default_rng(0), (0.1, 0.12))
    (only,) = compare(errors, "a")
    expected = ttest_rel(list(errors["a"].values()), list(errors["b"].values()))
    assert only.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval()
    assert (only.difference.low, only.difference.high) == pytest.approx((low, high))


def test_a_clear_difference_is_a_win_whoever_has_it():
    for means, winner in (((0.1, 0.3), "a"), ((0.3, 0.1), "b")):
        (only,) = compare(drawn(np.random.default_rng(0), means), "a")
        assert only.winner == winner
        loser = "ab".replace(winner, "")
        assert str(only).startswith(f"{winner} beats {loser} by ")
        assert only.difference.mean == pytest.approx(0.2 if winner == "b" else -0.2, abs=0.02)


def test_a_tie_is_called_a_tie_with_the_seeds_that_would_tell():
    (only,) = compare({"a": {0: 0.10, 1: 0.12, 2: 0.11}, "b": {0: 0.11, 1: 0.12, 2: 0.12}}, "a")
    assert only.winner == ""
    assert only.more_seeds is not None
    tie = f"difference -0.7 points [-2.1, 0.8], p = 0.18; {only.more_seeds} more seeds might tell"
    assert str(only) == f"a and b cannot be told apart: {tie}"
    (same,) = compare({"a": {0: 0.1, 1: 0.2}, "b": {0: 0.1, 1: 0.2}}, "a")
    assert (same.p, same.more_seeds) == (1.0, None)


def test_as_many_seeds_as_it_says_decide_if_the_difference_stays():
    errors = {"a": {i: 0.10 + 0.01 * (i % 2) for i in range(6)}, "b": {i: 0.105 + 0.005 * (i % 3) for i in range(6)}}
    (tie,) = compare(errors, "a")
    assert tie.winner == ""
    wished = 6 + tie.more_seeds
    difference = np.array([errors["a"][i] - errors["b"][i] for i in range(6)])
    standard = (difference - difference.mean()) / difference.std(ddof=1)
    more = np.resize(standard, wished)
    more = (more - more.mean()) / more.std(ddof=1) * difference.std(ddof=1) + difference.mean()
    (decided,) = compare({"a": dict(enumerate(more)), "b": dict.fromkeys(range(wished), 0.0)}, "a")
    assert decided.p <= ALPHA + 1e-9


def test_more_comparisons_need_clearer_differences():
    errors = drawn(np.random.default_rng(1), (0.1, 0.118), spread=0.006)
    alone = compare(errors, "a")[0]
    beside_others = compare({**errors, "c": dict(errors["a"]), "d": dict(errors["a"])}, "a")[0]
    assert beside_others.p == pytest.approx(min(1.0, 3 * alone.p))


def test_redrawn_images_widen_the_interval_by_what_nadeau_and_bengio_say():
    values = [0.1, 0.12, 0.11, 0.14]
    plain, corrected = interval(values), interval(values, overlap=0.5)
    widths = [one.high - one.low for one in (plain, corrected)]
    assert widths[1] / widths[0] == pytest.approx(np.sqrt((1 / 4 + 0.5) / (1 / 4)))
    assert plain.mean == corrected.mean


def test_only_seeds_that_both_completed_are_compared():
    errors = {"a": {0: 0.1, 1: 0.2, 2: 0.3}, "b": {1: 0.2, 2: 0.3, 7: 0.9}, "c": {0: 0.1}}
    (only,) = compare(errors, "a")
    assert (only.b, only.seeds, only.difference.mean) == ("b", 2, 0.0)


def test_identical_differences_are_no_finer_than_one_image():
    errors = {"a": {0: 0.10, 1: 0.10}, "b": {0: 0.11, 1: 0.11}}
    assert compare(errors, "a")[0].p == 0.0
    assert compare(errors, "a", images=100)[0].p > 0.01


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


@pytest.mark.parametrize("case", claimed())
@pytest.mark.parametrize("others", [1, 4])
def test_equals_are_seldom_told_apart(case, others):
    repetitions = 300
    said = Equals(case, 5, others, **claimed()[case]).said(repetitions)
    assert said <= LIMIT + 2 * np.sqrt(LIMIT / repetitions), "and the luck of so few; benchmarks/verdict.py has more"


def test_the_simulation_sees_a_test_that_is_too_liberal():
    assert Equals("", 10, 1, redrawn=0.21, corrected=False).said(300) > 0.15
    assert Equals("", 10, 1, differing=0.5).said(300) > 0.15


def test_a_difference_is_found_as_often_as_tabulated():
    for others in (1, 2):
        assert found(2.0, 5, others, 400) == pytest.approx(power(2.0, 5, ALPHA / others), abs=0.07)
    assert power(0.0, 5, ALPHA) == pytest.approx(ALPHA, abs=1e-4)
    seeds = seeds_for(1.0, ALPHA)
    assert power(1.0, seeds - 1, ALPHA) < 0.8 <= power(1.0, seeds, ALPHA)
