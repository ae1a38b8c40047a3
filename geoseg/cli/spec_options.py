"""Options made from specs: name, type, default and help are those of the field.

`METAVARS` has what only a command line needs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from geoseg.cli.value_types import (
    FilePath,
    KnownText,
    ListOption,
    Numbers,
    Texts,
    WholeChoice,
    WordsOrNumber,
    WordsOrNumbers,
)
from geoseg.spec import Spec

F = TypeVar("F", bound=Callable[..., Any])


METAVARS = {
    "adapt": "BN|ENTROPY",
    "adapt_share": "0..1",
    "aoi": "FILE",
    "bbox": "LEFT,BOTTOM,RIGHT,TOP",
    "classes": "NAME,...",
    "devices": "N|0,1,...",
    "fill_holes": "M2",
    "format": "NAME,...",
    "instances": "NAME,...",
    "majority": "PX",
    "match": "REFERENCE|TRAINING",
    "match_by": "MOMENTS|HISTOGRAM",
    "min_labelled": "SHARE",
    "min_area": "M2",
    "min_valid": "SHARE",
    "nodata": "NUMBER|AUTO",
    "refine_fraction": "0..1",
    "rescale": "LOW,HIGH|AUTO|NONE",
    "resolution": "AUTO|SCENE|MODEL|METRES",
    "simplify": "METRES",
    "to_crs": "CRS",
    "tta_scales": "SCALE,...",
}
"""What stands for the value of a setting in the help, where that says more than its type."""


def _formats() -> Iterable[str]:
    from geoseg.vector.formats import FORMATS

    return (suffix.removeprefix(".") for suffix in FORMATS)


def _uncertainties() -> Iterable[str]:
    from geoseg.inference.uncertainties import UNCERTAINTIES

    return UNCERTAINTIES.names


def _matchings() -> Iterable[str]:
    from geoseg.raster.matchings import MATCHINGS

    return MATCHINGS.names


def _adaptations() -> Iterable[str]:
    from geoseg.inference.adaptations import ADAPTATIONS

    return ADAPTATIONS.names


def _devices() -> Iterable[str]:
    return ("auto", "cpu", "cuda", "mps")


COMPLETED_BY: Mapping[str, Callable[[], Iterable[str]]] = {
    "adapt": _adaptations,
    "by": _uncertainties,
    "device": _devices,
    "format": _formats,
    "match_by": _matchings,
    "uncertainty_by": _uncertainties,
}
"""Functions that give the names with which shells complete the texts of a setting."""


def spec_options(
    kind: type[Spec],
    names: Iterable[str] = (),
    *,
    default: str | None = None,
    metavars: Mapping[str, str] = MappingProxyType(METAVARS),
) -> Callable[[F], F]:
    """Add the fields of a spec to a command as options, each None unless it is given.

    Args:
        kind: the spec.
        names: which of its fields, in this order; default: all.
        default: text for the default in the help, instead of the spec's defaults.
        metavars: placeholders of their values, by the name of the field.
    """
    settings = kind.settings()

    def decorate(command: F) -> F:
        for name in reversed([*names] or [*settings]):
            command = _option(name, settings[name], default, metavars.get(name))(command)
        return command

    return decorate


def _option(name: str, field: FieldInfo, default: str | None, metavar: str | None) -> Callable[[F], F]:
    flag, kinds = name.replace("_", "-"), _kinds(field.annotation)
    text = _help(field, default)
    if kinds == [bool]:
        return click.option(f"--{flag}/--no-{flag}", default=None, help=text)
    if isinstance(_type(kinds), Texts):
        texts = Texts(COMPLETED_BY.get(name, tuple))
        return click.option(f"--{flag}", type=texts, cls=ListOption, multiple=True, metavar=metavar, help=text)
    kind = KnownText(COMPLETED_BY[name]) if name in COMPLETED_BY else _type(kinds)
    return click.option(f"--{flag}", type=kind, metavar=metavar, help=text)


def _kinds(annotation: Any) -> list[Any]:
    """The types of a value, without constraints and without None."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kinds(parts[0])
    if origin in (Union, UnionType):
        return [kind for part in parts for kind in _kinds(part)]
    return [] if annotation is NoneType else [annotation]


def _type(kinds: list[Any]) -> click.ParamType[Any]:
    """The click type for a value of some types."""
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    lists = [kind for kind in kinds if get_origin(kind) is tuple]
    if words and lists:
        return WordsOrNumbers([*words, "none"], _list_type(get_args(lists[0])))
    if words and float in kinds:
        return WordsOrNumber(words)
    if words:
        return click.Choice(words) if isinstance(words[0], str) else WholeChoice(words)
    if len(kinds) > 1:
        return click.STRING  # e.g. a number of metres or of pixels, 4px, which the spec reads
    if get_origin(kinds[0]) is tuple:
        return _list_type(get_args(kinds[0]))
    plain: dict[Any, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT, Path: FilePath()}
    return plain.get(kinds[0], click.STRING)


def _list_type(parts: tuple[Any, ...]) -> click.ParamType[Any]:
    """The click type for a list: of any length, if its parts end in an ellipsis."""
    (kind,) = _kinds(parts[0])
    return Texts() if kind is str else Numbers(kind, None if Ellipsis in parts else len(parts))


def _help(field: FieldInfo, default: str | None) -> str:
    """The field's docstring, and its default."""
    text = " ".join((field.description or "").split())
    text = re.sub(r"; None means ", "; default: ", text)
    value = default or _default(field.default)
    if value is None or "; default: " in text:
        return text
    return f"{text.removesuffix('.')}; default: {value}."


def _default(value: Any) -> str | None:
    """A default as text; None for False and None."""
    if isinstance(value, bool):
        return "yes" if value else None
    if isinstance(value, tuple):
        return ",".join(part if isinstance(part, str) else f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, int | float) else value
