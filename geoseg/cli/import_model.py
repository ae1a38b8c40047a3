"""geoseg import SOURCE -o MODEL.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import Command, bundle_option, given, json_option, overwrite_option, quiet_option
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import show, show_json, terminal_reporter
from geoseg.cli.value_types import FilePath, ListOption, Texts
from geoseg.core.wording import number_of
from geoseg.spec import ImportSpec

if TYPE_CHECKING:
    from geoseg.commands.import_model import ImportResult

METAVARS = {"bands": "NAME,...", "mean": "NUMBER,...", "std": "NUMBER,...", "resolution": "METRES|UNKNOWN"}


@click.command("import", cls=Command)
@click.argument("source", metavar="SOURCE", type=FilePath())
@bundle_option
@click.option(
    "--spec",
    type=FilePath(path_type=Path),
    metavar="FILE.yaml",
    help="What the source leaves open, and more than options say: colours and channels of classes, arguments of the "
    "network, texts of the card. A draft is written where something is missing.",
)
@spec_options(ImportSpec, ["architecture", "encoder", "bands", "dtype", "mean", "std"], metavars=METAVARS)
@click.option(
    "--classes",
    type=Texts(),
    cls=ListOption,
    multiple=True,
    metavar="NAME,...|FILE",
    help="Names of the classes in the order of the channels of the network's head; or a file that names them: a legend "
    "(.csv, .qml, .clr, ...), or YAML with `classes`.",
)
@spec_options(ImportSpec, ["resolution", "licence"], metavars=METAVARS)
@overwrite_option
@json_option
@quiet_option
def import_model(
    source: str,
    output: Path,
    spec: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Make a bundle of another tool's model.

    SOURCE is a file of weights (.safetensors, .pth, .pt, .ckpt), a folder with one, or an address: hf://OWNER/NAME of
    the Hugging Face Hub, or https://.... What it is, is seen by what is in
    it; docs/import.md lists the tools. Nothing is guessed: bands, normalisation, classes and resolution that its files
    do not say are asked for, all at once. No code in it is run.
    """
    from geoseg.commands.import_model import import_model as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(source, output, spec=spec, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: ImportResult) -> str:
    licence = f"licence {result.licence}" if result.licence else "licence unknown"
    return (
        f"{result.layout}: {result.network}, {number_of(len(result.bands), 'band')} ({', '.join(result.bands)}), "
        f"{number_of(len(result.classes), 'class')}, {licence}\n  {result.bundle}\n"
        f"next: geoseg predict SCENE -m {result.bundle} -o RESULTS"
    )
