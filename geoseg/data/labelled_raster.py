"""Labelled rasters: an image and the classes of its pixels, on disk or in memory.

In: an open scene and its labels, or arrays. Out: band values, a mask of the pixels with data, and class indexes, window
by window. A labelled raster is read by one thread at a time.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
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


class FilePool:
    """The files of many labelled rasters, of which the most recently read ones stay open."""

    def __init__(self, limit: int = 64):
        self._limit = limit
        self._open: OrderedDict[int, tuple[ExitStack, Files]] = OrderedDict()

    def take(self, key: int, opener: Callable[[], Files]) -> Files:
        """Return the files of raster number `key`, opened by `opener` unless they are open."""
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key][1]
        while len(self._open) >= self._limit:
            self._open.popitem(last=False)[1][0].close()
        with ExitStack() as stack:
            scene, labels = opener()
            files = stack.enter_context(scene), stack.enter_context(labels)
            self._open[key] = stack.pop_all(), files
        return files

    def clear(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1][0].close()


class FileRaster:
    """An image and its labels on disk."""

    def __init__(self, name: str, grid: PixelGrid, files: Callable[[], Files]):
        self.name, self.grid = name, grid
        self.height, self.width = grid.height, grid.width
        self._files = files

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window of the image: band values (C, h, w), and which pixels hold data (h, w)."""
        return self._files()[0].read(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window."""
        return self._files()[1].read(window)

    def own(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window hold data: all of it is on one side."""
        return self._files()[0].read(window)[1]

    def open_part(self) -> FileRaster:
        """The raster itself: all of it is on one side."""
        return self

    def features(self) -> Features:
        """The features of its labels; see `Labels.features`."""
        return self._files()[1].features()

    def unmarked_px(self) -> int:
        """Count the pixels that are not labelled only by the convention that 255 means so; see `Labels.unmarked_px`."""
        return self._files()[1].unmarked_px()

    def disputed(self) -> Counter[str]:
        """Pixels in which labels of several classes lie, by what counts there; see `Labels.disputed`."""
        return self._files()[1].disputed()


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
