"""The searched keys as axes of figures, on the scales on which they are searched."""

from dataclasses import dataclass
from typing import Literal

from mt_sweeps.formatting import value_text
from mt_sweeps.search_space.distributions import Categorical, Distribution, Tied
from mt_sweeps.search_space.space import Space, Value, Values
from mt_sweeps.spec.sweep_spec import SweepSpec

Scale = Literal["linear", "log", "one_minus_log", "categorical"]


@dataclass(frozen=True)
class Axis:
    """One branch of a searched key. A tied key has no axis: it follows another key.

    Attributes:
        key: dotted.
        name: of the branch in the ledger, `consistency.weight[mse]`.
        branch: its range or choices.
        space: the search space.
    """

    key: str
    name: str
    branch: Distribution
    space: Space

    @property
    def scale(self) -> Scale:
        """The scale of the search and of the figures."""
        return "categorical" if isinstance(self.branch, Categorical) else self.branch.scale

    @property
    def where(self) -> str:
        """The condition of the branch, or an empty string."""
        return ", ".join(f"{key} = {value_text(value)}" for key, value in (self.branch.when or {}).items())

    @property
    def choices(self) -> list[Value]:
        """All choices of a categorical; empty for a range."""
        return self.branch.choices if isinstance(self.branch, Categorical) else []

    @property
    def ends(self) -> tuple[Value, Value]:
        """The low and the high end of a range, or the first and the last choice."""
        if isinstance(self.branch, Categorical):
            return self.branch.choices[0], self.branch.choices[-1]
        return self.branch.low, self.branch.high

    def holds(self, values: Values) -> bool:
        """Return True if this branch applies to a trial with these values."""
        return self.space.branch(self.key, values) is self.branch

    def value(self, values: Values) -> Value:
        """Return the value on this axis of a trial that has one."""
        return values[self.key]

    def fraction_of(self, value: Value) -> float:
        """Return the position of a value on the axis, from 0 to 1, measured on its scale."""
        return self.branch.fraction_of(value)


def axes(spec: SweepSpec) -> list[Axis]:
    """Return all axes of the search in the order of the file, one per branch of a key."""
    space = spec.space()
    return [
        Axis(key, space.name(key, branch), branch, space)
        for key, branches in space.entries.items()
        for branch in branches
        if not isinstance(branch, Tied)
    ]
