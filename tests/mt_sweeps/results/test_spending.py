"""The levels of looks after each seed: exact for two looks, and right in a simulation of many."""

import numpy as np
import pytest
from scipy.special import stdtr, stdtrit

from mt_sweeps.results.spending import Boundary, boundary


def p_values(differences):
    """The p-value of the t-test of the first 1, 2, ... differences: float [repetitions, seeds]; the first is nan."""
    n = np.arange(1, differences.shape[1] + 1)
    sums, squares = differences.cumsum(1), (differences**2).cumsum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = sums / n / np.sqrt((squares - sums**2 / n) / (n - 1) / n)
        return 2 * stdtr(n - 1, -abs(t))


def test_a_single_look_has_all_of_alpha():
    assert Boundary(0.05, 3).level(3) == Boundary(0.05, 2).level(2) == 0.05
    assert Boundary(0.05, 12).level(2) == 0.0, "the first of several is at three seeds"


def test_the_first_look_has_its_share_and_the_second_what_an_integral_says():
    alpha, most = 0.05, 4
    first, second = Boundary(alpha, most).level(3), Boundary(alpha, most).level(4)
    assert first == pytest.approx(alpha * (3 / 4) ** 3)
    # Stopped at neither: over t of three differences; the fourth is x, in roots of the sum of squares of the three.
    last = stdtrit(3, 1 - second / 2)
    x = stdtrit(3, (np.arange(4000) + 0.5) / 4000) / np.sqrt(3)

    def not_stopped(t):
        now = abs(np.sqrt(3) * t / np.hypot(t, np.sqrt(2)) + x) / np.hypot(1, x)
        return np.mean(now * np.sqrt(3 / np.maximum(4 - now**2, 1e-300)) < last)

    # Over the probability of t, which Student's distribution makes uniform.
    share = first / 2 + (1 - first) * (np.arange(2000) + 0.5) / 2000
    neither = (1 - first) * np.mean([not_stopped(t) for t in stdtrit(2, share)])
    assert 1 - neither == pytest.approx(alpha, abs=2e-4)


def test_over_all_looks_as_many_are_rejected_as_is_spent():
    p = p_values(np.random.default_rng(0).normal(size=(50_000, 12)))
    levels = np.array([0, 0, *(boundary(0.05, 12).level(n) for n in range(3, 13))])
    rejected = np.maximum.accumulate(np.nan_to_num(p, nan=1.0) < levels, axis=1).mean(axis=0)
    spent = 0.05 * (np.arange(1, 13) / 12) ** 3
    assert rejected[2:] == pytest.approx(spent[2:], abs=0.003)


def test_where_seeds_failed_the_last_look_spends_what_is_left():
    p = p_values(np.random.default_rng(1).normal(size=(50_000, 7)))
    levels = [0, 0, *(boundary(0.05, 12).level(n) for n in range(3, 7)), boundary(0.05, 12).level(7, is_last=True)]
    assert (np.nan_to_num(p, nan=1.0) < levels).any(axis=1).mean() == pytest.approx(0.05, abs=0.003)
    assert boundary(0.05, 12).level(2, is_last=True) == 0.05


def test_levels_of_less_alpha_are_lower_at_every_look():
    # So a comparison that is decided among many is decided alone: what the procedure of Holm needs.
    for most in (6, 12, 20):
        levels = np.array([[boundary(0.05 / left, most).level(n) for n in range(3, most + 1)] for left in (4, 3, 2, 1)])
        assert (np.diff(levels, axis=0) > 0).all()
