"""geoseg vectorize CLASSES.tif -o OUT."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from geoseg.cli.options import json_option, overwrite_option, quiet_option
from geoseg.cli.terminal import notice, progress_bar


@click.command()
@click.argument("classes", metavar="CLASSES.tif")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Result: .gpkg, .shp, .geojson, .fgb or .parquet.",
)
@overwrite_option
@json_option
@quiet_option
def vectorize(classes: str, output: Path, overwrite: bool, as_json: bool, quiet: bool) -> None:
    """Turn any class raster into polygons, one for each connected region of a class."""
    from geoseg.pipelines.vectorize import vectorize as run

    with progress_bar(quiet or as_json) as progress:
        result = run(
            classes, output, overwrite=overwrite, progress=lambda done, total: progress("polygons", done, total)
        )
    if as_json:
        click.echo(json.dumps(asdict(result), default=str, indent=2))
    elif not quiet:
        for line in result.notices:
            notice(line)
        click.echo(f"{result.polygons:,} polygons in {result.seconds:.1f} s\n  {result.output}")
