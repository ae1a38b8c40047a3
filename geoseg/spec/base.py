"""The base of all specs: validation of settings, and messages about invalid ones.

In: YAML files, JSON metadata, keyword arguments. Out: frozen, validated specs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from typing_extensions import is_typeddict

from geoseg.core.errors import SpecError, did_you_mean, shown
from geoseg.spec.plain import check_plain

NODATA_ID = 255
"""Class id of pixels without data, in every class raster."""
IGNORE = 255
"""Class index of pixels excluded from losses and scores: not labelled, or without data."""

DataType = Literal["uint8", "int8", "uint16", "int16", "float32"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
InferencePrecision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")]
Devices = Annotated[str, Field(pattern=r"^\d{1,3}(,\d{1,3})*$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""A line of text."""
Word = Annotated[str, Field(max_length=100, pattern=r"^[!-~]*$")]
"""Letters, digits and signs of ASCII, or nothing."""
Text = Annotated[str, Field(max_length=20_000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]
"""Lines of text."""


def _names_a_file(value: Any) -> Any:
    """Refuse an empty path, which would stand for the current folder, and one that libraries would cut short."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("an empty path names no file: give one, or leave this out")
    if "\0" in str(value):
        raise ValueError("no path holds a null character: give another one")
    return value


FilePath = Annotated[Path, BeforeValidator(_names_a_file)]
"""Path of a file; never empty."""
LARGEST_COUNT = 2**31 - 1
"""Largest count of anything, number of pixels along a side, or band number."""
LARGEST = 1e30
"""Statistics and their reciprocals stay well within what float32 holds."""
MOST_BANDS = 1024
"""Most bands that a model takes."""
LARGEST_SIZE_M = 1e7
"""Largest pixel size on the ground in metres, and the reciprocal of the smallest."""
LARGEST_MULTIPLE = 1024
"""Largest stride of a network, in pixels."""
LARGEST_RATIO = 4096
"""Largest side of a coarser view's pixel, in pixels of the scene."""
SMALLEST_TILE, LARGEST_TILE = 32, 16384
"""Bounds of a window's side, in pixels."""
MOST_PROBLEM = 1000
"""Most characters of a message about settings."""
SpecT = TypeVar("SpecT", bound="Spec")


class Spec(BaseModel):
    """Base of all specs: frozen, numbers are finite, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
    dependent: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Names of the settings that change nothing without another one, by the name of that one."""

    @model_validator(mode="after")
    def _has_what_it_depends_on(self) -> Self:
        for needed, names in self.dependent.items():
            idle = [name for name in names if getattr(self, name) != type(self).model_fields[name].default]
            if idle and not getattr(self, needed):
                raise ValueError(
                    f"{idle[0]} changes nothing without {needed}: set {needed} too, or leave {idle[0]} out"
                )
        return self

    @classmethod
    def settings(cls) -> dict[str, FieldInfo]:
        """The settings, by their names in files and keyword arguments."""
        return dict(cls.model_fields)

    @classmethod
    def known_settings(cls) -> list[str]:
        """Names of all valid settings."""
        return list(cls.settings())

    @classmethod
    def written_place(cls, place: Sequence[int | str]) -> tuple[int | str, ...]:
        """Location of a value in the written settings, given its location in the spec."""
        return tuple(place)


def parse_spec(kind: type[SpecT], values: Any, *, source: str) -> SpecT:
    """Validate plain values as a spec.

    Raises:
        SpecError: with the source, the field, and the remedy, on one line.
    """
    if not isinstance(values, dict):
        raise SpecError(f"{source} holds no settings: write `name: value` lines")
    check_plain(values, source)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problem = " ".join(_first_problem(kind, error).split())
        raise SpecError(f"{source}: {shown(problem, MOST_PROBLEM, quoted=False)}") from None


def _first_problem(kind: type[Spec], error: ValidationError) -> str:
    """The first problem: its field, its value, and what to do."""
    problem = _most_specific(kind, error)
    loc = kind.written_place(problem["loc"])
    place = [str(part) for part in loc if not isinstance(part, str) or part.isidentifier()]
    if problem["type"] == "extra_forbidden":
        loc = loc or problem["loc"]
        place = [*place, str(loc[-1])] if place[-1:] != [str(loc[-1])] else place
        known_here = _names_at(kind, place[:-1])
        meant = did_you_mean(place[-1].replace("-", "_"), known_here)
        return f"unknown setting {shown('.'.join(place))}{meant}; known here: {', '.join(known_here)}"
    field, parent = shown(".".join(place), quoted=False), _spec_at(kind, place[:-1])
    known = parent.settings().get(str(place[-1])) if place else None
    meaning = " ".join((known.description or "").split()) if known else ""
    if problem["type"] == "missing":
        return f"{field} is missing" + (f": {meaning}" if meaning else "")
    value = problem["input"]
    is_pattern = problem["type"] == "string_pattern_mismatch"
    message = meaning if is_pattern and meaning else _in_plain_words(problem)
    if isinstance(value, dict):
        return f"{field}: {message}" if field else message
    return f"{field} = {shown(value)}: {message}" if field else message


def _most_specific(kind: type[Spec], error: ValidationError) -> ErrorDetails:
    """The problem to report for a value that fits none of several types.

    That is the mismatch with a list of words if the value is a text, else with the last and most general type.
    """
    problems = error.errors()
    first = kind.written_place(problems[0]["loc"])[:1]
    same = [problem for problem in problems if kind.written_place(problem["loc"])[:1] == first]
    words = [p for p in same if p["type"] == "literal_error" and isinstance(p["input"], str)]
    parts = [p for p in same if p["type"] != "too_short"]  # a list seems shorter for each part that is wrong
    return (words or parts or same)[-1]


WANTED = {
    "int": "a whole number",
    "float": "a number",
    "finite_number": "a finite number",
    "bool": "true or false",
    "string": "text, in quotes if it looks like a number",
    "path": "a path",
    "tuple": "a list, e.g. [a, b]",
    "list": "a list, e.g. [a, b]",
    "dict": "several settings, indented below it",
    "model": "several settings, indented below it",
}
"""The expected type in words, by the beginning of the name of pydantic's error."""
BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("greater than or equal to", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("less than or equal to", "le"),
}
"""Words for a bound, and where it stands, by the name of pydantic's error."""


def _in_plain_words(problem: ErrorDetails) -> str:
    """The remedy for an error of pydantic's."""
    name, context = problem["type"], problem.get("ctx", {})
    if name == "literal_error":
        choices = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return f"give one of {', '.join(choices)}{did_you_mean(shown(problem['input'], quoted=False), choices)}"
    if name in BOUNDS and isinstance(bound := context[BOUNDS[name][1]], float):
        return f"it must be {BOUNDS[name][0]} {bound:.12g}"
    if name in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if name == "too_short" else f"no more than {context['max_length']}"
        return f"give {bound} of them"
    wanted = next((words for start, words in WANTED.items() if name.startswith(start)), None)
    if wanted is not None and name.endswith(("_type", "_parsing", "_from_float", "_number")):
        return f"give {wanted}"
    return problem["msg"].removeprefix("Value error, ").replace("Input should be", "it must be")


def _spec_at(kind: type[Spec], place: Sequence[str]) -> type[Spec]:
    """The spec at a location such as ("data", "split")."""
    for name in place:
        field = kind.settings().get(name)
        inner = [part for part in _parts(field.annotation) if _is_spec(part)] if field else []
        kind = inner[0] if inner else kind
    return kind


def _names_at(kind: type[Spec], place: Sequence[str]) -> list[str]:
    """Names of the valid settings at a location."""
    field = _spec_at(kind, place[:-1]).settings().get(place[-1]) if place else None
    dicts = [part for part in _parts(field.annotation) if is_typeddict(part)] if field else []
    return list(get_type_hints(dicts[0])) if dicts else _spec_at(kind, place).known_settings()


def _parts(annotation: Any) -> list[Any]:
    """An annotation and its arguments, recursively: tuple[ClassSpec, ...] contains ClassSpec."""
    return [annotation, *(part for inner in get_args(annotation) for part in _parts(inner))]


def _is_spec(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Spec)
