"""What a command reports while it works: notices and progress, to one object.

Knows neither a terminal nor a log: subclasses of `Reporter` print, draw a bar, or keep the lines.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Progress of a stage of a command."""

    stage: str
    """Name of the stage, e.g. `predicting`, `writing`, `polygons`, `reading`, `training`, `scenes`."""
    done: int
    """Units done: pixels, steps, windows, or scenes."""
    total: int
    """Units in all."""


class Reporter:
    """Receives notices and progress of a command. The base class ignores both: override the methods you need."""

    def notice(self, line: str) -> None:
        """Receive a line for the user."""

    def progress(self, progress: Progress) -> None:
        """Receive the progress of a stage; called often."""


SILENT = Reporter()
"""Ignores everything."""


class Stage:
    """A stage of a command, counted while it is worked on."""

    def __init__(self, reporter: Reporter, name: str, total: int, done: int = 0):
        """Name a stage of so many units, some of which may be done already."""
        self._reporter, self._name, self._total, self._done = reporter, name, total, done

    def advance(self, units: int = 0) -> None:
        """Count more units as done, and report how far the stage is."""
        self._done += units
        self._reporter.progress(Progress(self._name, self._done, self._total))


class NoticeLog(Reporter):
    """Keeps notices, each once, and passes everything on."""

    def __init__(self, to: Reporter = SILENT):
        self._to = to
        self.lines: list[str] = []

    def notice(self, line: str) -> None:
        """Keep a line and pass it on, unless it was given before."""
        if line not in self.lines:
            self.lines.append(line)
            self._to.notice(line)

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        self._to.progress(progress)
