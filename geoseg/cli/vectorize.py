"""geoseg vectorize CLASSES.tif -o OUT."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from geoseg.cli.options import config_option, given, json_option, overwrite_option, quiet_option, vector_options
from geoseg.cli.terminal import notice, progress_bar


@click.command()
@click.argument("raster", metavar="CLASSES.tif")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Result: .gpkg, .shp, .geojson, .fgb or .parquet.",
)
@vector_options
@config_option
@overwrite_option
@json_option
@quiet_option
def vectorize(raster: str, output: Path, overwrite: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Turn any class raster into polygons, one for each connected region of a class.

    Polygons of neighbours share their borders vertex for vertex, also when they are simplified or smoothed.
    """
    from geoseg.pipelines.vectorize import vectorize as run

    with progress_bar(quiet or as_json) as progress:
        result = run(
            raster,
            output,
            overwrite=overwrite,
            progress=lambda done, total: progress("polygons", done, total),
            **given(options),
        )
    if as_json:
        click.echo(json.dumps(asdict(result), default=str, indent=2))
    elif not quiet:
        for line in result.notices:
            notice(line)
        click.echo(f"{result.polygons:,} polygons in {result.seconds:.1f} s\n  {result.output}")
