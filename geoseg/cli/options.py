"""Options and types that commands share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from geoseg.core.errors import SpecError, did_you_mean, shown

F = TypeVar("F", bound=Callable[..., Any])
LONGEST_VALUE = 4096
"""Characters of the longest value of an option in a file; no path is longer."""


class Command(click.Command):
    """A command each of whose options stands once, unless it may be repeated: click would take the last in silence."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line."""
        if not ctx.resilient_parsing:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            _check_once(order, ctx)
        return super().parse_args(ctx, args)


def _check_once(order: Sequence[click.Parameter], ctx: click.Context) -> None:
    """Refuse an option that is given a second value.

    Raises:
        UsageError: naming it.
    """
    for option, count in Counter(order).items():
        if not isinstance(option, click.Option) or count == 1 or option.multiple or option.count:
            continue
        if option.is_flag and not option.secondary_opts:  # said twice, it says the same
            continue
        names = "/".join(max(names, key=len) for names in (option.opts, option.secondary_opts) if names)
        raise click.UsageError(f"{names} is given {count} times: give it once", ctx)


class FilePath(click.Path):
    """A path or URL, which is never empty: that would stand for the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Take it as it is, or fail."""
        if isinstance(value, str) and not value.strip():
            self.fail("an empty path names no file: give one, or leave this out", param, ctx)
        return super().convert(value, param, ctx)


class Numbers(click.ParamType[Any]):
    """Numbers separated by commas, e.g. 1,2,3; a list when it comes from a config file."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], count: int | None = None):
        self._kind, self._count = kind, count
        self._named = "whole numbers" if kind is int else "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse, or fail with the shape that is expected."""
        try:
            parts = value.split(",") if isinstance(value, str) else list(value)
            numbers = tuple(self._kind(str(part)) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{shown(value)} is not a list of {self._named} like 1,2,3", param, ctx)
        if self._count is not None and len(numbers) != self._count:
            self.fail(f"{shown(value)} has {len(numbers)} numbers, {self._count} are expected", param, ctx)
        return numbers


class Texts(click.ParamType[Any]):
    """Texts separated by commas; a list when it comes from a config file."""

    name = "texts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split."""
        parts = value.split(",") if isinstance(value, str) else list(value)
        if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts):
            self.fail(
                f"{shown(value)} is not a list of texts: put in quotes what looks like something else", param, ctx
            )
        return tuple(str(part).strip() for part in parts if str(part).strip())


class NodataType(click.ParamType[Any]):
    """A number, or auto."""

    name = "number|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Parse, or fail with what is expected."""
        if value == "auto":
            return "auto"
        try:
            return float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)


class ResolutionType(click.ParamType[Any]):
    """native, model, or metres."""

    name = "native|model|metres"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | float:
        """Parse, or fail with what is expected."""
        if value in ("native", "model"):
            return str(value)
        try:
            return float(value)
        except (TypeError, ValueError):
            self.fail(f"{shown(value)} is neither native, nor model, nor a number of metres", param, ctx)


def config_option(command: F) -> F:
    """--config FILE: defaults for the other options from YAML; flags win over it."""
    return click.option(
        "--config",
        type=FilePath(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="YAML file with these options, by their long names; flags win over it.",
    )(command)


def _read_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    from geoseg.spec import load_yaml

    known = _options_by_long_name(ctx.command)
    defaults: dict[str, Any] = {}
    for name, value in load_yaml(path).items():
        if (key := str(name).replace("_", "-")) not in known:
            meant = did_you_mean(key, known)
            raise SpecError(f"{path}: unknown setting {shown(name)}{meant}; known here: {', '.join(sorted(known))}")
        option, switched_off = known[key]
        if option.name in defaults:
            raise SpecError(f"{path}: {name} says again what another line says: keep one")
        defaults[str(option.name)] = _as_typed(option, value, switched_off, f"{path}: {name} = {shown(value)}")
    ctx.default_map = {name: value for name, value in defaults.items() if value is not None}


def _as_typed(option: click.Option, value: Any, switched_off: bool, place: str) -> Any:
    """A value from a file as one would type it on the command line, where it is read and checked; None for nothing.

    Raises:
        SpecError: if nobody would.
    """
    if value is None:
        return None
    if isinstance(value, list | dict) and not (isinstance(value, list) and isinstance(option.type, Numbers | Texts)):
        raise SpecError(f"{place}: give a single value")
    if isinstance(value, str) and len(value) > LONGEST_VALUE:
        raise SpecError(f"{place}: give at most {LONGEST_VALUE:,} characters")
    if not option.is_flag:
        return value if isinstance(value, list) else str(value)
    try:
        wanted = click.BOOL.convert(str(value), option, None)
    except click.BadParameter:
        raise SpecError(f"{place}: give true or false") from None
    return wanted != switched_off


def _options_by_long_name(command: click.Command) -> dict[str, tuple[click.Option, bool]]:
    """Options by their names without dashes, and whether that name switches off."""
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in ("help", "config")]
    names = [(name, option, False) for option in options for name in option.opts]
    names += [(name, option, True) for option in options for name in option.secondary_opts]
    return {name[2:]: (option, off) for name, option, off in names if name.startswith("--")}


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Options that were given, as settings."""
    settings = {name: value for name, value in options.items() if value is not None}
    if "connectivity" in settings:
        settings["connectivity"] = int(settings["connectivity"])
    return settings


def vector_options(command: F) -> F:
    """The fields of VectorSpec, as options."""
    options = (
        click.option("--majority", type=int, metavar="PX", help=_MAJORITY),
        click.option("--fill-holes", metavar="M2", help=_FILL_HOLES),
        click.option("--min-area", metavar="M2", help=_MIN_AREA),
        click.option("--simplify", metavar="METRES", help=_SIMPLIFY),
        click.option("--smooth/--no-smooth", default=None, help="Round the corners of polygons; neighbours still fit."),
        click.option("--connectivity", type=click.Choice(["4", "8"]), help=_CONNECTIVITY),
        click.option("--classes", type=Texts(), metavar="NAME,...", help="Only these classes become polygons."),
        click.option("--dissolve/--no-dissolve", default=None, help="One multipolygon for each class."),
        click.option("--to-crs", metavar="CRS", help="Coordinate system of the polygons, e.g. EPSG:4326."),
        click.option("--aoi", type=FilePath(), metavar="FILE", help=_AOI),
        click.option("--bbox", type=Numbers(float, 4), metavar="LEFT,BOTTOM,RIGHT,TOP", help=_BBOX),
    )
    for option in reversed(options):
        command = option(command)
    return command


_MAJORITY = "Give each pixel the class of the majority in a square of this many pixels a side, e.g. 3."
_FILL_HOLES = "Fill holes smaller than this, in m² or pixels (9px): ground that one region encloses."
_MIN_AREA = (
    "Minimum mapping unit, in m² or pixels (9px): smaller regions go to the neighbour with the longest common border."
)
_SIMPLIFY = (
    "Leave out vertices nearer than this to the simpler border, in metres or pixels (1px); neighbours still fit."
)
_CONNECTIVITY = "8: regions of a class that touch at a corner are one multipolygon; default: 4."
_AOI = (
    "Area of interest: polygons in any vector format and CRS, FILE|layername=NAME where a file has several layers; "
    "nothing outside is read."
)
_BBOX = "Area of interest, in the raster's CRS; nothing outside is read."

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace results that exist.")
