"""geoseg export MODEL -o OUT."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import Command, given, json_option, overwrite_option, quiet_option
from geoseg.cli.terminal import show, show_json, terminal_reporter
from geoseg.cli.value_types import FilePath, PathOrWord

if TYPE_CHECKING:
    from geoseg.commands.export_model import ExportResult


@click.command(cls=Command)
@click.argument("model", metavar="MODEL", type=PathOrWord("default"))
@click.option(
    "-o",
    "--output",
    type=FilePath(path_type=Path),
    metavar="OUT",
    required=True,
    help="What it becomes, by its suffix: .onnx, .pt2, .json (STAC Item of the model's file); without a suffix, a "
    "folder of segmentation-models-pytorch.",
)
@click.option("--size", type=int, metavar="PX", help="Fixed height and width of images; Deepness in QGIS needs it.")
@click.option("--geoai", is_flag=True, help="Write geoai's side file beside an ONNX model, OUT.onnx.json.")
@click.option(
    "--push",
    metavar="hf://OWNER/NAME",
    help="Upload the files, and a page about the model, to a repository of the Hugging Face Hub.",
)
@overwrite_option
@json_option
@quiet_option
def export(
    model: str,
    output: Path,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Write a model in the form of another tool, with its licence and credits.

    MODEL is a model file, `default`, or the folder of a run. An ONNX model has its normalisation inside, takes images
    of any size, and opens in ONNX Runtime, geoai, geoseg, and, of a fixed --size, in QGIS by Deepness.
    """
    from geoseg.commands.export_model import export_model as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(model, output, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: ExportResult) -> str:
    licence = f"licence {result.licence}" if result.licence else "licence unknown"
    pushed = [] if result.pushed is None else [f"  {result.pushed}"]
    return "\n".join([f"{result.kind} of {result.model}, {licence}", *(f"  {path}" for path in result.paths), *pushed])
