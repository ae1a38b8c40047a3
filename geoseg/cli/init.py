"""geoseg init FOLDER|SCENE [LABELS] -o CONFIG.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import Command, given, json_option, overwrite_option, quiet_option
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import show, show_json, terminal_reporter
from geoseg.cli.value_types import FilePath
from geoseg.core.wording import number_of
from geoseg.spec import InitSpec

if TYPE_CHECKING:
    from geoseg.commands.init import InitResult


@click.command(cls=Command)
@click.argument("source", metavar="FOLDER|SCENE", type=FilePath(path_type=Path))
@click.argument("labels", metavar="[LABELS]", required=False, type=FilePath(path_type=Path))
@click.option(
    "-o",
    "--output",
    default="config.yaml",
    type=FilePath(path_type=Path),
    help="The config; default: config.yaml.",
)
@spec_options(InitSpec, metavars={"column": "NAME", "layer": "NAME", "init_from": "MODEL"})
@overwrite_option
@json_option
@quiet_option
def init(
    source: Path,
    labels: Path | None,
    output: Path,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Write a training config for images and labels as they come.

    FOLDER holds images and labels, in folders like images/ and masks/, perhaps below train/ and val/, or side by side
    with names like a.tif and a_mask.tif, or a CSV that lists them. A SCENE, or a folder of images, may also be given
    with its LABELS: a raster, or polygons. The config has the bands, the classes with the names and colours found, a
    split and a schedule for the amount of data, with comments, and trains as it is.
    """
    from geoseg.commands.init import init as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(source, labels, output, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: InitResult) -> str:
    names = ", ".join(result.classes[:12]) + (", ..." if len(result.classes) > 12 else "")
    tiles = "" if result.tiles is None else f"\n  {result.tiles}"
    return (
        f"{number_of(result.images, 'image')}, {len(result.classes)} classes ({names}), split by {result.split}\n"
        f"  {result.config}{tiles}\nlook at it, then: geoseg train {result.config} -o RUN"
    )
