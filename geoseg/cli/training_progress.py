"""What a terminal shows while a model is trained: notices, bars, and a line per epoch."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from geoseg.cli.terminal import Notices, notice
from geoseg.core.events import SILENT, Progress, Reporter

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from geoseg.commands.train import TrainProgress


class _Epochs(Notices):
    """Prints notices, and a line per epoch."""

    def progress(self, progress: Progress) -> None:
        """Print the scores of an epoch that is done."""
        if progress.stage == "scored":
            notice(_epoch_line(cast("TrainProgress", progress)))


class _Bars(_Epochs):
    """Prints notices, and draws a bar for each stage."""

    def __init__(self, bars: Bars):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def progress(self, progress: Progress) -> None:
        """Move the bar of a stage."""
        state = cast("TrainProgress", progress)
        stage = "training" if state.stage == "scored" else state.stage
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None, text="")
        self._bars.update(self._tasks[stage], completed=state.done, total=state.total, text=_bar_text(state))


@contextmanager
def training_reporter(quiet: bool) -> Iterator[Reporter]:
    """A reporter that draws bars on a terminal, and prints a line per epoch to a pipe; if quiet, neither."""
    if quiet or not sys.stderr.isatty():
        yield SILENT if quiet else _Epochs()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    text = TextColumn("{task.fields[text]}")
    columns = TextColumn("{task.description:<8}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), text
    with Bars(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        yield _Bars(bars)


def _bar_text(state: TrainProgress) -> str:
    if state.stage not in ("training", "scored"):
        return ""
    loss = "" if math.isnan(state.loss) else f"  loss {state.loss:.3f}"
    return f"epoch {state.epoch}/{state.epochs}{loss}  best mIoU {state.best_miou:.4f}"


def _epoch_line(state: TrainProgress) -> str:
    val_loss = "" if state.val_loss is None else f"  val loss {state.val_loss:.4f}"
    scores = (
        f"  mIoU {state.scores.miou:.4f}  best {state.best_miou:.4f}" if state.scores and state.scores.pixels else ""
    )
    figures = "".join(f"  {name.replace('_', ' ')} {value:.4f}" for name, value in state.figures.items())
    parts = f"{figures}{val_loss}{scores}"
    return f"epoch {state.epoch}/{state.epochs}  loss {state.loss:.4f}{parts}  {state.seconds:,.0f} s"
