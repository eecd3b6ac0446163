"""The JSON Schema of a search-space file, with which editors complete keys, show what they mean and mark mistakes.

It describes keys, types and ranges, of one value at a time. What clashes, and what the images allow, `validate` finds.
"""

from typing import Any

from mt_sweeps.spec.sweep_spec import NOT_SEARCHED, SweepSpec
from mt_sweeps.spec.validation_errors import dotted_keys
from trainers import recipes
from trainers.config import TrainerConfig

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_schema() -> dict[str, Any]:
    """Return the schema, as JSON Schema of draft 2020-12. It knows nothing of plugins."""
    spec, trainer = SweepSpec.model_json_schema(), TrainerConfig.model_json_schema()
    described = _descriptions(trainer, trainer["$defs"])
    trainer = _without_required(trainer)
    definitions = {**spec.pop("$defs"), **trainer.pop("$defs")}
    entry = {"oneOf": spec["properties"]["search_space"]["additionalProperties"]["items"]["oneOf"]}
    definitions["Entry"] = {"anyOf": [entry, {"type": "array", "items": entry, "minItems": 1}]}
    trainer["properties"]["recipe"] = {
        "enum": sorted(recipes.names()),
        "description": "published settings by name; settings next to it override them",
    }
    spec["properties"]["trainer"] = trainer
    spec["properties"]["search_space"] |= {
        "properties": {
            key: {"$ref": "#/$defs/Entry", **({"description": described[key]} if key in described else {})}
            for key in dotted_keys(TrainerConfig)
            if not key.startswith(NOT_SEARCHED)
        },
        "additionalProperties": {"$ref": "#/$defs/Entry"},
    }
    spec["required"] = ["trainer", "search_space"]
    return {"$schema": _DIALECT, **spec, "$defs": definitions, "title": "Search space of mt-sweeps"}


def _without_required(part: Any) -> Any:
    """Return a part of the trainer's schema in which no key is required: it may be searched, or come from a recipe.

    A group without its `name` may be of several kinds, so kinds need not exclude each other.
    """
    if isinstance(part, list):
        return [_without_required(one) for one in part]
    if not isinstance(part, dict):
        return part
    kept = {key: _without_required(value) for key, value in part.items() if key not in ("discriminator", "required")}
    if "oneOf" in kept:
        kept["anyOf"] = kept.pop("oneOf")
    return kept


def _descriptions(part: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the descriptions of all values below a part of the schema, by dotted key."""
    found: dict[str, str] = {}
    for name, value in part.get("properties", {}).items():
        if "description" in value:
            found[prefix + name] = value["description"]
        for inner in [value, *value.get("oneOf", []), *value.get("anyOf", [])]:
            if "$ref" in inner:
                found |= _descriptions(definitions[inner["$ref"].rpartition("/")[2]], definitions, f"{prefix}{name}.")
    return found
