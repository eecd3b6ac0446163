"""The strongest views that the trials of a search may train with."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from itertools import product
from typing import Any

from mt_sweeps.errors import InputError
from mt_sweeps.search_space.distributions import Distribution, Tied
from mt_sweeps.search_space.space import Space, Value, Values
from mt_sweeps.spec.load import config_problems
from mt_sweeps.spec.sweep_spec import SweepSpec
from trainers.config import TrainerConfig

OF_VIEWS = ("augmentation.", "teacher.augmentation", "teacher.noise")
"""Beginnings of the dotted keys that change views."""
_KINDS = ("augmentation.strong", "teacher.augmentation")
_WEAKER_IF_HIGHER = ("augmentation.smallest_crop",)


def strongest_configs(spec: SweepSpec, fixed: AbstractSet[str]) -> list[TrainerConfig]:
    """Return a configuration for each kind of strong view that is searched, with all else as strong as it may be.

    Args:
        spec: of the search.
        fixed: searched keys whose value is to be that of `trainer`, since a person set it.

    Raises:
        InputError: the trainer refuses a value that a person set.
    """
    space = spec.space()
    settled = {key: value for key, value in _of_trainer(spec, fixed).items() if key in space.entries}
    configs: list[TrainerConfig] = []
    problems: list[str] = []
    for kinds in _kinds(space, fixed):
        for choose in (_strongest, _first):
            values = space.combination(settled | kinds, choose)
            if values is None:
                continue
            values = {key: value for key, value in values.items() if key not in fixed}
            if not (problems := config_problems(spec, values, "search")):
                configs.append(spec.config(values))
                break
    if not configs:
        raise InputError(*problems or ["search_space: no combination was found that the filters allow"])
    return list(dict.fromkeys(configs))


def _of_trainer(spec: SweepSpec, keys: AbstractSet[str]) -> Values:
    values: Values = {}
    for key in keys:
        value: Any = spec.trainer
        for word in key.split("."):
            value = value.get(word) if isinstance(value, dict) else None
        if isinstance(value, bool | int | float | str):
            values[key] = value
    return values


def _kinds(space: Space, fixed: AbstractSet[str]) -> Iterator[Values]:
    """Yield every combination of the searched kinds of views, each with the values that its branches need."""
    searched = [key for key in _KINDS if key in space.entries and key not in fixed]
    choices = [
        [
            (branch.when or {}) | {key: value}
            for branch in space.entries[key]
            if not isinstance(branch, Tied)
            for value in branch.boundary_values()
        ]
        for key in searched
    ]
    for one in product(*choices):
        merged: Values = {}
        for values in one:
            merged |= values
        yield merged


def _strongest(key: str, branch: Distribution) -> Value:
    """Return the value of a key with which images are changed most; of other keys, the first."""
    values = branch.boundary_values()
    if not key.startswith(OF_VIEWS) or any(isinstance(value, str) for value in values):
        return values[0]
    return min(values) if key in _WEAKER_IF_HIGHER else max(values)


def _first(_: str, branch: Distribution) -> Value:
    return branch.boundary_values()[0]
