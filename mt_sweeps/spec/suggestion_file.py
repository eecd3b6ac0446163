"""Write a suggestion as a search-space file, with a comment for every value."""

import json
import re
from textwrap import wrap
from typing import Any

from mt_sweeps.spec.chosen import Chosen
from mt_sweeps.spec.suggestion import Suggestion

_COLUMNS = 118
_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}


def suggestion_yaml(suggestion: Suggestion, heading: list[str]) -> str:
    """Return the text of a search-space file.

    Args:
        suggestion: what to write.
        heading: lines of the comment at its beginning.
    """
    lines = [f"# {line}".rstrip() for line in heading]
    before: tuple[str, ...] = ()
    for path, chosen in suggestion.chosen.items():
        shared = 0
        while shared < min(len(path), len(before)) - 1 and path[shared] == before[shared]:
            shared += 1
        if shared == 0 and path[:1] != before[:1] and (len(path) > 1 or len(before) > 1 or not before):
            lines.append("")
        lines += [f"{'  ' * depth}{path[depth]}:" for depth in range(shared, len(path) - 1)]
        lines += _entry("  " * (len(path) - 1), path[-1], chosen)
        before = path
    return "\n".join(lines) + "\n"


def _entry(indent: str, key: str, chosen: Chosen) -> list[str]:
    """Return the lines of one value, its reason behind it if there is room, else above it."""
    if isinstance(chosen.value, list) and chosen.value and isinstance(chosen.value[0], dict):
        value = [f"{indent}{key}:", *(f"{indent}  - {flow(one)}" for one in chosen.value)]
    else:
        value = [f"{indent}{key}: {flow(chosen.value)}"]
    if not chosen.why:
        return value
    if len(value) == 1 and len(value[0]) + len(chosen.why) + 3 <= _COLUMNS:
        return [f"{value[0]} # {chosen.why}"]
    return [f"{indent}# {line}" for line in wrap(chosen.why, _COLUMNS - len(indent) - 2)] + value


def flow(value: Any) -> str:
    """Return a value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
