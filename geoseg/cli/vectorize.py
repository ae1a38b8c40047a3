"""geoseg vectorize CLASSES.tif -o OUT."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import check_vectorized
from geoseg.cli.environment import import_pyogrio
from geoseg.cli.options import Command, config_option, given, json_option, overwrite_option, quiet_option
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import show, show_json, terminal_reporter
from geoseg.cli.value_types import FilePath
from geoseg.core.wording import number_of
from geoseg.spec import VectorizeSpec

if TYPE_CHECKING:
    from geoseg.vector.check import PolygonCheck


_CONFIDENCE = "Raster with the confidence of each pixel, as predict --confidence writes it; polygons get its mean."


@click.command(cls=Command)
@click.argument("raster", metavar="CLASSES.tif", type=FilePath())
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(path_type=Path),
    help="Result: .gpkg, .shp, .geojson, .fgb, .parquet, .pmtiles or .mbtiles.",
)
@spec_options(VectorizeSpec)
@click.option("--check", is_flag=True, help="Hold the finished polygons against the raster; exit code 1 if they fail.")
@click.option("--confidence", metavar="RASTER", type=FilePath(), help=_CONFIDENCE)
@config_option
@overwrite_option
@json_option
@quiet_option
def vectorize(
    raster: str, output: Path, check: bool, overwrite: bool, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Turn any class raster into polygons, one for each connected region of a class.

    Polygons of neighbours share their borders vertex for vertex, also when they are simplified or smoothed.
    """
    weights = {"confidence": options.pop("confidence")}
    check_vectorized(raster, given(options))
    import_pyogrio()
    from geoseg.commands.vectorize import vectorize as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(
            raster,
            output,
            overwrite=overwrite,
            check=check,
            reporter=reporter,
            **given(options | weights),
        )
    passed = result.check is None or _passes(result.check, options)
    if as_json:
        show_json(asdict(result))
    elif not quiet:
        files = "".join(f"\n  {path}" for path in (result.output, result.instances_raster) if path is not None)
        counted = "" if result.instances is None else f", {number_of(result.instances, 'instance')}"
        show(f"{number_of(result.polygons, 'polygon')}{counted} in {result.seconds:.1f} s{files}")
        if result.check is not None:
            show(_verdict(result.check, passed))
    if not passed:
        sys.exit(1)


MOST_AREA_LOST = 0.01
"""Share of the area that simplified or smoothed polygons may gain or lose."""


def _passes(check: PolygonCheck, options: dict[str, Any]) -> bool:
    """Whether the polygons are a valid coverage of the same area and, unless simplified or smoothed, pixel by pixel."""
    is_raw = options["simplify"] is None and not options["smooth"]
    is_right = check.differing_pixels == 0 if is_raw else abs(check.area_ratio - 1) < MOST_AREA_LOST
    return check.is_coverage and is_right


def _verdict(check: PolygonCheck, passed: bool) -> str:
    share = check.differing_pixels / max(1, check.pixels)
    borders = "neighbours share their borders" if check.is_coverage else "neighbours leave gaps or overlap"
    return (
        f"check {'passed' if passed else 'FAILED'}: {check.differing_pixels:,} of {check.pixels:,} pixels differ when "
        f"burnt back ({share:.3%}), area {check.area_ratio:.6%} of the raster's; {borders}"
    )
