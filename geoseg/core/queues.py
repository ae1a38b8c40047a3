"""Stages that run side by side: one thread reads ahead, one writes behind, and what waits between them is bounded.

Knows nothing of what passes through. An error in a thread surfaces in the thread that uses it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Yield what an iterable yields, running it in a thread at most `depth` items ahead; its errors surface here."""
    queue: Queue[tuple[str, Any]] = Queue(depth)
    stop = Event()
    thread = Thread(target=_run_ahead, args=(items, _putter(queue, stop)), daemon=True)
    thread.start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stop.set()
        _drain(queue)
        thread.join()


def map_ahead(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield a function's result for each item, in their order, while some threads work on the items that follow.

    At most one item more than there are threads is taken before its result is wanted; the items are taken in the thread
    that wants the results. With fewer than two threads all is done there, item by item.
    """
    if threads < 2:
        yield from map(function, items)
        return
    waiting = deque[Future[R]]()
    with ThreadPoolExecutor(threads, "geoseg-map") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class WriteBehind(Generic[T]):
    """Hand items to a thread that takes them in order, at most `depth` of them waiting.

    Leaving the context waits for all of them; leaving it with an error drops what still waits.
    """

    def __init__(self, take: Callable[[T], None], depth: int = 4):
        self._take = take
        self._queue: Queue[tuple[str, Any]] = Queue(depth)
        self._stop = Event()
        self._put = _putter(self._queue, self._stop)
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._put("end", None)
        else:
            self._stop.set()
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Hand over an item; waits while the queue is full, raises what the thread failed with."""
        if not self._put("item", item) and self._error is not None:
            raise self._error

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                kind, item = self._queue.get(timeout=0.1)
            except Empty:
                continue
            if kind == "end":
                return
            try:
                self._take(item)
            except BaseException as error:  # raised by the next `put`, or on leaving the context
                self._error = error
                self._stop.set()


def _putter(queue: Queue[tuple[str, Any]], stop: Event) -> Callable[[str, Any], bool]:
    """Return a put that gives up, with False, once nobody listens any more."""

    def put(kind: str, value: Any) -> bool:
        while not stop.is_set():
            try:
                queue.put((kind, value), timeout=0.1)
                return True
            except Full:
                continue
        return False

    return put


def _run_ahead(items: Iterable[Any], put: Callable[[str, Any], bool]) -> None:
    try:
        for item in items:
            if not put("item", item):
                return
        put("end", None)
    except BaseException as error:  # handed to the reader, who raises it
        put("error", error)
    finally:
        if isinstance(items, Generator):
            items.close()  # in the thread that ran it, to which what it holds may belong


def _drain(queue: Queue[tuple[str, Any]]) -> None:
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
