"""geoseg train CONFIG.yaml -o OUTDIR."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early_checks import read_train_config
from geoseg.cli.options import Command, given, json_option, overwrite_option, quiet_option, tiles_option
from geoseg.cli.scores_text import score, scores_text, spread_table
from geoseg.cli.spec_options import spec_options
from geoseg.cli.terminal import notice, show, show_json
from geoseg.cli.training_progress import training_reporter
from geoseg.cli.value_types import FilePath
from geoseg.core.wording import number_of, pixels_in_words
from geoseg.spec import TrainSpec

if TYPE_CHECKING:
    from geoseg.commands.train import TrainResult


@click.command(cls=Command)
@click.argument("config", metavar="CONFIG.yaml", type=FilePath(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(path_type=Path),
    help="Folder for the bundle of the best epoch (NAME.safetensors), config.yaml, metrics.csv, scores.csv, "
    "report.html and TensorBoard events.",
)
@tiles_option
@click.option(
    "--data", "former_tiles", type=FilePath(path_type=Path), hidden=True, help="The name of --tiles in geoseg 0.1."
)
@spec_options(
    TrainSpec,
    ("epochs", "seed", "seeds", "device", "devices", "init_from"),
    default="the config's",
    metavars={"init_from": "BUNDLE"},
)
@click.option("--resume", is_flag=True, help="Go on with the run in the output folder where it was interrupted.")
@overwrite_option
@json_option
@quiet_option
def train(
    config: Path,
    output: Path,
    tiles: Path | None,
    former_tiles: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a model from labelled images, keep the epoch with the best mean IoU, and test it on a side kept for that.

    CONFIG.yaml says what the model learns from: labelled tiles, or whole scenes with rasters or polygons of labels. An
    interrupted run keeps the best epoch so far, and goes on with --resume.
    """
    if tiles is not None and former_tiles is not None:
        raise click.UsageError("--data is the former name of --tiles: give --tiles once")
    data = tiles or former_tiles
    spec = read_train_config(config, data)
    from geoseg.commands.train import is_main_process
    from geoseg.commands.train import train as run

    quiet = quiet or not is_main_process()
    try:
        with training_reporter(quiet) as reporter:
            result = run(spec, output, data=data, reporter=reporter, **given(options))
    except KeyboardInterrupt:
        if not quiet:
            notice("the same command with --resume goes on with this run")
        raise
    if as_json and is_main_process():
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


_SIDES = {"val": "validation", "test": "test"}
"""Sides of a split in words."""


def _summary(result: TrainResult) -> str:
    from geoseg.metrics.calibration.calibration import calibration_line

    learnt = _amount(result.train_images, result.train_polygons, result.train_pixels)
    scored = _amount(result.val_images, result.val_polygons, result.val_pixels) if result.scores.pixels else "nothing"
    return "\n".join(
        (
            *((f"validation: {scores_text(result.scores)}",) if result.scores.pixels else ()),
            *_test(result),
            *(f"{_SIDES[side]}: {calibration_line(one)}" for side, one in result.calibration.items()),
            f"{result.epoch_rule}; {result.seconds:,.0f} s on {result.device} ({result.precision}); "
            f"{learnt} learnt from, {scored} scored",
            *_folds(result),
            *_seeds(result),
            f"  {result.bundle}\n  {result.report}",
        )
    )


def _test(result: TrainResult) -> list[str]:
    """The scores on the test side, with a heading, and what they are of."""
    scores = result.test_scores
    if scores is None:
        return []
    amount = _amount(result.test_images, result.test_polygons, result.test_pixels)
    return [f"test ({amount}, which chose nothing): {scores_text(scores)}"]


def _folds(result: TrainResult) -> list[str]:
    if not result.folds:
        return []
    each = ", ".join(score(one.overall["miou"]) for one in result.folds)
    learnt = "all labels" if result.test_scores is None else "all labels but those of the test"
    return [f"scores are those of {len(result.folds)} folds together (mIoU {each}); the model is trained on {learnt}"]


def _seeds(result: TrainResult) -> list[str]:
    """Mean and spread of all scores of several seeds."""
    lines = []
    for side, spread in (("validation", result.spread), ("test", result.test_spread)):
        if spread is not None:
            seeds = ", ".join(str(one.seed) for one in result.seeds)
            lines += [f"{side} scores of seeds {seeds}; the model is that of the first:", spread_table(spread)]
    return lines


def _amount(images: int, polygons: int | None, pixels: int) -> str:
    outlined = "" if polygons is None else f"{number_of(polygons, 'polygon')}, "
    return f"{outlined}{pixels_in_words(pixels)} of {number_of(images, 'image')}"
