"""Published recipes by name: the settings of a training run, each in a file that states the published error.

What still differs from the published code is in docs/search-spaces.md.

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
    """Return the names of all recipes."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def settings(name: str, overrides: Mapping[str, Any] = {}) -> dict[str, Any]:
    """Return the nested settings of a recipe, for `TrainerConfig.model_validate`.

    Args:
        name: of a recipe. Its file may build on another recipe: `recipe: OTHER`, and the settings that differ.
        overrides: nested settings that replace those of the recipe; see `merged`.

    Raises:
        ValueError: there is no such recipe, or recipes build on each other in a circle.
    """
    return _settings(name, overrides, ())


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings in which those of `overrides` replace those of `base`.

    A group of another kind (`model: {name: ...}`) replaces the whole group, since kinds have different settings.
    """
    result = dict(base)
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
    recipe = deepcopy(_read(_FOLDER / f"{name}.yaml"))
    if "recipe" in recipe:
        recipe = _settings(recipe.pop("recipe"), recipe, (*above, name))
    return merged(recipe, overrides)


@cache  # every sweep with a published baseline compares all recipes with its images, several times
def _read(file: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML  # only needed if a recipe is used

    return dict(YAML(typ="safe", pure=True).load(file))
