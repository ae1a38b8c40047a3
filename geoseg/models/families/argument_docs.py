"""What arguments a network takes, in words. In: the spec, or the typed dictionary, that validates them. Out: texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from geoseg.spec.base import Spec

TYPES = {"integer": "whole number", "number": "number", "boolean": "true, false", "string": "text", "object": "mapping"}


@dataclass(frozen=True)
class Argument:
    """One of the settings below `network.arguments`."""

    name: str
    """Its name."""
    values: str
    """What it may be."""
    default: str
    """What it is by default, as JSON; empty where the architecture decides."""
    meaning: str
    """What it does."""


def arguments_in(kind: type[Spec] | type[Mapping[str, Any]], only: Iterable[str] | None = None) -> tuple[Argument, ...]:
    """The arguments that a spec or a typed dictionary validates; of these, if names are given, `only` those."""
    schema = TypeAdapter(kind).json_schema()
    found = schema.get("properties", {})
    names = [name for name in found if only is None or name in set(only)]
    return tuple(_argument(name, found[name], schema.get("$defs", {})) for name in names)


def _argument(name: str, schema: Mapping[str, Any], others: Mapping[str, Any]) -> Argument:
    default = json.dumps(schema["default"]) if schema.get("default") is not None else ""
    return Argument(name, _values(schema, others), default, " ".join(schema.get("description", "").split()))


def _values(schema: Mapping[str, Any], others: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words."""
    if "$ref" in schema:
        return _values(others[schema["$ref"].rpartition("/")[2]], others)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_values(one, others) for one in schema["anyOf"] if one.get("type") != "null"))
    if "enum" in schema or "const" in schema:
        words = schema.get("enum", [schema.get("const")])
        return ", ".join(str(word) or '""' for word in words)
    if schema.get("type") == "array":
        return f"list of {_values(schema.get('items', {}), others)}"
    bounds = [
        f"{word} {schema[key]:g}"
        for key, word in (
            ("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"),
        )
        if key in schema
    ]  # fmt: skip
    return " ".join([TYPES.get(schema.get("type", ""), "anything"), *bounds])
