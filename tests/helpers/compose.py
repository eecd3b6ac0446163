"""docker-compose.yml as an engine would read it: anchors merged, variables put in."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
FILE, EXAMPLE = ROOT / "docker-compose.yml", ROOT / ".env.example"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class Missing(Exception):
    """A variable without which nothing starts."""


def loaded(variables: dict[str, str]) -> dict[str, Any]:
    """What the file says with these variables.

    Raises:
        Missing: one that is required is not there, or empty.
    """

    def value(match: re.Match[str]) -> str:
        name, kind, text = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise Missing(text)
        return text or ""

    return dict(YAML(typ="safe", pure=True).load(_VARIABLE.sub(value, FILE.read_text())))


def example() -> dict[str, str]:
    """The variables of .env.example."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def required() -> set[str]:
    """The variables without which nothing starts."""
    return {name for name, kind, _ in _VARIABLE.findall(FILE.read_text()) if kind == "?"}


def with_secrets() -> dict[str, str]:
    """The variables of an .env that has a secret each."""
    return {**example(), **{name: f"secret-{name.lower()}" for name in required()}}
