"""The search space: from the entries of a file to the values of a trial.

A key may have several branches, each with a condition on another key. Every branch has its own internal name in the
ledger (`consistency.weight[mse]`), since a sampler models one range per name. A tied key has no name there: it follows
another key.
"""

import random
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, islice

from mt_sweeps.errors import did_you_mean
from mt_sweeps.search_space.distributions import (
    Branch,
    Distribution,
    FloatRange,
    Suggester,
    Tied,
    Value,
    Values,
    branch_path,
    branch_that_holds,
    exclude_each_other,
    internal_names,
)
from mt_sweeps.search_space.filters import MAX_LENGTH, Filter
from mt_sweeps.search_space.grid import all_combinations

MAX_GRID = 100_000
"""Combinations of a grid, before filters."""
DRAWS = 2_000
"""Random combinations that are drawn to see whether the filters allow any."""
FEW = 1_000
"""Combinations, or pairs of values, that are all tried before a sweep."""
TRIED = 200
"""Random combinations that are tried before a sweep, where there are more than a few."""


class Space:
    """The searched keys with their branches, and the filters on their values.

    Args:
        entries: dotted keys, each with its branches.
        filters: expressions that every tried combination must satisfy.
        fixed: values of keys that are not searched, or not always, for the filters.

    Raises:
        ValueError: a branch is tied to, or has a condition on, an unknown key, or keys need each other in a circle; a
            condition can never hold; two branches hold together; or a filter is not an expression.
    """

    def __init__(
        self, entries: dict[str, list[Branch]], filters: Sequence[str] = (), fixed: Values | None = None
    ) -> None:
        self.entries = entries
        self.filters = [Filter(text) for text in filters]
        self.fixed = fixed or {}
        self._names = {key: internal_names(key, branches) for key, branches in entries.items()}
        for key, branches in entries.items():
            self._check_names(key, branches)
        needs = {key: {needed for branch in branches for needed in branch.needs} for key, branches in entries.items()}
        try:
            self.order = list(TopologicalSorter(needs).static_order())
            """The keys, each after those that its branches need."""
        except CycleError as error:
            circle = " -> ".join(error.args[1][::-1])
            raise ValueError(
                f"{error.args[1][-1]}: keys that need each other in a circle: {circle}; "
                "take out one `when` or `same_as`"
            ) from None
        for key, branches in entries.items():
            self._check_conditions(key, branches)

    def suggest(self, trial: Suggester) -> Values:
        """Return the sampler's values for a new trial. A key is left out if none of its branches holds."""
        return self._complete({}, lambda key, branch: branch.suggest(trial, self.name(key, branch)))

    def draw(self, rng: random.Random) -> Values:
        """Return a combination drawn at random; filters may rule it out."""
        return self._complete({}, lambda _, branch: branch.draw(rng))

    def suggest_all(self, trial: Suggester) -> None:
        """Let the sampler choose a value for every branch, whether it holds or not."""
        for key, branches in self.entries.items():
            for branch in branches:
                if not isinstance(branch, Tied):
                    branch.suggest(trial, self.name(key, branch))

    def allows(self, values: Values) -> bool:
        """Return True if all filters hold for the values of a trial.

        A filter that cannot be computed rules the values out. Validation reports such a filter if it meets such values;
        a running sweep just leaves them out.
        """
        try:
            return self._violated_filter(values) is None
        except ValueError:
            return False

    def to_params(self, point: Values) -> Values:
        """Return the ledger's parameters for a point that a person added.

        Args:
            point: values of searched keys. The sampler will choose the keys that it leaves out.

        Raises:
            ValueError: the point is not in the space, or a filter rules it out.
        """
        unknown = sorted(point.keys() - self.entries.keys())
        if unknown:
            raise ValueError(f"{unknown[0]} is not in search_space; {did_you_mean(unknown[0], list(self.entries))}")
        params: Values = {}
        values: Values = {}
        undecided: set[str] = set()  # keys that the sampler will choose, and keys that depend on those
        for key in self.order:
            branch = self.branch(key, values)
            if key not in point:
                if isinstance(branch, Tied):
                    values[key] = values[branch.same_as]
                elif branch or any(undecided & other.needs for other in self.entries[key]):
                    undecided.add(key)
                continue
            if branch is None:
                raise ValueError(f"{key} has no branch that holds for the point's other values; leave it out")
            values[key] = point[key]
            if isinstance(branch, Tied):
                if values[key] != values[branch.same_as]:
                    raise ValueError(
                        f"{key}: {values[key]!r} is not the value of {branch.same_as} ({values[branch.same_as]!r}), "
                        "which it is tied to; leave it out"
                    )
                continue
            problem = branch.why_invalid(point[key])
            if problem:
                raise ValueError(f"{key}: {problem}")
            params |= branch.to_params(self.name(key, branch), point[key])
        violated = self._violated_filter(values, undecided)
        if violated:
            raise ValueError(f"the filter {violated.text!r} rules it out; change the point or the filter")
        if undecided and self._allowed_combination(values, DRAWS) is None:
            raise ValueError(f"with these values, none of {DRAWS:,} draws of the other keys passes the filters")
        return params

    def branch(self, key: str, values: Values) -> Branch | None:
        """Return the branch of a key that holds under the values of other keys, or None."""
        return branch_that_holds(self.entries[key], values)

    def name(self, key: str, branch: Branch) -> str:
        """Return the name of a branch in the ledger, unlike that of any other: `consistency.weight[mse]`."""
        return self._names[key][self.entries[key].index(branch)]

    def path(self, key: str, branch: Branch) -> str:
        """Return where a branch stands below search_space in the file: `ema.decay`, or `consistency.weight.1`."""
        return branch_path(key, branch, self.entries[key])

    def corners(self) -> list[Values]:
        """Return combinations that have each end of each range and each choice once.

        The other keys have their first value, or, if a filter rules that out, values that the filters allow. If no such
        values are found, the corner is left out.
        """
        return self._corners

    def combination(self, fixed: Values, choose: Callable[[str, Distribution], Value]) -> Values | None:
        """Return a combination that the filters allow: with the values that `choose` gives, else with other ones.

        Args:
            fixed: values that it must have, of keys whose branches hold.
            choose: returns the value of another key, from the branch that holds.

        Returns:
            The combination, or None if none was found that the filters allow.
        """
        chosen = self._complete(fixed, choose)
        return chosen if self.allows(chosen) else self._allowed_combination(fixed)

    def grid(self) -> list[Values]:
        """Return every combination that the filters allow, in order.

        The keys vary as they stand in the file, the last one fastest. A key comes after those that it needs, and the
        trainer's `seed` is the outermost: all combinations with the first seed come before those with the second.

        Raises:
            ValueError: a float range has no `levels`, or there are more than 100,000 combinations.
        """
        return self._grid

    def combinations_to_check(self) -> tuple[list[Values], bool]:
        """Return combinations on which to try the filters, and True if the space has no others."""
        try:
            every = list(islice(all_combinations(self.entries), MAX_GRID // 10 + 1))
        except ValueError:
            every = []
        if 0 < len(every) <= MAX_GRID // 10:
            return every, True
        rng = random.Random(0)
        draws = [self._complete({}, lambda _, branch: branch.draw(rng)) for _ in range(DRAWS)]
        return [*map(self._first_combination, self._boundaries()), *draws], False

    def typical(self) -> list[Values]:
        """Return combinations that stand for all that the filters allow, to be tried before a sweep.

        All of them, if they are few. Else the corners, every pair of ends or choices of two keys if these are few, and
        200 random draws.
        """
        candidates, are_all = self.combinations_to_check()
        if are_all and len(candidates) <= FEW:
            return list(filter(self.allows, candidates))
        random.Random(1).shuffle(candidates)
        draws = islice(filter(self.allows, candidates), TRIED)
        return [*self.corners(), *filter(self.allows, map(self._first_combination, self._pairs())), *draws]

    def without(self, prefixes: tuple[str, ...]) -> "Space":
        """Return the space without the keys that begin with one of `prefixes`, and without those that need them.

        Filters that name one of these keys are left out too.
        """
        gone = {key for key in self.entries if key.startswith(prefixes)}
        for key in self.order:
            if key not in gone and all(gone & branch.needs for branch in self.entries[key]):
                gone.add(key)
        entries = {
            key: [branch for branch in branches if not gone & branch.needs]
            for key, branches in self.entries.items()
            if key not in gone
        }
        kept = [f.text for f in self.filters if not any(key in gone or key.startswith(prefixes) for key in f.keys)]
        return Space(entries, kept, self.fixed)

    @cached_property
    def _corners(self) -> list[Values]:
        if not self.filters:
            return [self._first_combination(boundary) for boundary in self._boundaries()]
        corners = [corner for corner in map(self._allowed_combination, self._boundaries()) if corner is not None]
        return corners or [values for values in self.combinations_to_check()[0] if self.allows(values)][:1]

    @cached_property
    def _grid(self) -> list[Values]:
        every = list(islice(all_combinations(self.entries), MAX_GRID + 1))
        if len(every) > MAX_GRID:
            raise ValueError(
                f"sampler grid has more than {MAX_GRID:,} combinations; take out keys or values, give int ranges "
                "`levels: n`, or use another sampler"
            )
        if len(every) * sum(len(one.text) for one in self.filters) > MAX_GRID * MAX_LENGTH:
            raise ValueError(
                f"sampler grid has {len(every):,} combinations, and to try the filters on each takes too long; take "
                "out keys or values, or shorten the filters"
            )
        return list(filter(self.allows, every))

    def _complete(self, fixed: Values, choose: Callable[[str, Distribution], Value]) -> Values:
        """Return a combination with the fixed values; `choose` gives those of the other keys."""
        values: Values = {}
        for key in self.order:
            branch = self.branch(key, values)
            if isinstance(branch, Tied):
                values[key] = values[branch.same_as]
            elif branch is not None:
                is_fixed = key in fixed and branch.why_invalid(fixed[key]) is None  # or else it is of another branch
                values[key] = fixed[key] if is_fixed else choose(key, branch)
        return {key: values[key] for key in self.entries if key in values}

    def _boundaries(self) -> list[Values]:
        """Return, for each corner, the values that make it one."""
        return [
            {},
            *(
                {**(branch.when or {}), key: value}
                for key, branches in self.entries.items()
                for branch in branches
                if not isinstance(branch, Tied)
                for value in branch.boundary_values()
            ),
        ]

    def _pairs(self) -> list[Values]:
        """Return the values of every two corners, where they go together; none if these are many."""
        boundaries = self._boundaries()[1:]
        if len(boundaries) * (len(boundaries) - 1) // 2 > FEW:
            return []
        return [a | b for a, b in combinations(boundaries, 2) if all(a[key] == b[key] for key in a.keys() & b.keys())]

    def _first_combination(self, fixed: Values) -> Values:
        return self._complete(fixed, lambda _, branch: branch.boundary_values()[0])

    def _allowed_combination(self, fixed: Values, draws: int = DRAWS // 10) -> Values | None:
        """Return a combination with the fixed values that the filters allow: the first one, else a random one."""
        first = self._first_combination(fixed)
        if self.allows(first):
            return first
        rng = random.Random(0)
        drawn = (self._complete(fixed, lambda _, branch: branch.draw(rng)) for _ in range(draws))
        return next(filter(self.allows, drawn), None)

    def _violated_filter(self, values: Values, undecided: AbstractSet[str] = frozenset()) -> Filter | None:
        """Return the first filter that does not hold, or None; filters that name an undecided key do not count."""
        known = {**self.fixed, **values}
        decided = (expression for expression in self.filters if not expression.keys & undecided)
        return next((expression for expression in decided if not expression.holds(known)), None)

    def _check_names(self, key: str, branches: list[Branch]) -> None:
        for branch in branches:
            for needed in sorted(branch.needs - self.entries.keys()):
                entry = "same_as" if isinstance(branch, Tied) and branch.same_as == needed else "when"
                raise ValueError(
                    f"{self.path(key, branch)}.{entry}: {needed} is not in search_space; "
                    f"{did_you_mean(needed, list(self.entries))}"
                )
        for i, first in enumerate(branches):
            if not all(exclude_each_other(first, second) for second in branches[i + 1 :]):
                raise ValueError(f"{key}: two branches can hold at once; give each a `when` that rules the other out")

    def _check_conditions(self, key: str, branches: list[Branch]) -> None:
        for branch in branches:
            for parent, wanted in (branch.when or {}).items():
                distributions = self._distributions(parent)
                if any(isinstance(distribution, FloatRange) for distribution in distributions):
                    raise ValueError(f"{key}.when: {parent} is a float; conditions can be on categorical or int keys")
                problems = [distribution.why_invalid(wanted) for distribution in distributions]
                if all(problems):
                    raise ValueError(f"{key}.when: can never hold: {parent}: {problems[0]}")

    def _distributions(self, key: str) -> list[Distribution]:
        """Return the distributions that a key's values come from; those of a tied key are the other key's."""
        distributions: list[Distribution] = []
        for branch in self.entries[key]:
            distributions += self._distributions(branch.same_as) if isinstance(branch, Tied) else [branch]
        return distributions


__all__ = ["Space", "Suggester", "Value", "Values"]
