"""geoseg sample RASTER... -o PLACES.gpkg."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import Command, config_option, given, json_option, overwrite_option, quiet_option
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import area, show, show_json, table, terminal_reporter
from geoseg.cli.value_types import FilePath
from geoseg.core.wording import number_of
from geoseg.spec import SampleSpec

if TYPE_CHECKING:
    from geoseg.commands.sample import SampleResult

_STRATIFIED = (
    "Draw from the classes of a class raster, each by itself, so that rare ones are seen; or from all pixels with data "
    "alike; default: random."
)


@click.command(cls=Command)
@click.argument("rasters", nargs=-1, required=True, metavar="RASTER...", type=FilePath())
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(path_type=Path),
    help="Result: a GeoPackage (.gpkg) of points, or of windows (--side).",
)
@click.option("--stratified/--random", default=None, help=_STRATIFIED)
@click.option(
    "-n",
    "--count",
    type=click.INT,
    help="Number of places; default: 200. All pixels, or windows, are drawn if there are fewer.",
)
@spec_options(SampleSpec, [name for name in SampleSpec.settings() if name not in ("stratified", "count")])
@config_option
@overwrite_option
@json_option
@quiet_option
def sample(rasters: tuple[str, ...], output: Path, overwrite: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Draw places at random, whose labels say without bias how good a map is and how large its classes are.

    RASTERs are maps of classes, or scenes (--random). Points lie uniformly on the earth's surface; the file has the
    class to be filled in, the probability with which each was drawn, and the area that it stands for.
    """
    from geoseg.commands.sample import sample as run
    from geoseg.outputs.places import check_places_file

    check_places_file(output, overwrite)
    with terminal_reporter(quiet or as_json) as reporter:
        result = run(rasters, output, overwrite=overwrite, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: SampleResult) -> str:
    rows: list[tuple[str, ...]] = [("stratum", "area", "places")]
    rows += [(one.name, area(one.area_m2), f"{one.places:,}") for one in result.strata]
    return f"{table(rows)}\n{number_of(result.places, 'place')} in {result.seconds:,.1f} s\n  {result.output}"
