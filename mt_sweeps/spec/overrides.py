"""`--set path=value`: changes to a search-space file, made before it is validated."""

from typing import Any

from mt_sweeps.errors import InputError, did_you_mean
from mt_sweeps.spec import yaml_file

DOTTED = ("search_space.", "points.")
"""Where keys hold dots, so that a new one is not a path."""


def apply(data: dict[str, Any], override: str) -> None:
    """Change what is at a path: at each level the longest matching key wins, since keys may hold dots.

    Args:
        data: of the file; changed in place.
        override: `path=value`, the value as in YAML.

    Raises:
        InputError: the path leads nowhere, or the value is not YAML.
    """
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InputError(f"--set {override}: write key=value, the key a path into the file (trainer.steps=100)")
    value = yaml_file.parse(text, f"--set {path}")
    here: Any = data
    rest = path
    while True:
        if isinstance(here, list):
            index, _, rest = rest.partition(".")
            if not index.isdigit() or int(index) >= len(here):
                raise InputError(f"--set {path}: {index!r} is no place in a list of {len(here)}")
            if not rest:
                here[int(index)] = value
                return
            here = here[int(index)]
            continue
        if not isinstance(here, dict):
            raise InputError(f"--set {path}: there is nothing below {path.removesuffix('.' + rest)}, which is {here!r}")
        matching = [key for key in here if rest == key or rest.startswith(f"{key}.")]
        key = max(matching, key=len) if matching else None
        if key is None and here is data.get("search_space") and not isinstance(value, dict | list):
            raise InputError(
                f"--set {path}: no key of search_space begins it; {did_you_mean(rest, list(here or {}))}; "
                "add a new one whole: --set 'search_space.KEY={type: float, low: 0.1, high: 0.9}'"
            )
        if key is None and not path.startswith(DOTTED):
            key, _, beyond = rest.partition(".")  # a key that the file does not have yet
            if beyond:
                here[key] = {}
        if key is None or rest == key:
            here[rest] = value
            return
        here, rest = here[key], rest[len(key) + 1 :]
