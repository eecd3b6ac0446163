"""The branches of a searched key: a range, a list of choices, or the value of another key.

EMA-like parameters are searched on the logarithm of 1 - x, under the name `1 - x` that the sampler really sees.
"""

import math
import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Discriminator, Field, Tag, model_validator

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

    @property
    def needs(self) -> set[str]:
        """Keys whose values are decided before this branch."""
        return set(self.when or {})


class _Range(_Branch):
    low: float
    high: float
    scale: Literal["linear", "log", "one_minus_log"] = "linear"
    levels: int | None = Field(None, ge=2, description="how many values a grid has of it, the ends included")

    @model_validator(mode="after")
    def _is_a_range(self) -> Any:
        low, high, scale = self.low, self.high, self.scale
        if low >= high:
            raise ValueError(f"low ({low}) must be below high ({high})")
        if scale == "log" and low <= 0:
            raise ValueError(f"low ({low}) must be above 0 on a log scale; use scale: linear or raise low")
        if scale == "one_minus_log" and _one_minus(high) <= 0:
            raise ValueError(f"high ({high}) must be below 1 on the scale one_minus_log, which searches log(1 - x)")
        return self

    def value_at(self, share: float) -> float:
        """The value at a share (0 to 1) of the range, measured on its scale."""
        if share in (0, 1):
            return self.high if share else self.low
        if self.scale == "one_minus_log":
            return _one_minus(_between(_one_minus(self.low), _one_minus(self.high), share, log=True))
        return _between(self.low, self.high, share, log=self.scale == "log")

    def fraction_of(self, value: float) -> float:
        """Where a value is in the range, measured on its scale: 0 at its low end, 1 at its high one."""
        low, at, high = map(self._scaled, (self.low, value, self.high))
        return (at - low) / (high - low)

    def _scaled(self, value: float) -> float:
        if self.scale == "one_minus_log":
            return -math.log(_one_minus(value))
        return math.log(value) if self.scale == "log" else value

    def to_params(self, name: str, value: Value) -> Values:
        """The entry of the ledger that stands for `value`."""
        return {name: value}

    def why_invalid(self, value: Value) -> str | None:
        """Why `value` is not in this branch, or none."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r} is not a number"
        return None if self.low <= value <= self.high else f"{value} is outside {self.low} to {self.high}"

    def boundary_values(self) -> list[Value]:
        """Values with which a trial of this branch must be legal."""
        return [self.low, self.high]

    def grid(self) -> Sequence[Value]:
        """The values that a grid has of this branch.

        Raises:
            ValueError: there is no end of them, and the file does not say how many.
        """
        if self.levels is None:
            raise ValueError("sampler grid needs `levels: n` for a float range, or a categorical")
        return list(dict.fromkeys(self.value_at(i / (self.levels - 1)) for i in range(self.levels)))

    def draw(self, rng: random.Random) -> Value:
        """A value by chance."""
        return rng.choice(self.grid()) if self.levels else self.value_at(rng.random())


class FloatRange(_Range):
    """A real number from low to high, both included."""

    type: Literal["float"]

    def suggest(self, trial: Suggester, name: str) -> float:
        """Ask for a value under the internal name of this branch."""
        if self.scale != "one_minus_log":
            return trial.suggest_float(name, self.low, self.high, log=self.scale == "log")
        distance = trial.suggest_float(f"1 - {name}", _one_minus(self.high), _one_minus(self.low), log=True)
        return _one_minus(distance)

    def to_params(self, name: str, value: Value) -> Values:
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

    def value_at(self, share: float) -> int:
        return round(super().value_at(share))

    def why_invalid(self, value: Value) -> str | None:
        return super().why_invalid(value) if isinstance(value, int) else f"{value!r} is not a whole number"

    def grid(self) -> Sequence[Value]:
        return super().grid() if self.levels else range(self.low, self.high + 1)


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

    def to_params(self, name: str, value: Value) -> Values:
        """The entry of the ledger that stands for `value`."""
        return {name: value}

    def why_invalid(self, value: Value) -> str | None:
        """Why `value` is not in this branch, or none."""
        return None if value in self.choices else f"{value!r} is not one of {self.choices}"

    def boundary_values(self) -> list[Value]:
        """Values with which a trial of this branch must be legal."""
        return self.choices

    def grid(self) -> Sequence[Value]:
        """The values that a grid has of this branch."""
        return self.choices

    def draw(self, rng: random.Random) -> Value:
        """A value by chance."""
        return rng.choice(self.choices)


class Tied(_Branch):
    """The value of another key; absent where the other is. Nothing of it is suggested: it is no dimension."""

    same_as: str

    @property
    def needs(self) -> set[str]:
        return {self.same_as, *(self.when or {})}


def _kind(entry: Any) -> Any:
    given = entry if isinstance(entry, dict) else getattr(entry, "__dict__", {})
    return "Tied" if "same_as" in given and "type" not in given else given.get("type")


Distribution = FloatRange | IntRange | Categorical
"""What a sampler chooses a value of."""

Branch = Distribution | Tied

Entry = Annotated[
    Annotated[FloatRange, Tag("float")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[Categorical, Tag("categorical")]
    | Annotated[Tied, Tag("Tied")],
    Discriminator(
        _kind,
        custom_error_type="union_tag_unknown",
        custom_error_message="neither a type nor same_as",
        custom_error_context={
            "discriminator": "'type'",
            "expected_tags": "'float', 'int', 'categorical'; or tie the key with {same_as: KEY}",
        },
    ),
]
"""A branch in a file: told from the others by its `type`, which a tied key does not have."""


def internal_name(key: str, branch: Distribution) -> str:
    """A branch's name in the ledger: `consistency.weight[mse]`."""
    return f"{key}[{','.join(str(value) for _, value in sorted(branch.when.items()))}]" if branch.when else key


def exclude_each_other(a: Branch, b: Branch) -> bool:
    """Whether the conditions of two branches can never hold together."""
    ours, theirs = a.when or {}, b.when or {}
    return any(ours[parent] != theirs[parent] for parent in ours.keys() & theirs.keys())


def _between(low: float, high: float, share: float, *, log: bool) -> float:
    value = low * (high / low) ** share if log else low + (high - low) * share
    return float(f"{value:.12g}")  # so that the middle of 0.1 and 10 is 1


def _one_minus(value: float) -> float:
    return round(1.0 - value, 12)  # so that 0.999 comes back as 0.999
