"""The search space: from a file's entries to the values of one trial.

A key may have several branches, each with a condition on another key. Every branch has an internal name of its own in
the ledger (`consistency.weight[mse]`), since a sampler models one range a name. EMA-like parameters are searched on the
logarithm of 1 - x, under the name `1 - x` that the sampler really sees.
"""

from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, model_validator

from trainers.config import Settings

Value = bool | int | float | str
Values = dict[str, Value]


class Suggester(Protocol):
    """What a space needs of a trial of the ledger (Optuna's trial is one)."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: list[Value]) -> Value: ...


class _Branch(Settings):
    when: Annotated[dict[str, Value], Field(min_length=1)] | None = Field(
        None, description="values of other keys under which this branch holds"
    )


class _Range(_Branch):
    low: float
    high: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Any:
        low, high, scale = self.low, self.high, getattr(self, "scale", "linear")
        if low >= high:
            raise ValueError(f"low ({low}) must be below high ({high})")
        if scale == "log" and low <= 0:
            raise ValueError(f"low ({low}) must be above 0 on a log scale; use scale: linear or raise low")
        if scale == "one_minus_log" and _one_minus(high) <= 0:
            raise ValueError(f"high ({high}) must be below 1 on the scale one_minus_log, which searches log(1 - x)")
        return self

    def internal(self, name: str, value: Value) -> Values:
        """The entry of the ledger that stands for `value`."""
        return {name: value}

    def refusal(self, value: Value) -> str | None:
        """Why `value` is not in this branch, or none."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r} is not a number"
        return None if self.low <= value <= self.high else f"{value} is outside {self.low} to {self.high}"

    def corners(self) -> list[Value]:
        """Values with which a trial of this branch must be legal."""
        return [self.low, self.high]


class FloatRange(_Range):
    """A real number from low to high, both included."""

    type: Literal["float"]
    scale: Literal["linear", "log", "one_minus_log"] = "linear"

    def suggest(self, trial: Suggester, name: str) -> float:
        """Ask for a value under the internal name of this branch."""
        if self.scale != "one_minus_log":
            return trial.suggest_float(name, self.low, self.high, log=self.scale == "log")
        distance = trial.suggest_float(f"1 - {name}", _one_minus(self.high), _one_minus(self.low), log=True)
        return _one_minus(distance)

    def internal(self, name: str, value: Value) -> Values:
        return {f"1 - {name}": _one_minus(float(value))} if self.scale == "one_minus_log" else {name: float(value)}


class IntRange(_Range):
    """A whole number from low to high, both included."""

    type: Literal["int"]
    low: int
    high: int
    scale: Literal["linear", "log"] = "linear"

    def suggest(self, trial: Suggester, name: str) -> int:
        """Ask for a value under the internal name of this branch."""
        return trial.suggest_int(name, self.low, self.high, log=self.scale == "log")

    def refusal(self, value: Value) -> str | None:
        return super().refusal(value) if isinstance(value, int) else f"{value!r} is not a whole number"


class Categorical(_Branch):
    """One of a list."""

    type: Literal["categorical"]
    choices: list[Value] = Field(min_length=1)

    @model_validator(mode="after")
    def _has_no_choice_twice(self) -> "Categorical":
        twice = [c for i, c in enumerate(self.choices) if c in self.choices[:i]]
        if twice:
            raise ValueError(f"choices has {twice[0]!r} twice; remove one")
        return self

    def suggest(self, trial: Suggester, name: str) -> Value:
        """Ask for a value under the internal name of this branch."""
        return trial.suggest_categorical(name, self.choices)

    def internal(self, name: str, value: Value) -> Values:
        """The entry of the ledger that stands for `value`."""
        return {name: value}

    def refusal(self, value: Value) -> str | None:
        """Why `value` is not in this branch, or none."""
        return None if value in self.choices else f"{value!r} is not one of {self.choices}"

    def corners(self) -> list[Value]:
        """Values with which a trial of this branch must be legal."""
        return self.choices


Branch = Annotated[FloatRange | IntRange | Categorical, Field(discriminator="type")]


class Space:
    """A search space whose keys are in an order in which every condition is decided before it is needed.

    Args:
        entries: dotted keys, each with its branches.

    Raises:
        ValueError: a condition is on an unknown key, in a circle, or can never hold; or two branches hold together.
    """

    def __init__(self, entries: dict[str, list[FloatRange | IntRange | Categorical]]) -> None:
        self.entries = entries
        for key, branches in entries.items():
            for branch in branches:
                self._check_conditions(key, branch)
            for i, first in enumerate(branches):
                for second in branches[i + 1 :]:
                    if not _exclude_each_other(first, second):
                        raise ValueError(
                            f"{key}: two branches can hold at once; give each a `when` that rules the other out"
                        )
        parents = {key: {p for b in branches for p in b.when or {}} for key, branches in entries.items()}
        try:
            self.order = list(TopologicalSorter(parents).static_order())
        except CycleError as error:
            raise ValueError(f"{error.args[1][0]}: conditions in a circle: {' -> '.join(error.args[1])}") from None

    def suggest(self, trial: Suggester) -> Values:
        """The values of a new trial; a key none of whose branches holds is left out."""
        values: Values = {}
        for key in self.order:
            branch = self.branch(key, values)
            if branch is not None:
                values[key] = branch.suggest(trial, internal_name(key, branch))
        return {key: values[key] for key in self.entries if key in values}

    def internal(self, point: Values) -> Values:
        """The ledger's names and values of a point that a person added.

        Raises:
            ValueError: the point is not in the space.
        """
        unknown = sorted(point.keys() - self.entries.keys())
        if unknown:
            raise ValueError(f"{unknown[0]} is not in search_space; it has {', '.join(self.entries)}")
        found: Values = {}
        for key in self.order:
            if key not in point:
                continue
            branch = self.branch(key, point)
            if branch is None:
                raise ValueError(f"{key} has no branch whose `when` holds for the point's other values; leave it out")
            refusal = branch.refusal(point[key])
            if refusal:
                raise ValueError(f"{key}: {refusal}")
            found |= branch.internal(internal_name(key, branch), point[key])
        return found

    def branch(self, key: str, values: Values) -> FloatRange | IntRange | Categorical | None:
        """The branch of a key that holds under the values of other keys, or none."""
        for branch in self.entries[key]:
            if all(parent in values and values[parent] == wanted for parent, wanted in (branch.when or {}).items()):
                return branch
        return None

    def corners(self) -> list[Values]:
        """Values that try each end of each range and each choice once, the other keys at their first."""

        def complete(fixed: Values) -> Values:
            values: Values = {}
            for key in self.order:
                branch = self.branch(key, values)
                if branch is not None:
                    values[key] = fixed.get(key, branch.corners()[0])
            return values

        corners = [complete({})]
        for key, branches in self.entries.items():
            for branch in branches:
                corners += [complete({**(branch.when or {}), key: value}) for value in branch.corners()]
        return corners

    def without(self, prefixes: tuple[str, ...]) -> "Space":
        """The space of the keys that do not begin with one of `prefixes`, nor depend on one that does."""
        gone = {key for key in self.entries if key.startswith(prefixes)}
        for key in self.order:
            if key not in gone and all(gone & (branch.when or {}).keys() for branch in self.entries[key]):
                gone.add(key)
        return Space(
            {
                key: [branch for branch in branches if not gone & (branch.when or {}).keys()]
                for key, branches in self.entries.items()
                if key not in gone
            }
        )

    def _check_conditions(self, key: str, branch: FloatRange | IntRange | Categorical) -> None:
        for parent, wanted in (branch.when or {}).items():
            if parent not in self.entries:
                raise ValueError(
                    f"{key}.when: {parent} is not in search_space; conditions can be on {', '.join(self.entries)}"
                )
            if any(isinstance(other, FloatRange) for other in self.entries[parent]):
                raise ValueError(f"{key}.when: {parent} is a float; conditions can be on categorical or int keys")
            refusals = [other.refusal(wanted) for other in self.entries[parent]]
            if all(refusals):
                raise ValueError(f"{key}.when: can never hold: {parent}: {refusals[0]}")


def internal_name(key: str, branch: FloatRange | IntRange | Categorical) -> str:
    """A branch's name in the ledger: `consistency.weight[mse]`."""
    return f"{key}[{','.join(str(value) for _, value in sorted(branch.when.items()))}]" if branch.when else key


def _exclude_each_other(a: _Branch, b: _Branch) -> bool:
    ours, theirs = a.when or {}, b.when or {}
    return any(ours[parent] != theirs[parent] for parent in ours.keys() & theirs.keys())


def _one_minus(value: float) -> float:
    return round(1.0 - value, 12)  # so that 0.999 comes back as 0.999
