"""Windows become batches of arrays, read ahead of the model by a thread.

In: a source and its grid. Out: batches in the grid's order, without the windows that hold no data. Padding and the
filling of pixels without data happen here, for all windows in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from geoseg.grid import Grid, Place, Window
from geoseg.resample import Source
from geoseg.scene import Mask, Values

T = TypeVar("T")


class Readable(Protocol):
    """What windows are read from."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside: values (C, h, w), to be changed at will, and which pixels hold data (h, w)."""
        ...


@dataclass(frozen=True)
class Sample:
    """One window on its way to the network."""

    place: Place
    """Where it lies."""
    part: Window
    """What of it is forwarded, from the window's own corner: all of it, or less where only a part holds data."""
    image: Values
    """Band values (C, T, T), uint8 or float32, without holes."""
    valid: Mask
    """Which pixels hold data (T, T)."""
    scene_valid: Mask
    """Which of the scene's own pixels in the window's core hold data."""


@dataclass(frozen=True)
class Batch:
    """Windows whose forwarded parts have one shape."""

    samples: tuple[Sample, ...]
    """The windows; none in a last batch that only tells of windows without data."""
    image: Values
    """Band values of the forwarded parts (B, C, h, w)."""
    visited_px: int
    """The source's pixels in the cores of these windows and of the empty ones passed on the way."""


def make_batches(source: Source, grid: Grid, fill: Sequence[float], batch_size: int) -> Iterator[Batch]:
    """Yield batches in the grid's order; a window whose pixels all lack data is passed over, never forwarded.

    Args:
        source: what is read.
        grid: where its windows lie.
        fill: value per band that stands in for pixels without data.
        batch_size: most windows in a batch.
    """
    held: list[Sample] = []
    visited = 0
    for place in grid.places():
        sample = read_sample(source, place, fill, grid)
        if held and (len(held) == batch_size or (sample and _shape(sample) != _shape(held[0]))):
            yield _stack(held, visited)
            held, visited = [], 0
        visited += place.core.pixels
        if sample:
            held.append(sample)
    if held or visited:
        yield _stack(held, visited)


def read_sample(source: Source, place: Place, fill: Sequence[float], grid: Grid) -> Sample | None:
    """Read one window, reflected beyond the edge and filled where there is no data; None if there is none at all."""
    window = place.window
    if not window.clip(source.height, source.width).pixels:  # all of it is padding
        return None
    image, valid = read_padded(source, window, fill)
    if not valid.any():
        return None
    core = valid[place.core.shift(-window.row, -window.col).slices]
    part = part_with_data(valid, grid.border, grid.multiple)
    return Sample(place, part, image, valid, source.scene_valid(place.core, core))


def read_padded(source: Readable, window: Window, fill: Sequence[float]) -> tuple[Values, Mask]:
    """Read a window (C, h, w) that may reach over the edge, as networks see it: reflected there, filled in its holes.

    The second array (h, w) tells which pixels hold data, reflected likewise.
    """
    inside = window.clip(source.height, source.width)
    image, valid = source.read(inside)
    if not valid.all():
        stand_in = np.asarray(fill)[:, None]
        image[:, ~valid] = stand_in if image.dtype.kind == "f" else np.rint(stand_in)
    top, left = inside.row - window.row, inside.col - window.col
    rows = top, window.height - inside.height - top
    cols = left, window.width - inside.width - left
    if any(rows + cols):
        image = np.pad(image, ((0, 0), rows, cols), mode="reflect")
        valid = np.pad(valid, (rows, cols), mode="reflect")
    return image, valid


def part_with_data(valid: Mask, margin: int, multiple: int) -> Window:
    """Return the part of a window (T, T) that must be forwarded: its pixels with data and a margin around them.

    All of it unless that saves at least half of the pixels: fewer shapes make fuller batches.
    """
    height, width = valid.shape
    top, bottom = _span_with_data(np.flatnonzero(valid.any(axis=1)), height, margin, multiple)
    left, right = _span_with_data(np.flatnonzero(valid.any(axis=0)), width, margin, multiple)
    part = Window(top, left, bottom - top, right - left)
    return part if 2 * part.pixels <= height * width else Window(0, 0, height, width)


def _span_with_data(held: NDArray[np.intp], length: int, margin: int, multiple: int) -> tuple[int, int]:
    """First and last-plus-one index around those with data, both multiples, so that the network stays in step."""
    first = max(0, int(held[0]) - margin) // multiple * multiple
    last = -(-min(length, int(held[-1]) + 1 + margin) // multiple) * multiple
    return first, min(length, last)


def _shape(sample: Sample) -> tuple[int, int]:
    return sample.part.height, sample.part.width


def _stack(held: list[Sample], visited: int) -> Batch:
    parts = [sample.image[:, *sample.part.slices] for sample in held]
    return Batch(tuple(held), np.stack(parts) if parts else np.empty((0, 0, 0, 0), np.uint8), visited)


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


def _drain(queue: Queue[tuple[str, Any]]) -> None:
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return
