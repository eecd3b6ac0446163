"""`--set path=value`: changes to a search-space file, made before it is validated."""

from typing import Any

from mt_sweeps.errors import InputError, did_you_mean
from mt_sweeps.spec import yaml_file
from mt_sweeps.spec.sweep_spec import SweepSpec
from mt_sweeps.spec.validation_errors import known_keys
from trainers.config import TrainerConfig

DOTTED = ("search_space.", "points.")
"""Beginnings of paths below which a new key holds dots: the rest of the path is one key."""


def apply_override(data: dict[str, Any], override: str) -> None:
    """Change one value of a file's data.

    Since keys may hold dots, the longest key that matches is followed at each level.

    Args:
        data: of the file; changed in place.
        override: `path=value`; the value is YAML.

    Raises:
        InputError: the path leads nowhere, or the value is not YAML.
    """
    path, equals, text = override.partition("=")
    if not equals or "" in path.split("."):
        raise InputError(f"--set {override}: write key=value, the key a path into the file (trainer.steps=100)")
    _check_section(data, path)
    value = yaml_file.parse(text, f"--set {path}")
    search_space: Any = data.get("search_space")
    container: Any = data
    rest = path
    while rest:
        key: int | str
        if isinstance(container, list):
            key, rest = _list_step(container, rest, path)
        elif not isinstance(container, dict):
            above = path.removesuffix("." + rest)
            raise InputError(f"--set {path}: there is nothing below {above}, which is {container!r}")
        else:
            if container is search_space and not isinstance(value, dict | list):
                _check_entry_exists(container, rest, path)
            key, rest = _step(container, rest, path)
        if rest:
            container = container[key]
        else:
            container[key] = value


def _check_section(data: dict[str, Any], path: str) -> None:
    """Refuse a path that lacks the section of the file in which it is."""
    section = path.partition(".")[0]
    if section in known_keys(SweepSpec) or section in data:
        return
    if section in known_keys(TrainerConfig):
        searched = data.get("search_space")
        is_searched = isinstance(searched, dict) and any(f"{path}.".startswith(f"{key}.") for key in searched)
        other = f", or search_space.{path}, since it is searched" if is_searched else ""
        raise InputError(f"--set {path}: there is no such key; did you mean trainer.{path}{other}?")


def _step(container: dict[str, Any], rest: str, path: str) -> tuple[str, str]:
    """Return the next key and the rest of the path; make a container for the rest if the key is new."""
    matching = [key for key in container if rest == key or rest.startswith(f"{key}.")]
    if matching:
        key = max(matching, key=len)
        return key, rest[len(key) + 1 :]
    if path.startswith(DOTTED):
        return rest, ""
    key, _, beyond = rest.partition(".")
    if beyond:
        container[key] = {}
    return key, beyond


def _check_entry_exists(entries: dict[str, Any], rest: str, path: str) -> None:
    """Refuse to add a searched key by a single value, such as one bound of its range."""
    if not any(rest == key or rest.startswith(f"{key}.") for key in entries):
        raise InputError(
            f"--set {path}: no key of search_space begins it; {did_you_mean(rest, list(entries))}; "
            "add a new one whole: --set 'search_space.KEY={type: float, low: 0.1, high: 0.9}'"
        )


def _list_step(items: list[Any], rest: str, path: str) -> tuple[int, str]:
    """Return the next position in a list and the rest of the path."""
    position, _, beyond = rest.partition(".")
    if not (position.isascii() and position.isdigit()) or int(position) >= len(items):
        raise InputError(f"--set {path}: {position!r} is not a position in a list of {len(items)}; the first is 0")
    return int(position), beyond
