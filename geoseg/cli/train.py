"""geoseg train CONFIG.yaml -o OUTDIR."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.early import read_train_config
from geoseg.cli.options import Command, json_option, overwrite_option, quiet_option
from geoseg.cli.terminal import notice, scores_line, scores_table, show, show_json, silent
from geoseg.cli.value_types import FilePath
from geoseg.core.wording import number_of

if TYPE_CHECKING:
    from geoseg.commands.train import TrainProgress, TrainResult


@click.command(cls=Command)
@click.argument("config", metavar="CONFIG.yaml", type=FilePath(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=FilePath(path_type=Path),
    help="Folder for the bundle of the best epoch (NAME.safetensors), config.yaml, metrics.csv, report.html and "
    "TensorBoard events.",
)
@click.option(
    "--data",
    type=FilePath(path_type=Path),
    metavar="CSV",
    help="List of labelled tiles (image,label,split), instead of the config's data.",
)
@click.option("--epochs", type=int, help="Rounds of training; default: the config's.")
@click.option("--seed", type=int, help="Seed of everything random; default: the config's.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps; default: the config's.")
@click.option("--devices", type=int, help="Processes that train together, one per GPU; default: the config's.")
@click.option(
    "--init-from",
    type=FilePath(path_type=Path),
    metavar="BUNDLE",
    help="Model to start from, or default, for fine-tuning; its bands and classes may differ.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in the output folder where it was interrupted.")
@overwrite_option
@json_option
@quiet_option
def train(
    config: Path,
    output: Path,
    data: Path | None,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a model from labelled images, and keep the epoch with the best mean IoU.

    CONFIG.yaml says what the model learns from: labelled tiles, or whole scenes with rasters or polygons of labels. An
    interrupted run keeps the best epoch so far, and goes on with --resume.
    """
    spec = read_train_config(config, data)
    from geoseg.commands.train import is_main_process
    from geoseg.commands.train import train as run

    settings = {name: value for name, value in options.items() if value is not None}
    quiet = quiet or not is_main_process()
    tell = silent if quiet else notice
    try:
        with _progress(quiet) as progress:
            result = run(
                spec,
                output,
                data=data,
                overwrite=overwrite,
                resume=resume,
                progress=progress,
                notice=tell,
                **settings,
            )
    except KeyboardInterrupt:
        tell("the same command with --resume goes on with this run")
        raise
    if as_json and is_main_process():
        show_json(result.as_dict())
    elif not quiet:
        show(_summary(result))


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[TrainProgress], None]]:
    """Give a callable that draws a bar on a terminal and prints a line an epoch in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield silent if quiet else _print_epoch
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    text = TextColumn("{task.fields[text]}")
    columns = TextColumn("{task.description:<8}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), text
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(state: TrainProgress) -> None:
            stage = "training" if state.stage == "scored" else state.stage
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=None, text="")
            bars.update(tasks[stage], completed=state.done, total=state.total, text=_bar_text(state))

        yield report


def _bar_text(state: TrainProgress) -> str:
    if state.stage not in ("training", "scored"):
        return ""
    loss = "" if math.isnan(state.loss) else f"  loss {state.loss:.3f}"
    return f"epoch {state.epoch}/{state.epochs}{loss}  best mIoU {state.best_miou:.4f}"


def _print_epoch(state: TrainProgress) -> None:
    if state.scores is not None:
        notice(
            f"epoch {state.epoch}/{state.epochs}  loss {state.loss:.4f}  mIoU {state.scores.miou:.4f}  "
            f"best {state.best_miou:.4f}  {state.seconds:,.0f} s"
        )


def _summary(result: TrainResult) -> str:
    return "\n".join(
        (
            scores_line(result.scores),
            scores_table(result.scores),
            f"epoch {result.best_epoch} of {result.epochs}, {result.seconds:,.0f} s on {result.device} "
            f"({result.precision}); {_ground(result.train_images, result.train_pixels)} learnt from, "
            f"{_ground(result.val_images, result.val_pixels)} scored",
            f"  {result.bundle}\n  {result.report}",
        )
    )


def _ground(images: int, pixels: int) -> str:
    return f"{pixels / 1e6:,.2f} Mpx of {number_of(images, 'image')}"
