"""geoseg train CONFIG.yaml -o OUTDIR."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from geoseg.cli.options import json_option, overwrite_option, quiet_option
from geoseg.cli.terminal import notice, silent, table

if TYPE_CHECKING:
    from geoseg.pipelines.train import TrainProgress, TrainResult


@click.command()
@click.argument("config", metavar="CONFIG.yaml", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the bundle of the best epoch (NAME.safetensors), config.yaml and metrics.csv.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="List of labelled tiles (image,label,split), instead of the config's.",
)
@click.option("--epochs", type=int, help="Rounds of training; default: the config's.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps; default: the config's.")
@overwrite_option
@json_option
@quiet_option
def train(
    config: Path, output: Path, data: Path | None, overwrite: bool, as_json: bool, quiet: bool, **options: Any
) -> None:
    """Train a model from labelled tiles, and keep the epoch with the best mean IoU.

    An interrupted run keeps the best epoch so far.
    """
    from geoseg.pipelines.train import train as run

    settings = {name: value for name, value in options.items() if value is not None}
    with _progress(quiet) as progress:
        result = run(config, output, data=data, overwrite=overwrite, progress=progress, **settings)
    if as_json:
        click.echo(json.dumps(result.as_dict(), indent=2))
    elif not quiet:
        click.echo(_summary(result))


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[TrainProgress], None]]:
    """Give a callable that draws a bar on a terminal and prints a line an epoch in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield silent if quiet else _print_epoch
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    text = TextColumn("epoch {task.fields[epoch]}  loss {task.fields[loss]:.3f}  best mIoU {task.fields[best]:.4f}")
    columns = BarColumn(), TextColumn("{task.percentage:>3.0f} %"), text, TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task("training", total=None, epoch="-", loss=0.0, best=0.0)

        def report(state: TrainProgress) -> None:
            epoch = f"{state.epoch}/{state.epochs}"
            fields: dict[str, Any] = {"epoch": epoch, "loss": state.loss, "best": state.best_miou}
            bars.update(task, completed=state.step, total=state.steps, **fields)

        yield report


def _print_epoch(state: TrainProgress) -> None:
    if state.scores is not None:
        notice(
            f"epoch {state.epoch}/{state.epochs}  loss {state.loss:.4f}  mIoU {state.scores.miou:.4f}  "
            f"best {state.best_miou:.4f}  {state.seconds:,.0f} s"
        )


def _summary(result: TrainResult) -> str:
    scores = result.scores
    rows = [("class", "IoU", "F1")] + [(name, _cell(scores.iou[name]), _cell(scores.f1[name])) for name in scores.iou]
    return "\n".join(
        (
            f"mIoU {scores.miou:.4f}, pixel accuracy {scores.pixel_accuracy:.4f} on {result.val_tiles} tiles",
            table(rows),
            f"epoch {result.best_epoch} of {result.epochs}, {result.seconds:,.0f} s on {result.device} "
            f"({result.precision})\n  {result.bundle}",
        )
    )


def _cell(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"
