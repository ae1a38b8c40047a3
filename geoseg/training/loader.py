"""Batches of a data set, read ahead by a thread. In: a data set, and the keys of each batch. Out: batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from geoseg.core.queues import read_ahead


class Loader:
    """Batches of a data set, read by a thread while the network computes."""

    def __init__(self, items: Any, batches: Sequence[Sequence[Any]], stack: Callable[[list[Any]], Any]):
        self.items = items
        self.batches = batches
        self.stack = stack

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """Read batch after batch."""
        yield from read_ahead(self.stack([self.items[i] for i in batch]) for batch in self.batches)

    def split(self, process: int, processes: int) -> Loader:
        """The loader of one of several processes, each of which takes a part of every batch."""
        return Loader(self.items, [batch[process::processes] for batch in self.batches], self.stack)

    def deal(self, process: int, processes: int, *, idle: Callable[[list[Any]], Any]) -> Loader:
        """The loader of one of several processes, each of which takes whole batches.

        If there are fewer batches than processes, the others load the first batch, stacked by `idle`: a process without
        a batch would block the others.
        """
        batches = self.batches[process::processes]
        return Loader(self.items, batches, self.stack) if batches else Loader(self.items, self.batches[:1], idle)
