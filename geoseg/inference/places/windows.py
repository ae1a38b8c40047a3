"""Equal windows of a scene, and what a model finds in each: pixels with data, classes, mean uncertainty.

In: pixels of a classified scene, read in pieces. Out: arrays with an entry for each window. At most `PIECE_PX` pixels
are held at once, whatever the size of the scene.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask
from geoseg.spec import NODATA_ID

PIECE_PX = 2**21
"""Most pixels that are read at once, or a single window."""


@dataclass(frozen=True)
class ClassifiedPixels:
    """Some pixels of a classified scene."""

    ids: NDArray[np.uint8]
    """Class ids (h, w), NODATA_ID where pixels hold no data."""
    uncertainty: NDArray[np.floating]
    """Uncertainty (h, w), 0 to 1; any value where pixels hold no data."""
    is_labelled: Mask
    """Which are labelled already (h, w)."""


ReadPixels = Callable[[Window], ClassifiedPixels]
"""Reads the pixels of a window of the scene."""


@dataclass(frozen=True)
class WindowStatistics:
    """The N windows of a scene, from left to right and from top to bottom."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    """First row and first column of each (N,)."""
    heights: NDArray[np.int64]
    widths: NDArray[np.int64]
    """Its size in pixels (N,): the side, or less at the scene's right and lower edges."""
    counts: NDArray[np.int64]
    """Pixels of each class (N, K)."""
    labelled: NDArray[np.int64]
    """Pixels with data that are labelled already (N,)."""
    uncertainty: NDArray[np.float64]
    """Mean uncertainty of the pixels with data that are not labelled (N,), 0 to 1; 0 where there are none."""
    full_px: int
    """Pixels of a window that lies inside the scene."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def valid(self) -> NDArray[np.int64]:
        """Pixels with data (N,)."""
        return np.asarray(self.counts.sum(axis=1))

    @property
    def open_share(self) -> NDArray[np.float64]:
        """Pixels that hold data and are not labelled, over those of a window inside the scene (N,)."""
        return np.asarray((self.valid - self.labelled) / self.full_px)

    @property
    def class_shares(self) -> NDArray[np.float64]:
        """Share of each class in the pixels with data (N, K); 0 where there are none."""
        return np.asarray(self.counts / np.maximum(self.valid, 1)[:, None])

    def window(self, index: int) -> Window:
        """A window."""
        parts = (self.rows, self.columns, self.heights, self.widths)
        return Window(*(int(values[index]) for values in parts))


def count_windows(
    size: tuple[int, int], side: int, ids: NDArray[np.uint8], read: ReadPixels, advance: Callable[[int], None]
) -> WindowStatistics:
    """Count the pixels of all windows of a scene.

    Args:
        size: height and width of the scene.
        side: side of a window in pixels.
        ids: class ids (K,).
        read: reads pixels.
        advance: called with the number of pixels that have been counted.
    """
    height, width = size
    tops, lefts = np.arange(0, height, side), np.arange(0, width, side)
    rows, columns = (axis.ravel() for axis in np.meshgrid(tops, lefts, indexing="ij"))
    counts = np.zeros((len(tops), len(lefts), len(ids)), np.int64)
    labelled = np.zeros((len(tops), len(lefts)), np.int64)
    sums = np.zeros((len(tops), len(lefts)))
    for piece in _pieces(height, width, side):
        found = read(piece)
        i = piece.row // side
        within = slice(piece.col // side, -(-(piece.col + piece.width) // side))
        starts = np.arange(0, piece.width, side)
        has_data = found.ids != NODATA_ID
        for k, class_id in enumerate(ids):
            counts[i, within, k] = _sum(found.ids == class_id, starts)
        labelled[i, within] = _sum(found.is_labelled & has_data, starts)
        is_open = has_data & ~found.is_labelled
        sums[i, within] = _sum(np.where(is_open, found.uncertainty, 0.0), starts)
        advance(piece.pixels)
    open_px = counts.sum(axis=2) - labelled
    return WindowStatistics(
        rows=rows,
        columns=columns,
        heights=np.minimum(side, height - rows),
        widths=np.minimum(side, width - columns),
        counts=counts.reshape(len(rows), -1),
        labelled=labelled.ravel(),
        uncertainty=(sums / np.maximum(open_px, 1)).ravel(),
        full_px=min(side, height) * min(side, width),
    )


def _pieces(height: int, width: int, side: int) -> Iterator[Window]:
    """Windows of one row of windows each, as many side by side as are read at once."""
    step = max(1, PIECE_PX // side**2) * side
    for row in range(0, height, side):
        for col in range(0, width, step):
            yield Window(row, col, side, step).clip(height, width)


def _sum(values: NDArray[np.generic], starts: NDArray[np.int64]) -> NDArray[np.generic]:
    """Sums of values (h, w) over the columns from each start to the next."""
    dtype = np.float64 if values.dtype.kind == "f" else np.int64
    return np.asarray(np.add.reduceat(values.sum(axis=0, dtype=dtype), starts))
