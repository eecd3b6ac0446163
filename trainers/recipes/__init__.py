"""Published recipes by name: settings of a training run, each in a file that says what it reached.

from trainers import TrainerConfig, recipes

config = TrainerConfig.model_validate(recipes.settings("shake_cifar10_4000", {"seed": 1}))
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """All recipes."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def settings(name: str, overrides: Mapping[str, Any] = {}) -> dict[str, Any]:
    """The nested settings of a recipe, for `TrainerConfig.model_validate`.

    Args:
        name: of a recipe.
        overrides: nested settings that come first. A group that names another kind (`model: {name: ...}`) replaces the
            recipe's group, since settings of one kind mean nothing to another.

    Raises:
        ValueError: there is no such recipe.
    """
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"{name!r} is no recipe; {meant}Known here: {', '.join(names())}")
    from ruamel.yaml import YAML  # not needed by those who write their settings themselves

    return _merged(YAML(typ="safe", pure=True).load(_FOLDER / f"{name}.yaml"), overrides)


def _merged(ours: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in overrides.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        if both and value.get("name", merged[key].get("name")) == merged[key].get("name"):
            value = _merged(merged[key], value)
        merged[key] = value
    return merged
