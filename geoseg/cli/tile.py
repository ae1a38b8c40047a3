"""geoseg tile CONFIG.yaml -o OUTDIR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import read_train_config
from geoseg.cli.options import Command, given, json_option, overwrite_option, quiet_option
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import show, show_json, table, terminal_reporter
from geoseg.cli.value_types import FilePath
from geoseg.spec import TileSpec

if TYPE_CHECKING:
    from geoseg.commands.tile import TileResult


@click.command(cls=Command)
@click.argument("config", metavar="CONFIG.yaml", type=FilePath(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(path_type=Path),
    help="Folder for images/, labels/, tiles.csv and classes.yaml, the start of a training config that reads them.",
)
@spec_options(TileSpec)
@overwrite_option
@json_option
@quiet_option
def tile(
    config: Path,
    output: Path,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Write labelled tiles of the scenes that a training config names.

    Images keep their values and places; polygons and colours become rasters of class ids, 255 where nothing is
    labelled. Tiles are for training, for validation or for the test as geoseg train would split the pixels, and hold no
    labels within its guard band. geoseg train needs no tiles: this command is for viewing, sharing or correcting them.
    """
    read_train_config(config)
    from geoseg.commands.tile import tile as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(config, output, overwrite=overwrite, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: TileResult) -> str:
    sides = {"training": result.train_pixels, "validation": result.val_pixels}
    if result.test_tiles:
        sides["test"] = result.test_pixels
    rows: list[tuple[str, ...]] = [("labelled pixels", *sides)]
    rows += [(name, *(f"{pixels[name]:,}" for pixels in sides.values())) for name in result.train_pixels]
    tested = f", {result.test_tiles:,} test tiles" if result.test_tiles else ""
    left_out = f", {result.sparse_tiles:,} with too few labels left out" if result.sparse_tiles else ""
    return (
        f"{table(rows)}\n{result.train_tiles:,} training and {result.val_tiles:,} validation tiles{tested}{left_out}, "
        f"{result.seconds:.1f} s\n  {result.tiles}\n  {result.config}"
    )
