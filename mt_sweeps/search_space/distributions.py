"""The branches of a searched key: a range, a list of choices, or a tie to another key.

EMA decays and the like are searched on the scale log(1 - x). The sampler sees the value 1 - x, named `1 - KEY`.
"""

import json
import math
import random
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import Discriminator, Field, Tag, model_validator

from mt_sweeps.errors import short_repr
from trainers.config import Settings

MAX_CHOICES = 1000
"""Of a categorical, and levels of a range in a grid."""
MAX_WHOLE_NUMBER = 2**53
"""Up to here, whole numbers stay exact in every library that they pass through."""

Value = bool | Annotated[int, Field(ge=-MAX_WHOLE_NUMBER, le=MAX_WHOLE_NUMBER)] | float | str
Values = dict[str, Value]


class Suggester(Protocol):
    """The part of Optuna's `Trial` that chooses values."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...
    def suggest_categorical(self, name: str, choices: list[Value]) -> Value: ...


class _Branch(Settings):
    when: Annotated[dict[str, Value], Field(min_length=1)] | None = Field(
        None, description="this branch applies only if these keys have these values"
    )

    @property
    def needs(self) -> set[str]:
        """The keys whose values must be known before this branch."""
        return set(self.when or {})


class _Range(_Branch):
    low: float
    high: float
    scale: Literal["linear", "log", "one_minus_log"] = "linear"
    levels: int | None = Field(None, ge=2, le=MAX_CHOICES, description="number of values in a grid, both ends included")

    @model_validator(mode="after")
    def _check_bounds(self) -> Any:
        low, high, scale = self.low, self.high, self.scale
        if low >= high:
            raise ValueError(f"low ({low}) must be below high ({high})")
        if scale == "log" and low <= 0:
            raise ValueError(f"low ({low}) must be above 0 on a log scale; use scale: linear or raise low")
        if scale == "one_minus_log" and _one_minus(high) <= 0:
            raise ValueError(f"high ({high}) must be below 1 on the scale one_minus_log, which searches log(1 - x)")
        return self

    def value_at(self, fraction: float) -> float:
        """Return the value at a fraction of the range, measured on its scale; the fraction may lie outside 0 to 1."""
        if fraction in (0, 1):
            return self.high if fraction else self.low
        if self.scale == "one_minus_log":
            return _one_minus(_interpolate(_one_minus(self.low), _one_minus(self.high), fraction, log=True))
        return _interpolate(self.low, self.high, fraction, log=self.scale == "log")

    def fraction_of(self, value: Value) -> float:
        """Return the position of a value in the range, measured on its scale: 0 at the low end, 1 at the high end."""
        low, position, high = map(self._to_scale, (self.low, float(value), self.high))
        return (position - low) / (high - low)

    def _to_scale(self, value: float) -> float:
        if self.scale == "one_minus_log":
            return -math.log(_one_minus(value))
        return math.log(value) if self.scale == "log" else value

    def to_params(self, name: str, value: Value) -> Values:
        """Return the ledger's parameters for a value of the branch with this internal name."""
        return {name: value}

    def why_invalid(self, value: Value) -> str | None:
        """Return why a value is not in this branch, or None if it is."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{value!r} is not a number"
        return None if self.low <= value <= self.high else f"{value} is outside {self.low} to {self.high}"

    def boundary_values(self) -> list[Value]:
        """Return the values that stand for the branch when its trials are checked."""
        return [self.low, self.high]

    def grid(self) -> Sequence[Value]:
        """Return the values of this branch in a grid.

        Raises:
            ValueError: the range is of floats and the file gives no number of levels.
        """
        if self.levels is None:
            raise ValueError("sampler grid needs `levels: n` for a float range, or a categorical")
        return list(dict.fromkeys(self.value_at(i / (self.levels - 1)) for i in range(self.levels)))

    def draw(self, rng: random.Random) -> Value:
        """Return a random value."""
        return self.value_at(rng.randrange(self.levels) / (self.levels - 1) if self.levels else rng.random())


class FloatRange(_Range):
    """A real number from low to high, both included."""

    type: Literal["float"]

    def suggest(self, trial: Suggester, name: str) -> float:
        """Return the sampler's value for the branch with this internal name."""
        if self.scale != "one_minus_log":
            return trial.suggest_float(name, self.low, self.high, log=self.scale == "log")
        distance = trial.suggest_float(f"1 - {name}", _one_minus(self.high), _one_minus(self.low), log=True)
        return _one_minus(distance)

    def to_params(self, name: str, value: Value) -> Values:
        return {f"1 - {name}": _one_minus(float(value))} if self.scale == "one_minus_log" else {name: float(value)}


class IntRange(_Range):
    """A whole number from low to high, both included: each, or one in `step`."""

    type: Literal["int"]
    low: int = Field(ge=-MAX_WHOLE_NUMBER, le=MAX_WHOLE_NUMBER)
    high: int = Field(ge=-MAX_WHOLE_NUMBER, le=MAX_WHOLE_NUMBER)
    scale: Literal["linear", "log"] = "linear"
    step: int = Field(1, ge=1, le=MAX_WHOLE_NUMBER, description="distance between neighbouring values, from low on")

    @model_validator(mode="after")
    def _check_step(self) -> "IntRange":
        if self.step == 1:
            return self
        if self.scale == "log":
            raise ValueError("step and scale: log clash: on a log scale values lie closer at the low end; take out one")
        if self.levels is not None:
            raise ValueError(
                f"step ({self.step}) and levels ({self.levels}) clash: both say which values; take out one"
            )
        if (beyond := (self.high - self.low) % self.step) or self.high - self.low < self.step:
            below = self.high - beyond
            advice = (
                f"use high: {below} or {below + self.step}" if below > self.low else f"use step: {self.high - self.low}"
            )
            raise ValueError(
                f"high ({self.high}) is no whole number of steps of {self.step} above low ({self.low}); {advice}"
            )
        return self

    def suggest(self, trial: Suggester, name: str) -> int:
        """Return the sampler's value for the branch with this internal name."""
        return trial.suggest_int(name, self.low, self.high, step=self.step, log=self.scale == "log")

    def value_at(self, fraction: float) -> int:
        value = round(super().value_at(fraction))
        return self.low + round((value - self.low) / self.step) * self.step

    def why_invalid(self, value: Value) -> str | None:
        if not isinstance(value, int):
            return f"{value!r} is not a whole number"
        problem = super().why_invalid(value)
        if problem is None and (value - self.low) % self.step:
            return f"{value} is not {self.low} plus a multiple of the step {self.step}"
        return problem

    def grid(self) -> Sequence[Value]:
        return super().grid() if self.levels else range(self.low, self.high + 1, self.step)


class Categorical(_Branch):
    """One of a list of choices."""

    type: Literal["categorical"]
    choices: list[Value] = Field(min_length=1, max_length=MAX_CHOICES)

    @model_validator(mode="after")
    def _refuse_duplicates(self) -> "Categorical":
        duplicates = [choice for i, choice in enumerate(self.choices) if choice in self.choices[:i]]
        if duplicates:
            raise ValueError(f"choices has {short_repr(duplicates[0])} twice; remove one")
        return self

    def suggest(self, trial: Suggester, name: str) -> Value:
        """Return the sampler's value for the branch with this internal name."""
        return trial.suggest_categorical(name, self.choices)

    def fraction_of(self, value: Value) -> float:
        """Return the position of a choice in the list: 0 for the first, 1 for the last, 0.5 for the only one."""
        last = len(self.choices) - 1
        return self.choices.index(value) / last if last else 0.5

    def to_params(self, name: str, value: Value) -> Values:
        """Return the ledger's parameters for a value of the branch with this internal name."""
        return {name: value}

    def why_invalid(self, value: Value) -> str | None:
        """Return why a value is not in this branch, or None if it is."""
        return None if value in self.choices else f"{short_repr(value)} is not one of {short_repr(self.choices)}"

    def boundary_values(self) -> list[Value]:
        """Return the values that stand for the branch when its trials are checked."""
        return self.choices

    def grid(self) -> Sequence[Value]:
        """Return the values of this branch in a grid."""
        return self.choices

    def draw(self, rng: random.Random) -> Value:
        """Return a random value."""
        return rng.choice(self.choices)


class Tied(_Branch):
    """The value of another key; without a value where the other key has none. The sampler does not see a tied key."""

    same_as: str

    @property
    def needs(self) -> set[str]:
        return {self.same_as, *(self.when or {})}


def _branch_tag(entry: Any) -> Any:
    """Return the tag of a branch's class: its `type`, or "Tied"."""
    fields = entry if isinstance(entry, dict) else getattr(entry, "__dict__", {})
    return "Tied" if "same_as" in fields and "type" not in fields else fields.get("type")


Distribution = FloatRange | IntRange | Categorical
"""A branch from which the sampler chooses a value."""

Branch = Distribution | Tied

Entry = Annotated[
    Annotated[FloatRange, Tag("float")]
    | Annotated[IntRange, Tag("int")]
    | Annotated[Categorical, Tag("categorical")]
    | Annotated[Tied, Tag("Tied")],
    Discriminator(
        _branch_tag,
        custom_error_type="union_tag_unknown",
        custom_error_message="neither a type nor same_as",
        custom_error_context={
            "discriminator": "'type'",
            "expected_tags": "'float', 'int', 'categorical'; or tie the key with {same_as: KEY}",
        },
    ),
]
"""A branch in a file. Its `type` names its class; a tied key has `same_as` and no type."""


def internal_names(key: str, branches: Sequence[Branch]) -> list[str]:
    """Return the names of a key's branches in the ledger: `consistency.weight[mse]`.

    Branches that would have the same name have their whole conditions in it.
    """
    names = [f"{key}[{','.join(map(str, _condition(branch).values()))}]" if branch.when else key for branch in branches]
    return [
        f"{key}[{json.dumps(_condition(branch))}]" if names.count(name) > 1 else name
        for name, branch in zip(names, branches, strict=True)
    ]


def _condition(branch: Branch) -> Values:
    return dict(sorted((branch.when or {}).items()))


def branch_path(key: str, branch: Branch, branches: Sequence[Branch]) -> str:
    """Return where a branch stands below search_space in the file: `ema.decay`, or `consistency.weight.1`."""
    return key if len(branches) == 1 else f"{key}.{branches.index(branch)}"


def branch_that_holds(branches: Sequence[Branch], values: Values) -> Branch | None:
    """Return the branch of a key that holds under the values of other keys, or None."""
    for branch in branches:
        if isinstance(branch, Tied) and branch.same_as not in values:
            continue
        if all(parent in values and values[parent] == wanted for parent, wanted in (branch.when or {}).items()):
            return branch
    return None


def exclude_each_other(a: Branch, b: Branch) -> bool:
    """Return True if the conditions of two branches can never hold together."""
    first, second = a.when or {}, b.when or {}
    return any(first[parent] != second[parent] for parent in first.keys() & second.keys())


def _interpolate(low: float, high: float, fraction: float, *, log: bool) -> float:
    value = low * (high / low) ** fraction if log else low + (high - low) * fraction
    return float(f"{value:.12g}")  # so that the middle of 0.1 and 10 is 1


def _one_minus(value: float) -> float:
    return round(1.0 - value, 12)  # so that 0.999 is read back from the ledger as 0.999
