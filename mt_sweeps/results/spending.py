"""Levels for a t-test that is repeated after each seed, so that all looks together are wrong as seldom as one.

The permitted rate of false positives is spent over the looks as alpha (n / most)^3 (Kim & DeMets 1987, "Design and
analysis of group sequential tests based on the type I error spending rate function"): little at first and most at the
end, much as the boundaries of O'Brien & Fleming do.

The levels are exact for independent normal differences with a mean of 0, whatever their spread. Let U be the sum of n
differences over the root of the sum of their squares. U does not depend on the sum of squares (Basu's theorem), so the
next one is U cos(f) + sin(f), where the angle f is independent of U and has the density cos(f)^(n-1). Student's t grows
with U. So the chance to stop at each look follows from integrals over one variable.
"""

from functools import lru_cache

import numpy as np

FIRST_LOOK = 3
"""Seeds at the first look: two differences say next to nothing of their spread."""
_POWER = 3
_CELLS = 192  # in which |U| is counted: with more, levels change by 1 % at most
_ANGLES = np.linspace(-np.pi / 2, np.pi / 2, 4097)


class Boundary:
    """The levels of a two-sided paired t-test that is made after each seed from the third on.

    Args:
        alpha: the permitted rate of false positives over all looks.
        most: seeds at the last look.
    """

    def __init__(self, alpha: float, most: int) -> None:
        self.alpha = alpha
        self.most = most
        self._levels = [self._spent(FIRST_LOOK)]
        self._last: dict[int, float] = {}  # levels of last looks, by the number of seeds
        # Of each look: the middles of the cells of |U|, and the chance to be in each without having stopped.
        self._states = [_first_state(self._levels[0])]

    def level(self, seeds: int, is_last: bool = False) -> float:
        """Return what the p-value of a look must be below.

        Args:
            seeds: number of differences at this look, at least 2.
            is_last: whether no look comes after it, so that all that is left of alpha is spent, also where trainings
                failed and there are fewer than `most`.
        """
        if seeds == self.most or is_last:
            if seeds not in self._last:
                self._last[seeds] = self._next(seeds, self.alpha)[0] if seeds > FIRST_LOOK else self.alpha
            return self._last[seeds]
        if seeds < FIRST_LOOK:
            return 0.0
        while len(self._levels) <= seeds - FIRST_LOOK:
            n = FIRST_LOOK + len(self._levels)
            level, state = self._next(n, self._spent(n))
            self._levels.append(level)
            self._states.append(state)
        return self._levels[seeds - FIRST_LOOK]

    def _spent(self, seeds: int) -> float:
        return self.alpha * min(1.0, seeds / self.most) ** _POWER

    def _next(self, seeds: int, spent: float) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
        """Return the level and the state of a look at which this much of alpha is spent in all."""
        self.level(seeds - 1)  # whose state is needed
        middles, chances = self._states[seeds - 1 - FIRST_LOOK]
        angle = _angle_cdf(seeds - 1)
        radius, turn = np.hypot(1, middles), np.arctan(middles)

        def within(bounds: np.ndarray) -> np.ndarray:
            """Return the chance of not having stopped and that |U| is now at most this."""
            b = np.arcsin(np.minimum(1, bounds[:, None] / radius))
            each = [np.interp(x, _ANGLES, angle) for x in (b - turn, -b - turn, np.pi - b - turn)]
            result: np.ndarray = (each[0] - each[1] + 1 - each[2]) @ chances
            return result

        keep, low, high = 1 - spent, 0.0, float(np.sqrt(seeds))
        for _ in range(4):
            bounds = np.linspace(low, high, 65)
            i = int(np.clip(np.searchsorted(within(bounds), keep), 1, 64))
            low, high = float(bounds[i - 1]), float(bounds[i])
        bound = (low + high) / 2
        edges = _edges(bound, seeds)
        return _level_of(bound, seeds), ((edges[1:] + edges[:-1]) / 2, np.diff(within(edges)))


@lru_cache(maxsize=256)
def boundary(alpha: float, most: int) -> Boundary:
    """Return the levels of so many looks; computed once."""
    return Boundary(alpha, most)


def _first_state(level: float) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import stdtr, stdtrit

    t = float(stdtrit(FIRST_LOOK - 1, 1 - level / 2))
    edges = _edges(np.sqrt(FIRST_LOOK) * t / np.hypot(t, np.sqrt(FIRST_LOOK - 1)), FIRST_LOOK)
    inside = 1 - 2 * stdtr(FIRST_LOOK - 1, -_t_of(edges, FIRST_LOOK))
    return (edges[1:] + edges[:-1]) / 2, np.diff(inside)


def _edges(bound: float, seeds: int) -> np.ndarray:
    """Return the edges of the cells from 0 to a bound, narrower towards the most that |U| can be."""
    edges: np.ndarray = np.sqrt(seeds) * np.sin(np.linspace(0, np.arcsin(bound / np.sqrt(seeds)), _CELLS + 1))
    return edges


def _t_of(u: np.ndarray, seeds: int) -> np.ndarray:
    """Return the t that belongs to a U."""
    t: np.ndarray = u * np.sqrt((seeds - 1) / np.maximum(seeds - u * u, 1e-300))
    return t


def _level_of(bound: float, seeds: int) -> float:
    from scipy.special import stdtr

    return float(2 * stdtr(seeds - 1, -_t_of(np.array(bound), seeds)))


@lru_cache(maxsize=256)
def _angle_cdf(n: int) -> np.ndarray:
    """Return the distribution function of an angle with the density cos^(n-1): its tangent is t / sqrt(n)."""
    from scipy.special import stdtr

    inner: np.ndarray = stdtr(n, np.sqrt(n) * np.tan(_ANGLES[1:-1]))
    return np.concatenate([[0.0], inner, [1.0]])
