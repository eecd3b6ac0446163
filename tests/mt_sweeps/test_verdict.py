import numpy as np
import pytest
from scipy.stats import ttest_rel

from mt_sweeps.verdict import ALPHA, compare, interval


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
        assert str(only).startswith(f"{winner} beats {loser}: by ")
        assert only.difference.mean == pytest.approx(0.2 if winner == "b" else -0.2, abs=0.02)


def test_a_tie_is_called_a_tie_with_the_seeds_that_would_tell():
    (only,) = compare({"a": {0: 0.10, 1: 0.12, 2: 0.11}, "b": {0: 0.11, 1: 0.12, 2: 0.12}}, "a")
    assert only.winner == ""
    assert only.more_seeds is not None
    assert f"cannot be told apart: difference -0.7 % [-2.1, 0.8]; {only.more_seeds} more seeds might tell" in str(only)
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


def test_nothing_is_said_where_there_is_nothing():
    rng = np.random.default_rng(2)
    said = sum(any(one.winner for one in compare(drawn(rng, [0.1] * 5), "a")) for _ in range(400))
    assert said / 400 <= 0.08, "5 %, and the luck of 400 draws"
