"""Reads YAML 1.2 strictly, so that a text has one meaning: `no` is a word, `1e-4` a number, and keys do not repeat."""

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

from mt_sweeps.errors import InputError, short_repr

MAX_LENGTH = 200_000
"""Characters of a file; a search space is a page of text."""
MAX_DEPTH = 20
"""Levels of nesting; the parser's time grows with the cube of the depth."""
MAX_VALUES = 10_000
"""Keys, numbers and words; the parser takes 0.1 ms for each."""
MAX_BITS = 64
"""Of a whole number: more are a mistake, and of very many it takes long to read and to print them."""
MAX_DIGITS = 1000
"""Digits of a number; Python takes long to read more."""


def read(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        InputError: the file is missing or no file (a folder, a pipe with a name), or `parse` refuses its content.
    """
    try:
        # To open a pipe with a name would wait for somebody who writes into it; those of a shell have a writer.
        is_of_shell = path == Path("/dev/stdin") or path.parent == Path("/dev/fd")
        if path.exists() and not path.is_file() and not is_of_shell:
            raise InputError(f"{path}: is {'a folder' if path.is_dir() else 'no ordinary file'}; name a YAML file")
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_LENGTH + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text") from None
    return parse(text, str(path))


def parse(text: str, source: str) -> Any:
    """Return the value of a YAML text.

    Args:
        text: one YAML document.
        source: name of the text in an error, such as the file.

    Raises:
        InputError: the text is too long, too deep, or not YAML; it has duplicate keys, tags, anchors or aliases; or it
            has keys that are no words, or values that are neither words nor numbers.
    """
    if len(text) > MAX_LENGTH:
        raise InputError(f"{source}: larger than {MAX_LENGTH:,} characters; this is not for mt-sweep")
    try:
        depth = values = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            line = event.start_mark.line + 1
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise InputError(
                    f"{source}: line {line}: nested deeper than {MAX_DEPTH} levels; this is not for mt-sweep"
                )
            values += isinstance(event, ScalarEvent | CollectionStartEvent)
            if values > MAX_VALUES:
                raise InputError(
                    f"{source}: line {line}: more than {MAX_VALUES:,} keys and values; this is not for mt-sweep"
                )
            if isinstance(event, ScalarEvent) and len(event.value) > MAX_DIGITS and event.value.isdecimal():
                raise InputError(f"{source}: line {line}: a number of {len(event.value):,} digits; write a smaller one")
            if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
                raise InputError(f"{source}: line {line}: anchors and aliases (& and *) are not allowed; write it out")
            if getattr(event, "tag", None) and getattr(event, "implicit", None) not in (True, (True, False)):
                raise InputError(f"{source}: line {line}: tags ({event.tag}) are not allowed; remove it")
        value = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InputError(f"{source}: {_error_text(error)}") from None
    except ValueError as error:
        raise InputError(f"{source}: is not YAML: {error}") from None
    if problem := _problem(value):
        raise InputError(f"{source}: {problem}")
    return value


def _problem(value: Any, path: str = "") -> str | None:
    """Return why a value is not what JSON could hold too, with its dotted key, or None."""
    at, below = path or "the file", f"{path}." if path else ""
    if value is None or isinstance(value, float | str):
        return None
    if isinstance(value, int):
        is_long = value.bit_length() >= MAX_BITS
        return f"{at}: is a whole number of more than {MAX_BITS} bits; write a smaller one" if is_long else None
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return (
                    _comma_problem(key, value, below) or f"{at}: the key {_shown(key)} is no word; write it in quotes"
                )
    elif not isinstance(value, list):
        return f"{at}: {_shown(value)} is read as a {type(value).__name__}; write it in quotes if it is a word"
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return next(
        (problem for key, inner in items if (problem := _problem(inner, f"{below}{short_repr(key, str)}"))), None
    )


def _comma_problem(key: Any, mapping: dict[Any, Any], below: str) -> str | None:
    """Return what to write in place of a number with a comma, which in braces makes a second key: `labels: 1,000`."""
    keys = list(mapping)
    before = keys[keys.index(key) - 1]
    number = mapping[before]
    if keys[0] == key or not type(key) is type(number) is int or mapping[key] is not None or key < 0:
        return None
    if 0 < key < 100:
        return f"{below}{before}: the comma in {number},{key} makes a second key; write {number}.{key}"
    return (
        f"{below}{before}: the comma in {number},{key:03d} makes a second key; write {number}{key:03d} without a comma"
    )


def _shown(value: Any) -> str:
    """Return a value as YAML has it."""
    return {"None": "null", "True": "true", "False": "false"}.get(text := short_repr(value, str), text)


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
        if re.search(r'key "\d+"', problem):
            problem += ", and write numbers without commas (1000000)"
    return f"line {mark.line + 1}: {problem}" if mark else problem
