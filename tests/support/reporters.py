"""Reporters that keep what a command reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geoseg.core.events import Progress, Reporter


class Heard(Reporter):
    """Keeps what a command says; each progress also goes to a callable (stage, done, total)."""

    def __init__(self, on_progress: Callable[[str, int, int], object] = lambda stage, done, total: None):
        self.lines: list[str] = []
        self.progressed: list[tuple[str, int, int]] = []
        self._on_progress = on_progress

    def notice(self, line: str) -> None:
        self.lines.append(line)

    def progress(self, progress: Progress) -> None:
        state = progress.stage, progress.done, progress.total
        self.progressed.append(state)
        self._on_progress(*state)


class Watching(Reporter):
    """Keeps notices, and hands each progress on as it is."""

    def __init__(self, on_progress: Callable[[Any], object] = lambda state: None, lines: list[str] | None = None):
        self.lines = [] if lines is None else lines
        self.progress = on_progress  # type: ignore[method-assign]

    def notice(self, line: str) -> None:
        self.lines.append(line)
