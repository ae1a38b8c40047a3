"""geoseg quantize MODEL CONFIG.yaml -o OUT.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import read_train_config
from geoseg.cli.options import Command, bundle_option, given, json_option, overwrite_option, quiet_option, tiles_option
from geoseg.cli.terminal import show, show_json, terminal_reporter
from geoseg.cli.value_types import FilePath, PathOrWord
from geoseg.core.wording import number_of, pixels_in_words

if TYPE_CHECKING:
    from geoseg.commands.quantize import QuantizeResult


@click.command(cls=Command)
@click.argument("model", metavar="RUN|MODEL", type=PathOrWord("default"))
@click.argument("config", type=FilePath(path_type=Path), metavar="CONFIG.yaml")
@bundle_option
@tiles_option
@overwrite_option
@json_option
@quiet_option
def quantize(
    model: str, config: Path, output: Path, tiles: Path | None, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Let a model compute with integers of 8 bits: on CPUs two to three times as fast as fp32.

    Learns the ranges of the network's values on the training side of CONFIG.yaml, measures on its validation side what
    integers do to the classes, and writes both into a copy of the bundle. predict then takes integers by itself if the
    mean IoU moves by at most 0.003. What seams between windows do to the classes is measured as well, so that predict
    can take larger windows. Training does this at its end; models from elsewhere and older ones need it.
    """
    from geoseg.commands.bundle_path import check_bundle_path

    check_bundle_path(output, overwrite=bool(options["overwrite"]))
    read_train_config(config, tiles)
    from geoseg.commands.quantize import quantize as run

    with terminal_reporter(quiet or as_json) as reporter:
        result = run(model, output, config=config, data=tiles, reporter=reporter, **given(options))
    if as_json:
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


def _summary(result: QuantizeResult) -> str:
    found = result.int8
    taken = "by itself" if result.taken else "with --precision int8 alone"
    floats = f"; {number_of(len(found.floats), 'convolution')} with floats" if found.floats else ""
    return "\n".join(
        (
            f"mean IoU {found.miou:.4f} with integers, {found.miou_float:.4f} without, on "
            f"{pixels_in_words(found.pixels)}; {found.agreement:.2%} of them get the same class{floats}",
            f"predict takes integers {taken}",
            f"  {result.bundle}",
        )
    )
