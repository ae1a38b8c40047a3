"""Windows of several kinds, drawn side by side: a step gets a batch of each.

In: windows of each kind, each with its own draw. Out: items that name their kind, and batches by kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geoseg.core.events import Reporter

Item = tuple[str, Any]
"""A window and its kind."""


@dataclass(frozen=True)
class Stream:
    """Windows of one kind."""

    windows: Any
    """The windows, item by item, as `TrainingWindows`."""
    stack: Callable[[list[Any]], Any]
    """Makes a `TrainingBatch` of items."""
    per_batch: int
    """Windows of each batch."""


class JointWindows:
    """Windows of several kinds, numbered one kind after the other."""

    def __init__(self, streams: Mapping[str, Stream]):
        self.streams = streams

    @property
    def epoch(self) -> int:
        """The epoch whose windows are drawn."""
        return int(next(iter(self.streams.values())).windows.epoch)

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        for stream in self.streams.values():
            stream.windows.epoch = epoch

    def prepare(self, reporter: Reporter) -> None:
        """Compute what all epochs share, before the first one."""
        for stream in self.streams.values():
            stream.windows.prepare(reporter)

    def __getitem__(self, index: tuple[str, int]) -> Item:
        """Draw one window, given its kind and its number among them."""
        kind, number = index
        return kind, self.streams[kind].windows[number]

    def batches(self, count: int) -> list[list[tuple[str, int]]]:
        """The windows of `count` batches: of each, those of the first kind, then of the second."""
        return [
            [
                (kind, batch * stream.per_batch + place)
                for kind, stream in self.streams.items()
                for place in range(stream.per_batch)
            ]
            for batch in range(count)
        ]

    def stack(self, items: Sequence[Item]) -> dict[str, Any]:
        """Make a batch of each kind."""
        return {
            kind: stream.stack([window for own, window in items if own == kind])
            for kind, stream in self.streams.items()
        }
