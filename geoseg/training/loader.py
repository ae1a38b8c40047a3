"""Batches of a data set, read ahead by threads. In: a data set, and the keys of each batch. Out: batches, in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import Any

from geoseg.core.queues import read_ahead
from geoseg.raster.reading import readers

MOST_THREADS = 4
"""Most threads that read windows; rasters divide the larger ones among readers of their own."""


class Loader:
    """Batches of a data set, read by threads while the network computes; they do not depend on how many there are."""

    def __init__(
        self,
        items: Any,
        batches: Sequence[Sequence[Any]],
        stack: Callable[[list[Any]], Any],
        threads: int = 1,
    ):
        """Read nothing yet.

        Args:
            items: the data set; several threads take items of it.
            batches: keys of the items of each batch.
            stack: makes a batch of items.
            threads: how many read; the same ones read for all loaders, as each keeps files open.
        """
        self.items = items
        self.batches = batches
        self.stack = stack
        self.threads = threads

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """Read batch after batch."""
        yield from read_ahead(self._read(readers.options()))

    def split(self, process: int, processes: int) -> Loader:
        """The loader of one of several processes, each of which takes a part of every batch."""
        return self._with([batch[process::processes] for batch in self.batches], self.stack)

    def deal(self, process: int, processes: int, *, idle: Callable[[list[Any]], Any]) -> Loader:
        """The loader of one of several processes, each of which takes whole batches.

        If there are fewer batches than processes, the others load the first batch, stacked by `idle`: a process without
        a batch would block the others.
        """
        batches = self.batches[process::processes]
        return self._with(batches, self.stack) if batches else self._with(self.batches[:1], idle)

    def _with(self, batches: Sequence[Sequence[Any]], stack: Callable[[list[Any]], Any]) -> Loader:
        return Loader(self.items, batches, stack, self.threads)

    def _read(self, gdal_options: dict[str, Any]) -> Iterator[Any]:
        """Batches, while items of the one after the next are being read."""
        pool, waiting = _threads(self.threads), deque[list[Future[Any]]]()
        try:
            for batch in self.batches:
                tasks = (partial(self.items.__getitem__, key) for key in batch)
                waiting.append([pool.submit(readers.call, task, gdal_options) for task in tasks])
                if len(waiting) > 1:
                    yield self._stacked(waiting)
            while waiting:
                yield self._stacked(waiting)
        finally:
            for future in (future for futures in waiting for future in futures):
                if not future.cancel():
                    future.exception()  # waits: files may be closed after this

    def _stacked(self, waiting: deque[list[Future[Any]]]) -> Any:
        items = [future.result() for future in waiting[0]]
        waiting.popleft()
        return self.stack(items)


def reading_threads() -> int:
    """Threads that read training windows: one for two processors, as the network wants them, too."""
    return max(1, min(MOST_THREADS, readers.processors() // 2))


@cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, "geoseg-loader")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)
