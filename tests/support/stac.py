"""Validation of STAC Items by the schemas beside this file; a schema that is not there is an error, not a download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pystac
from pystac.validation.stac_validator import JsonSchemaSTACValidator

SCHEMAS = Path(__file__).with_name("stac_schemas")
PLACE = "https://stac-extensions.github.io/{}/{}/schema.json"
EARLIER = {PLACE.format("classification", "v1.1.0"): "classification-v2.0.0"}
"""A schema that another one refers to, and what stands in for it."""


def validate(item: dict[str, Any]) -> list[str]:
    """Validate an Item against the schemas of STAC and of its extensions; give their addresses."""
    validator = JsonSchemaSTACValidator()
    validator.schema_cache |= {PLACE.format(*name.split("-")): schema(name) for name in names()}
    validator.schema_cache |= {place: schema(name) for place, name in EARLIER.items()}
    validator._get_schema = validator.schema_cache.__getitem__
    return pystac.validation.validate_dict(item, validator=validator, stac_version=item["stac_version"])


def names() -> list[str]:
    return [path.stem for path in SCHEMAS.glob("*.json")]


def schema(name: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{name}.json").read_text())
