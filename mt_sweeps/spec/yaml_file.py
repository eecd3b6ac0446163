"""Reads YAML 1.2 strictly, so that a text has one meaning: `no` is a word, `1e-4` a number, and keys do not repeat."""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from mt_sweeps.errors import InputError

MAX_LENGTH = 1_000_000
"""Characters of a file; a search space is a page of text."""
MAX_DEPTH = 20
"""Levels of nesting; the parser's time grows with the cube of the depth."""


def read(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        InputError: the file is missing, too large, too deep, not YAML, or has duplicate keys, tags, anchors or aliases.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_LENGTH + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text") from None
    if len(text) > MAX_LENGTH:
        raise InputError(f"{path}: larger than {MAX_LENGTH:,} characters; this is not a file for mt-sweep")
    return parse(text, str(path))


def parse(text: str, source: str) -> Any:
    """Return the value of a YAML text.

    Args:
        text: one YAML document.
        source: name of the text in an error, such as the file.

    Raises:
        InputError: the text is too deep, not YAML, or has duplicate keys, tags, anchors or aliases.
    """
    try:
        depth = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.start_mark.line + 1
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise InputError(
                    f"{source}: line {line}: nested deeper than {MAX_DEPTH} levels; this is not for mt-sweep"
                )
            if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
                raise InputError(f"{source}: line {line}: anchors and aliases (& and *) are not allowed; write it out")
            if getattr(event, "tag", None) and getattr(event, "implicit", None) not in (True, (True, False)):
                raise InputError(f"{source}: line {line}: tags ({event.tag}) are not allowed; remove it")
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InputError(f"{source}: {_error_text(error)}") from None
    except ValueError as error:
        raise InputError(f"{source}: is not YAML: {error}") from None


def dump(value: Any) -> str:
    """Return a YAML text that `parse` reads back as the same value."""
    out = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.width = 160  # so that a fingerprint stays on the line of its key
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.dump(value, out)
    return out.getvalue()


def _error_text(error: YAMLError) -> str:
    """Return what is wrong with a text, and its line if the error knows it."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    if "duplicate key" in problem:
        problem = problem.split(" with value")[0] + "; keep one of them"
    return f"line {mark.line + 1}: {problem}" if mark else problem
