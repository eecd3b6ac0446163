"""Published recipes by name: settings of a training run, each in a file that says what it reached.

from trainers import TrainerConfig, recipes

config = TrainerConfig.model_validate(recipes.settings("shake_cifar10_4000", {"seed": 1}))
"""

from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """All recipes."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def settings(name: str, overrides: Mapping[str, Any] = {}) -> dict[str, Any]:
    """The nested settings of a recipe, for `TrainerConfig.model_validate`.

    Args:
        name: of a recipe. Its file may build on another one: `recipe: OTHER`, and what differs.
        overrides: nested settings that come first, as `merged` has it.

    Raises:
        ValueError: there is no such recipe, or recipes build on each other in a circle.
    """
    return _settings(name, overrides, ())


def merged(ours: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, those of `overrides` first.

    A group that names another kind (`model: {name: ...}`) replaces ours, since settings of one kind mean nothing to
    another.
    """
    result = dict(ours)
    for key, value in overrides.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        if both and value.get("name", result[key].get("name")) == result[key].get("name"):
            value = merged(result[key], value)
        result[key] = value
    return result


def _settings(name: str, overrides: Mapping[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{name!r} is no recipe; {meant}Known here: {', '.join(names())}")
    if name in above:
        raise ValueError(f"recipes in a circle: {' -> '.join((*above, name))}")
    ours = deepcopy(_read(_FOLDER / f"{name}.yaml"))
    if "recipe" in ours:
        ours = _settings(ours.pop("recipe"), ours, (*above, name))
    return merged(ours, overrides)


@cache  # every sweep with a published baseline compares all recipes with its images, several times
def _read(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML  # not needed by those who write their settings themselves

    return dict(YAML(typ="safe", pure=True).load(file))
