"""Output to a terminal or a pipe: notices, progress bars, readable numbers and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from geoseg.core.events import SILENT, Progress, Reporter
from geoseg.core.naming import visible
from geoseg.core.redaction import public_text, public_values

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID

ARGUMENTS = "geoseg.arguments"
"""Where click's context keeps the words of the command line."""


def notice(line: str) -> None:
    """Print one line to standard error, without secrets and control characters."""
    click.echo(shown(line), err=True)


def show(text: str) -> None:
    """Print lines to standard output, likewise."""
    click.echo(shown(text, keep="\n"))


def shown(text: str, keep: str = "") -> str:
    """A text for printing: without secrets, and with control characters, but those in `keep`, escaped."""
    return visible(public_text(text, _arguments()), keep=keep)


def show_json(values: Any) -> None:
    """Print values as JSON to standard output, without secrets."""
    click.echo(json.dumps(public_values(json.loads(json.dumps(values, default=str)), _arguments()), indent=2))


def _arguments() -> list[str]:
    """The words of the command line, which may hold secrets, and the values after their equal signs."""
    context = click.get_current_context(silent=True)
    words = context.meta.get(ARGUMENTS, ()) if context else ()
    return [part for word in words for part in (word, word.partition("=")[2]) if part]


class Notices(Reporter):
    """Prints notices."""

    def notice(self, line: str) -> None:
        """Print a line to standard error."""
        notice(line)


class _Drawn(Notices):
    """Prints notices, and draws a bar for each stage."""

    def __init__(self, bars: Bars):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def progress(self, progress: Progress) -> None:
        """Move the bar of a stage."""
        bars, stage, total = self._bars, progress.stage, max(progress.total, 1)
        if stage == "scenes":
            for each in bars.tasks:  # the stages of a scene begin anew with the next
                bars.update(each.id, visible=False)
        if stage not in self._tasks:
            self._tasks[stage] = bars.add_task(stage, total=total, speed="")
        task = bars.tasks[self._tasks[stage]]
        if not task.visible and stage != "scenes":
            bars.reset(task.id)
        bars.update(task.id, completed=progress.done, total=total, speed=_pace(task, progress), visible=True)


@contextmanager
def terminal_reporter(quiet: bool) -> Iterator[Reporter]:
    """A reporter that prints notices, and draws bars on a terminal; if quiet, neither."""
    if quiet or not sys.stderr.isatty():
        yield SILENT if quiet else Notices()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # What is printed meanwhile goes above the bars, unless standard output leads elsewhere.
    console = Console(stderr=True)
    with Bars(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as bars:
        yield _Drawn(bars)


def _pace(task: Task, progress: Progress) -> str:
    if progress.stage == "scenes":
        return f"{progress.done:,} of {progress.total:,}"
    return f"{task.speed / 1e6:.2f} Mpx/s" if progress.stage == "predicting" and task.speed else ""


def area(square_metres: float) -> str:
    """Write an area in m², ha or km², whichever reads best."""
    if square_metres < 1e4:
        return f"{square_metres:,.0f} m²"
    return f"{square_metres / 1e4:,.1f} ha" if square_metres < 1e6 else f"{square_metres / 1e6:,.2f} km²"


def size(count: float) -> str:
    """Write a number of bytes in kB, MB or GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Align rows of text in columns, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
