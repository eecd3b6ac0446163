"""The search space: from a file's entries to the values of one trial.

A key may have several branches, each with a condition on another key. Every branch has an internal name of its own in
the ledger (`consistency.weight[mse]`), since a sampler models one range a name. Tied keys have none: they follow.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import islice

from mt_sweeps.errors import did_you_mean
from mt_sweeps.search_space.distributions import (
    Branch,
    Distribution,
    FloatRange,
    Suggester,
    Tied,
    Value,
    Values,
    exclude_each_other,
    internal_name,
)
from mt_sweeps.search_space.filters import Filter

LARGEST_GRID = 100_000
"""Combinations, before filters."""
DRAWS = 2_000
"""By chance, to see whether filters leave anything."""


class Space:
    """A search space whose keys are in an order in which everything that a branch needs is decided before it.

    Args:
        entries: dotted keys, each with its branches.
        filters: expressions that hold for every combination that is tried.
        fixed: values of keys that are not searched, or not always, for the filters.

    Raises:
        ValueError: a branch is tied to, or has a condition on, an unknown key, or in a circle; a condition can never
            hold; two branches hold together; or a filter is no expression.
    """

    def __init__(
        self, entries: dict[str, list[Branch]], filters: Sequence[str] = (), fixed: Values | None = None
    ) -> None:
        self.entries = entries
        self.filters = [Filter(text) for text in filters]
        self.fixed = fixed or {}
        for key, branches in entries.items():
            self._check_names(key, branches)
        needs = {key: {needed for branch in branches for needed in branch.needs} for key, branches in entries.items()}
        try:
            self.order = list(TopologicalSorter(needs).static_order())
        except CycleError as error:
            circle = " -> ".join(error.args[1][::-1])
            raise ValueError(
                f"{error.args[1][-1]}: keys that need each other in a circle: {circle}; "
                "take out one `when` or `same_as`"
            ) from None
        for key, branches in entries.items():
            self._check_conditions(key, branches)

    def suggest(self, trial: Suggester) -> Values:
        """The values of a new trial; a key none of whose branches holds is left out."""
        return self._filled({}, lambda key, branch: branch.suggest(trial, internal_name(key, branch)))

    def suggest_all(self, trial: Suggester) -> None:
        """Suggest a value for every branch, whether it holds or not."""
        for key, branches in self.entries.items():
            for branch in branches:
                if not isinstance(branch, Tied):
                    branch.suggest(trial, internal_name(key, branch))

    def allows(self, values: Values) -> bool:
        """Whether all filters hold for the values of a trial.

        One that cannot be computed rules the trial out: validation tells of it, as far as it meets such values; a sweep
        that meets them later goes on without.
        """
        try:
            return self._ruling_out(values) is None
        except ValueError:
            return False

    def to_params(self, point: Values) -> Values:
        """The ledger's names and values of a point that a person added.

        Raises:
            ValueError: the point is not in the space, or a filter rules it out.
        """
        unknown = sorted(point.keys() - self.entries.keys())
        if unknown:
            raise ValueError(f"{unknown[0]} is not in search_space; {did_you_mean(unknown[0], list(self.entries))}")
        found: Values = {}
        values: Values = {}
        undecided: set[str] = set()  # what the sampler will choose, and what hangs on it
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
            refusal = branch.why_invalid(point[key])
            if refusal:
                raise ValueError(f"{key}: {refusal}")
            found |= branch.to_params(internal_name(key, branch), point[key])
        ruling_out = self._ruling_out(values, undecided)
        if ruling_out:
            raise ValueError(f"the filter {ruling_out.text!r} rules it out; change the point or the filter")
        if undecided and self._find(values, DRAWS) is None:
            raise ValueError(f"with these values, none of {DRAWS:,} draws of the other keys passes the filters")
        return found

    def branch(self, key: str, values: Values) -> Branch | None:
        """The branch of a key that holds under the values of other keys, or none."""
        for branch in self.entries[key]:
            tied_to_nothing = isinstance(branch, Tied) and branch.same_as not in values
            met = all(parent in values and values[parent] == wanted for parent, wanted in (branch.when or {}).items())
            if met and not tied_to_nothing:
                return branch
        return None

    def corners(self) -> list[Values]:
        """Values that try each end of each range and each choice once, the other keys at their first.

        Where a filter rules that out, the other keys have values that it allows; where there are none, the corner is
        left out.
        """
        return self._corners

    def grid(self) -> list[Values]:
        """Every combination that the filters allow, in order.

        The keys vary as they stand in the file, the last one fastest; a key comes after those that it needs, and the
        trainer's `seed` is the outermost: all other combinations under the first seed come before those of the second.

        Raises:
            ValueError: a float range has no `levels`, or there are more than 100,000 combinations.
        """
        return self._grid

    def tried(self) -> tuple[list[Values], bool]:
        """Combinations to try the filters on before anything starts, and whether these are all that there are."""
        try:
            every = list(islice(self._every(), LARGEST_GRID // 10 + 1))
        except ValueError:
            every = []
        if 0 < len(every) <= LARGEST_GRID // 10:
            return every, True
        rng = random.Random(0)
        draws = [self._filled({}, lambda _, branch: branch.draw(rng)) for _ in range(DRAWS)]
        return [*map(self._corner, self._ends()), *draws], False

    def without(self, prefixes: tuple[str, ...]) -> "Space":
        """The space of the keys that do not begin with one of `prefixes`, nor depend on one that does.

        Filters that name one of those are left out too.
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
            return [self._corner(end) for end in self._ends()]
        found = [corner for corner in map(self._find, self._ends()) if corner is not None]
        return found or [values for values in self.tried()[0] if self.allows(values)][:1]

    @cached_property
    def _grid(self) -> list[Values]:
        every = list(islice(self._every(), LARGEST_GRID + 1))
        if len(every) > LARGEST_GRID:
            raise ValueError(
                f"sampler grid has more than {LARGEST_GRID:,} combinations; take out keys or values, give int ranges "
                "`levels: n`, or use another sampler"
            )
        return [values for values in every if self.allows(values)]

    def _every(self) -> Iterator[Values]:
        """Every combination, whatever the filters say, in the order of a grid."""
        order: dict[str, None] = {}

        def place(key: str) -> None:
            for needed in self.entries:
                if any(needed in branch.needs for branch in self.entries[key]):
                    place(needed)
            order[key] = None

        def extended(values: Values, keys: list[str]) -> Iterator[Values]:
            if not keys:
                yield self._in_order(values)
                return
            key, *rest = keys
            branch = self.branch(key, values)
            if branch is None:
                yield from extended(values, rest)
                return
            try:
                choices = [values[branch.same_as]] if isinstance(branch, Tied) else branch.grid()
            except ValueError as error:
                raise ValueError(f"{self._place(key, branch)}: {error}") from None
            for value in choices:
                yield from extended({**values, key: value}, rest)

        for key in sorted(self.entries, key=lambda key: key != "seed"):
            place(key)
        return extended({}, list(order))

    def _filled(self, fixed: Values, choose: Callable[[str, Distribution], Value]) -> Values:
        values: Values = {}
        for key in self.order:
            branch = self.branch(key, values)
            if isinstance(branch, Tied):
                values[key] = values[branch.same_as]
            elif branch is not None:
                values[key] = fixed[key] if key in fixed else choose(key, branch)
        return self._in_order(values)

    def _in_order(self, values: Values) -> Values:
        return {key: values[key] for key in self.entries if key in values}

    def _ends(self) -> list[Values]:
        """What a corner has for certain, of each."""
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

    def _corner(self, fixed: Values) -> Values:
        return self._filled(fixed, lambda _, branch: branch.boundary_values()[0])

    def _find(self, fixed: Values, draws: int = DRAWS // 10) -> Values | None:
        """A combination with these values that the filters allow, by chance if its first is none."""
        first = self._corner(fixed)
        if self.allows(first):
            return first
        rng = random.Random(0)
        drawn = (self._filled(fixed, lambda _, branch: branch.draw(rng)) for _ in range(draws))
        return next(filter(self.allows, drawn), None)

    def _ruling_out(self, values: Values, undecided: AbstractSet[str] = frozenset()) -> Filter | None:
        """The first filter that does not hold; those that name an undecided key are not asked."""
        known = {**self.fixed, **values}
        asked = (one for one in self.filters if not one.keys & undecided)
        return next((one for one in asked if not one.holds(known)), None)

    def _place(self, key: str, branch: Branch) -> str:
        branches = self.entries[key]
        return key if len(branches) == 1 else f"{key}.{branches.index(branch)}"

    def _check_names(self, key: str, branches: list[Branch]) -> None:
        for branch in branches:
            for needed in sorted(branch.needs - self.entries.keys()):
                entry = "same_as" if isinstance(branch, Tied) and branch.same_as == needed else "when"
                raise ValueError(
                    f"{self._place(key, branch)}.{entry}: {needed} is not in search_space; "
                    f"{did_you_mean(needed, list(self.entries))}"
                )
        for i, first in enumerate(branches):
            if not all(exclude_each_other(first, second) for second in branches[i + 1 :]):
                raise ValueError(f"{key}: two branches can hold at once; give each a `when` that rules the other out")

    def _check_conditions(self, key: str, branches: list[Branch]) -> None:
        for branch in branches:
            for parent, wanted in (branch.when or {}).items():
                dimensions = self._dimensions(parent)
                if any(isinstance(other, FloatRange) for other in dimensions):
                    raise ValueError(f"{key}.when: {parent} is a float; conditions can be on categorical or int keys")
                refusals = [other.why_invalid(wanted) for other in dimensions]
                if all(refusals):
                    raise ValueError(f"{key}.when: can never hold: {parent}: {refusals[0]}")

    def _dimensions(self, key: str) -> list[Distribution]:
        """What chooses the values of a key, a tied one's through the key that it follows."""
        found: list[Distribution] = []
        for branch in self.entries[key]:
            found += self._dimensions(branch.same_as) if isinstance(branch, Tied) else [branch]
        return found


__all__ = ["Space", "Suggester", "Value", "Values"]
