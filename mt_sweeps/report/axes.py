"""The searched keys as axes: what stands where, on the scale on which it is searched."""

from dataclasses import dataclass
from typing import Literal

from mt_sweeps.formatting import value_text
from mt_sweeps.search_space.distributions import Categorical, Distribution, Tied, internal_name
from mt_sweeps.search_space.space import Space, Value, Values
from mt_sweeps.spec.sweep_spec import SweepSpec

Scale = Literal["linear", "log", "one_minus_log", "categorical"]


@dataclass(frozen=True)
class Axis:
    """One branch of a searched key. A tied key has none: it follows another.

    Attributes:
        key: dotted.
        name: in the ledger, `consistency.weight[mse]`.
        branch: its range or choices.
        space: that it is a part of.
    """

    key: str
    name: str
    branch: Distribution
    space: Space

    @property
    def scale(self) -> Scale:
        """On which it is searched, and drawn: `one_minus_log` as 1 - x on a logarithmic axis."""
        return "categorical" if isinstance(self.branch, Categorical) else self.branch.scale

    @property
    def where(self) -> str:
        """The condition of the branch; empty: it has none."""
        return ", ".join(f"{key} = {value_text(value)}" for key, value in (self.branch.when or {}).items())

    @property
    def choices(self) -> list[Value]:
        """Of a categorical; else none."""
        return self.branch.choices if isinstance(self.branch, Categorical) else []

    @property
    def ends(self) -> tuple[Value, Value]:
        """The low and the high end of a range; the first and the last choice."""
        if isinstance(self.branch, Categorical):
            return self.branch.choices[0], self.branch.choices[-1]
        return self.branch.low, self.branch.high

    def holds(self, values: Values) -> bool:
        """Whether a trial has a value on this axis: else another branch held, or none did."""
        return self.space.branch(self.key, values) is self.branch

    def value(self, values: Values) -> Value:
        """That of a trial which has one."""
        return values[self.key]

    def drawn(self, value: Value) -> float:
        """Where a value is drawn: at itself, at 1 - x, or at the place of a choice in the list."""
        if isinstance(self.branch, Categorical):
            return self.branch.choices.index(value)
        return round(1.0 - float(value), 12) if self.branch.scale == "one_minus_log" else float(value)

    def fraction_of(self, value: Value) -> float:
        """Return the position of a value on the axis, from 0 to 1, measured on its scale."""
        return self.branch.fraction_of(value)


def axes(spec: SweepSpec) -> list[Axis]:
    """All axes of the search, in the order of the file; a key with several branches has one for each."""
    space = spec.space()
    return [
        Axis(key, internal_name(key, branch), branch, space)
        for key, branches in space.entries.items()
        for branch in branches
        if not isinstance(branch, Tied)
    ]
