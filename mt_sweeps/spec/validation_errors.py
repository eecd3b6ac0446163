"""Turns pydantic's validation errors into messages for people: which key, what is allowed, what to do."""

from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mt_sweeps.errors import short_repr
from mt_sweeps.spec import hints
from trainers.config import TrainerConfig
from trainers.config.registry import Registry

MAX_PROBLEMS = 20
"""That are described; nobody reads more of them at once."""
_PLUGIN = ", or name the plugin that has it: --plugin MODULE"

Location = tuple[str | int, ...]
"""Where pydantic found an error: the keys and indices on the way, and the tags of unions."""


def describe(error: ValidationError, model: type[BaseModel], data: Any) -> list[tuple[str, str]]:
    """Return each problem once, as its dotted key and a message.

    Args:
        error: raised by `model`.
        model: the pydantic model whose fields are the known keys.
        data: the data that was validated.
    """
    problems = [_describe_one(details, model, data) for details in error.errors()[:MAX_PROBLEMS]]
    return list(dict.fromkeys(problems))


def _describe_one(details: ErrorDetails, model: type[BaseModel], data: Any) -> tuple[str, str]:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    path = _without_tags(details["loc"], data, keep_last=kind == "missing")
    if kind == "extra_forbidden":
        known = _known_keys(model, details["loc"][:-1])
        group = ".".join(map(str, path[:-1]))
        elsewhere = [key for key in dotted_keys(model) if key.rpartition(".")[0] != group]
        if not group and "trainer" in known:  # whose settings are no part of the file's model
            elsewhere = [*(f"trainer.{key}" for key in known_keys(TrainerConfig)), *elsewhere]
        text = f"unknown key; {hints.unknown_key(str(path[-1]), known, elsewhere)}"
    elif kind == "missing":
        text = "is missing; add it"
    elif kind == "value_error":
        text = str(context["error"])
    elif kind.startswith("union_tag_"):
        discriminator = context["discriminator"].strip("'")
        path = (*path, discriminator)
        tag = value.get(discriminator) if isinstance(value, dict) else None
        allowed = context.get("expected_tags") or ", ".join(map(repr, _tags(model, details["loc"], discriminator)))
        text = f"{short_repr(tag)} is not allowed; use one of {allowed}" if tag else f"is missing; use one of {allowed}"
        if tag:
            text += (_PLUGIN if _registries(model, details["loc"]) else "") + _near(str(tag), allowed)
    elif kind == "string_pattern_mismatch":
        text = f"{short_repr(value)} is no plain name; use at most 64 letters, digits, '.', '_' and '-', "
        text += "a letter or digit first"
    elif kind == "too_short":
        text = "must not be empty"
    elif kind == "literal_error":
        text = f"{short_repr(value)} is not allowed; use {context['expected']}"
    else:
        message = details["msg"].removeprefix("Input ")
        text = f"{message[0].lower()}{message[1:]}, not {short_repr(value)}"
        if kind.startswith("int_") and (number := hints.whole_number(value)) is not None:
            text += f"; write {number}"
        if kind.startswith("model_") and isinstance(value, str):
            text += _how_to_write(value, _types_at(model, details["loc"]))
    return ".".join(short_repr(step, str) for step in path), text


def dotted_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted keys of all values in a model and in the models inside it, sorted."""
    keys: set[str] = set()
    for name, field in known_keys(model).items():
        inner = [member for member in _field_types(field) if _is_model(member)]
        if inner:
            keys.update(key for m in inner for key in dotted_keys(m, f"{prefix}{name}."))
        else:
            keys.add(prefix + name)
    return sorted(keys)


def known_keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a model by what a file calls them: `from` is no name in Python."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _known_keys(model: type[BaseModel], location: Location) -> list[str]:
    return sorted({name for m in _types_at(model, location) if _is_model(m) for name in known_keys(m)})


def _tags(model: type[BaseModel], location: Location, discriminator: str) -> list[str]:
    fields = [m.model_fields.get(discriminator) for m in _types_at(model, location) if _is_model(m)]
    return [tag for field in fields if field for tag in get_args(field.annotation)]


def _types_at(model: type[BaseModel], location: Location) -> list[Any]:
    """Return the types that a value at a location may have."""
    types: list[Any] = [model]
    for step in location:
        inner: list[Any] = []
        for kind in types:
            if _is_model(kind) and step in known_keys(kind):
                inner += _field_types(known_keys(kind)[str(step)])
            elif get_origin(kind) in (dict, list):
                inner += _members(get_args(kind)[-1])
        # A step into no field and no collection is the tag of a union: it chooses among the union's members.
        types = inner or [kind for kind in types if _is_model(kind) and step in {kind.__name__, *_literals(kind)}]
    return types


def _field_types(field: FieldInfo) -> list[Any]:
    """Return the types of a field, those that plugins registered for it included."""
    added = {plugin.settings for registry in _registries_of(field) for plugin in registry.plugins.values()}
    return [*_members(field.annotation), *sorted(added, key=lambda kind: kind.__name__)]


def _registries_of(field: FieldInfo) -> list[Registry]:
    return [one for one in field.metadata if isinstance(one, Registry)]


def _registries(model: type[BaseModel], location: Location) -> list[Registry]:
    """Return the registry of the field at a location, if it takes the kinds of plugins."""
    *above, name = location
    fields = [kind.model_fields.get(str(name)) for kind in _types_at(model, tuple(above)) if _is_model(kind)]
    return [registry for field in fields if field is not None for registry in _registries_of(field)]


def _near(word: str, allowed: str) -> str:
    close = get_close_matches(word, [name.strip("'") for name in allowed.split(", ")], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _how_to_write(word: str, types: list[Any]) -> str:
    """Return how to write a group of settings of which the file has the name alone, or nothing if it is no name."""
    for kind in types:
        if word in _literals_of(kind, "name"):
            needed = [name for name, field in kind.model_fields.items() if field.is_required() and name != "name"]
            return f"; write {{{', '.join([f'name: {word}', *(f'{name}: ...' for name in needed)])}}}"
    return ""


def _members(annotation: Any) -> list[Any]:
    """Return the types of which an annotation is the union, without None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [member for part in get_args(annotation) for member in _members(part)]
    return [] if annotation is NoneType else [annotation]


def _literals(model: type[BaseModel]) -> set[Any]:
    return {value for name in model.model_fields for value in _literals_of(model, name)}


def _literals_of(model: type[BaseModel], name: str) -> tuple[Any, ...]:
    annotation = model.model_fields[name].annotation if name in model.model_fields else None
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _without_tags(location: Location, data: Any, keep_last: bool) -> Location:
    """Return a location without the tags of unions, which are not in the file.

    Args:
        location: of an error.
        data: the data that was validated.
        keep_last: True if the last step is a key that the file lacks.
    """
    path: list[str | int] = []
    for i, step in enumerate(location):
        inside = isinstance(data, dict) and step in data
        inside = inside or (isinstance(data, list) and isinstance(step, int) and step < len(data))
        if inside or (keep_last and i == len(location) - 1):
            path.append(step)
            data = data[step] if inside else None
    return tuple(path)
