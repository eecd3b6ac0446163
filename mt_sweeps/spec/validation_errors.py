"""Validation errors in words: which key, what is allowed, what to do."""

from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from mt_sweeps.errors import did_you_mean

KeyPath = tuple[str | int, ...]


def describe(error: ValidationError, model: type[BaseModel], data: Any) -> list[tuple[KeyPath, str]]:
    """What pydantic found, as (path into the data, sentence).

    Args:
        error: raised by `model`.
        model: the pydantic model whose fields name the known keys.
        data: what was validated.
    """
    found = []
    for item in error.errors():
        path = _without_tags(item["loc"], data, keep_last=item["type"] == "missing")
        context = item.get("ctx", {})
        kind, given = item["type"], item["input"]
        if kind == "extra_forbidden":
            text = f"unknown key; {did_you_mean(str(path[-1]), _known_keys(model, item['loc'][:-1]))}"
        elif kind == "missing":
            text = "is missing; add it"
        elif kind == "value_error":
            text = str(context["error"])
        elif kind.startswith("union_tag_"):
            path = (*path, context["discriminator"].strip("'"))
            given = item["input"].get(path[-1]) if isinstance(item["input"], dict) else None
            allowed = context.get("expected_tags") or ", ".join(map(repr, _tags(model, item["loc"], str(path[-1]))))
            text = f"{given!r} is not allowed; use one of {allowed}" if given else f"is missing; use one of {allowed}"
        elif kind == "string_pattern_mismatch":
            text = f"{given!r} is no plain name; use letters, digits, '.', '_' and '-', at most 64, no sign first"
        elif kind == "too_short":
            text = "must not be empty"
        elif kind == "literal_error":
            text = f"{given!r} is not allowed; use {context['expected']}"
        else:
            said = item["msg"].removeprefix("Input ")
            text = f"{said[0].lower()}{said[1:]}, not {_shown(given)}"
        if (path, text) not in found:
            found.append((path, text))
    return found


def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of a model that holds a plain value."""
    keys: set[str] = set()
    for name, field in model.model_fields.items():
        inner = [member for member in _members(field.annotation) if _is_model(member)]
        if inner:
            keys.update(key for m in inner for key in dotted_keys(m, f"{prefix}{name}."))
        else:
            keys.add(prefix + name)
    return sorted(keys)


def _known_keys(model: type[BaseModel], location: KeyPath) -> list[str]:
    return sorted({name for m in _at(model, location) if _is_model(m) for name in m.model_fields})


def _tags(model: type[BaseModel], location: KeyPath, discriminator: str) -> list[str]:
    fields = [m.model_fields.get(discriminator) for m in _at(model, location) if _is_model(m)]
    return [tag for field in fields if field for tag in get_args(field.annotation)]


def _at(model: type[BaseModel], location: KeyPath) -> list[Any]:
    """The types that may stand at a pydantic location, which names the tags of unions on its way."""
    here: list[Any] = [model]
    for step in location:
        inner: list[Any] = []
        for kind in here:
            if _is_model(kind) and step in kind.model_fields:
                inner += _members(kind.model_fields[str(step)].annotation)
            elif get_origin(kind) in (dict, list):
                inner += _members(get_args(kind)[-1])
        here = inner or [kind for kind in here if _is_model(kind) and step in {kind.__name__, *_literals(kind)}]
    return here


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [] if annotation is NoneType else [annotation]


def _literals(model: type[BaseModel]) -> set[Any]:
    annotations = [field.annotation for field in model.model_fields.values()]
    return {value for kind in annotations if get_origin(kind) is Literal for value in get_args(kind)}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _without_tags(location: KeyPath, data: Any, keep_last: bool) -> KeyPath:
    """pydantic puts the tag of a union's chosen member into the path; a person looks for it in vain."""
    path: list[str | int] = []
    for i, step in enumerate(location):
        inside = isinstance(data, dict) and step in data
        inside = inside or (isinstance(data, list) and isinstance(step, int) and step < len(data))
        if inside or (keep_last and i == len(location) - 1):
            path.append(step)
            data = data[step] if inside else None
    return tuple(path)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
