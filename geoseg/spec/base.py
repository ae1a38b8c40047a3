"""What all specs share: how settings are validated, and how a mistake in them is told.

In: YAML files, JSON metadata, keyword arguments. Out: frozen, validated specs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geoseg.errors import SpecError

NODATA_ID = 255
"""Class id of pixels without data, in every class raster."""
IGNORE = 255
"""Class index of pixels that neither teach nor count: not labelled, or without data."""

DataType = Literal["uint8", "uint16", "int16", "float32"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")]
SpecT = TypeVar("SpecT", bound="Spec")


class Spec(BaseModel):
    """Base of all specs: frozen, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def parse_spec(kind: type[SpecT], values: Any, *, source: str) -> SpecT:
    """Validate plain values as a spec.

    Raises:
        SpecError: naming the source, the field, and the remedy, on one line.
    """
    if not isinstance(values, dict):
        raise SpecError(f"{source} holds no settings: write `name: value` lines")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SpecError(f"{source}: {_first_problem(kind, error)}") from None


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        SpecError: if the file is missing, is no YAML, or holds no mapping.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read settings from {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SpecError(f"{path} holds no settings: write `name: value` lines")
    return values


def _first_problem(kind: type[Spec], error: ValidationError) -> str:
    problems = error.errors()
    same = [p for p in problems if p["loc"][:1] == problems[0]["loc"][:1]]
    problem = same[-1]  # of the kinds that a value may have, the last and most general one
    place = [str(part) for part in problem["loc"] if not isinstance(part, str) or part.isidentifier()]
    field, parent = ".".join(place), _spec_at(kind, place[:-1])
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {field!r}; known here: {', '.join(parent.model_fields)}"
    message = problem["msg"].removeprefix("Value error, ")
    known = parent.model_fields.get(place[-1]) if place else None
    if problem["type"] == "string_pattern_mismatch" and known and known.description:
        message = " ".join(known.description.split())
    value = problem.get("input")
    if problem["type"] == "missing" or isinstance(value, dict):
        return f"{field}: {message}" if field else message
    return f"{field} = {value!r}: {message}" if field else message


def _spec_at(kind: type[Spec], place: Sequence[str]) -> type[Spec]:
    """The spec whose field stands at a place such as data, split."""
    for name in place:
        field = kind.model_fields.get(name)
        inner = [part for part in _parts(field.annotation) if _is_spec(part)] if field else []
        kind = inner[0] if inner else kind
    return kind


def _parts(annotation: Any) -> list[Any]:
    """An annotation and what it is made of: tuple[ClassSpec, ...] has the part ClassSpec."""
    return [annotation, *(part for inner in get_args(annotation) for part in _parts(inner))]


def _is_spec(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Spec)
