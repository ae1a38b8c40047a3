"""Options and types that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Numbers(click.ParamType[Any]):
    """Numbers separated by commas, e.g. 1,2,3; a list when it comes from a config file."""

    name = "numbers"

    def __init__(self, kind: type[int] | type[float], count: int | None = None):
        self._kind, self._count = kind, count

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse, or fail with the shape that is expected."""
        try:
            parts = value.split(",") if isinstance(value, str) else list(value)
            numbers = tuple(self._kind(part) for part in parts)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a list of numbers like 1,2,3", param, ctx)
        if self._count is not None and len(numbers) != self._count:
            self.fail(f"{value!r} has {len(numbers)} numbers, {self._count} are expected", param, ctx)
        return numbers


class Texts(click.ParamType[Any]):
    """Texts separated by commas; a list when it comes from a config file."""

    name = "texts"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Split."""
        parts = value.split(",") if isinstance(value, str) else list(value)
        return tuple(str(part).strip() for part in parts if str(part).strip())


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
            self.fail(f"{value!r} is neither native, nor model, nor a number of metres", param, ctx)


def config_option(command: F) -> F:
    """--config FILE: defaults for the other options from YAML; flags win over it."""
    return click.option(
        "--config",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_read_config,
        help="YAML file with these options, by their long names; flags win over it.",
    )(command)


def _read_config(ctx: click.Context, _param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    from geoseg.errors import SpecError
    from geoseg.spec import load_yaml

    known = _options_by_long_name(ctx.command)
    defaults: dict[str, Any] = {}
    for name, value in load_yaml(path).items():
        if (key := str(name).replace("_", "-")) not in known:
            raise SpecError(f"{path}: unknown setting {name!r}; known here: {', '.join(sorted(known))}")
        option, switched_off = known[key]
        if isinstance(value, list | dict) and not isinstance(option.type, Numbers | Texts):
            raise SpecError(f"{path}: {name} = {value!r}: give a single value")
        defaults[str(option.name)] = not value if switched_off else value
    ctx.default_map = defaults


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
        click.option("--aoi", type=click.Path(), metavar="FILE", help=_AOI),
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
_AOI = "Area of interest: polygons in any vector format and CRS; nothing outside is read."
_BBOX = "Area of interest, in the raster's CRS; nothing outside is read."

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace results that exist.")
