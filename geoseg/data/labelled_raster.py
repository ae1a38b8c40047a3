"""Labelled rasters: an image and the classes of its pixels, on disk or in memory.

In: an open scene and its labels, or arrays. Out: band values, a mask of the pixels with data, and class indexes, window
by window. Several threads may read.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import numpy as np

from geoseg.data.labels import Indexes, Labels
from geoseg.data.labels.features import Features
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import Mask, Values

ROWS_AT_ONCE = 512
"""Rows that are read at once where a whole raster is read."""


class LabelledRaster(Protocol):
    """An image (C, H, W) with the classes of its pixels (H, W), whole or in part."""

    @property
    def name(self) -> str:
        """The image's file name, for reports and messages."""
        ...

    @property
    def grid(self) -> PixelGrid:
        """Its pixel grid."""
        ...

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside: band values (C, h, w), free to be changed, and which pixels hold data (h, w)."""
        ...

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window inside, free to be changed; IGNORE where nothing is labelled."""
        ...

    def own(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window inside hold data and are on its side of a split, labelled or not."""
        ...

    def open_part(self) -> LabelledRaster:
        """The same raster without data outside its side of a split."""
        ...


Files = tuple[SceneBands, Labels]


@dataclass
class _Opened:
    """Open files of a labelled raster."""

    stack: ExitStack
    """Closes them."""
    files: Files
    """Image and labels."""
    users: int = 0
    """How many threads read them."""


class FilePool:
    """The files of many labelled rasters, of which the most recently read ones stay open."""

    def __init__(self, limit: int = 32):
        self._limit = limit
        self._lock = Lock()
        self._open: OrderedDict[int, _Opened] = OrderedDict()

    @contextmanager
    def using(self, key: int, opener: Callable[[], Files]) -> Iterator[Files]:
        """A context with the files of raster number `key`, which are opened by `opener` unless they are open."""
        with self._lock:
            opened = self._take(key, opener)
            opened.users += 1
        try:
            yield opened.files
        finally:
            with self._lock:
                opened.users -= 1

    def clear(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1].stack.close()

    def _take(self, key: int, opener: Callable[[], Files]) -> _Opened:
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key]
        unused = [other for other, opened in self._open.items() if not opened.users]
        for other in unused[: len(self._open) + 1 - self._limit]:
            self._open.pop(other).stack.close()
        with ExitStack() as stack:
            scene, labels = opener()
            files = stack.enter_context(scene), stack.enter_context(labels)
            self._open[key] = _Opened(stack.pop_all(), files)
        return self._open[key]


class FileRaster:
    """An image and its labels on disk; the latter are read by one thread at a time."""

    def __init__(self, name: str, grid: PixelGrid, files: Callable[[], AbstractContextManager[Files]]):
        self.name, self.grid = name, grid
        self.height, self.width = grid.height, grid.width
        self._files = files
        self._lock = Lock()

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window of the image: band values (C, h, w), and which pixels hold data (h, w)."""
        with self._files() as (scene, _):
            return scene.read(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window."""
        with self._labels() as labels:
            return labels.read(window)

    def own(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window hold data: all of it is on one side."""
        return self.read(window)[1]

    def open_part(self) -> FileRaster:
        """The raster itself: all of it is on one side."""
        return self

    def features(self) -> Features:
        """The features of its labels; see `Labels.features`."""
        with self._labels() as labels:
            return labels.features()

    def unmarked_px(self) -> int:
        """Count the pixels that are not labelled only by the convention that 255 means so; see `Labels.unmarked_px`."""
        with self._labels() as labels:
            return labels.unmarked_px()

    def disputed(self) -> Counter[str]:
        """Pixels in which labels of several classes lie, by what counts there; see `Labels.disputed`."""
        with self._labels() as labels:
            return labels.disputed()

    @contextmanager
    def _labels(self) -> Iterator[Labels]:
        with self._lock, self._files() as (_, labels):
            yield labels


@dataclass(frozen=True)
class MemoryRaster:
    """An image and its labels in memory."""

    name: str
    """The image's file name."""
    grid: PixelGrid
    """Its pixel grid."""
    image: Values
    """Band values (C, H, W)."""
    valid: Mask
    """Which pixels hold data (H, W)."""
    labels: Indexes
    """Class indexes (H, W)."""

    @property
    def height(self) -> int:
        """Rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.grid.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Copy a window of the image: band values (C, h, w), and which pixels hold data (h, w)."""
        return self.image[:, *window.slices].copy(), self.valid[window.slices].copy()

    def read_labels(self, window: Window) -> Indexes:
        """Copy class indexes (h, w) of a window."""
        return self.labels[window.slices].copy()

    def own(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window hold data: all of it is on one side."""
        return self.valid[window.slices].copy()

    def open_part(self) -> MemoryRaster:
        """The raster itself: all of it is on one side."""
        return self


def read_into_memory(raster: LabelledRaster) -> MemoryRaster:
    """Read a whole labelled raster into memory, some rows at a time, so that reading needs little more memory."""
    size = raster.height, raster.width
    valid, labels = np.empty(size, bool), np.empty(size, np.uint8)
    image: Values | None = None
    for row in range(0, raster.height, ROWS_AT_ONCE):
        strip = Window(row, 0, ROWS_AT_ONCE, raster.width).clip(*size)
        values, valid[strip.slices] = raster.read(strip)
        image = np.empty((len(values), *size), values.dtype) if image is None else image
        image[:, *strip.slices] = values
        labels[strip.slices] = raster.read_labels(strip)
    assert image is not None  # a raster has rows
    return MemoryRaster(raster.name, raster.grid, image, valid, labels)
