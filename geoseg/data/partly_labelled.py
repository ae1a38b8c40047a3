"""Labelled rasters reduced to one side of a split.

In: a labelled raster and windows of it. Out: a labelled raster without labels elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.data.labelled_raster import LabelledRaster
from geoseg.data.labels import Indexes
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask, Values
from geoseg.spec import IGNORE


@dataclass(frozen=True)
class Rectangles:
    """The union of N windows of one raster."""

    bounds: NDArray[np.int64]
    """First row, first column, last-plus-one row and last-plus-one column of each window (N, 4)."""

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Rectangles:
        """Make the union of windows; empty ones are dropped."""
        rows = [(w.row, w.col, w.row + w.height, w.col + w.width) for w in windows if w.pixels]
        return cls(np.array(rows, np.int64).reshape(-1, 4))

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window lie in the union."""
        mask = np.zeros((window.height, window.width), bool)
        corner = np.array([window.row, window.col, window.row, window.col])
        size = np.array([window.height, window.width] * 2)
        local = np.clip(self.bounds - corner, 0, size)
        for top, left, bottom, right in local[(local[:, :2] < local[:, 2:]).all(axis=1)]:
            mask[top:bottom, left:right] = True
        return mask


@dataclass(frozen=True)
class PartlyLabelled:
    """A labelled raster with labels in a part of its pixels, and IGNORE elsewhere."""

    raster: LabelledRaster
    """The whole raster."""
    open: Rectangles
    """Where labels are kept."""
    closed: Rectangles
    """Where they are not, even inside `open`, as in a guard band."""

    @property
    def name(self) -> str:
        """The image's file name."""
        return self.raster.name

    @property
    def grid(self) -> PixelGrid:
        """Its pixel grid."""
        return self.raster.grid

    @property
    def height(self) -> int:
        """Rows."""
        return self.raster.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.raster.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window of the image, also outside `open`: band values (C, h, w), and which pixels hold data (h, w)."""
        return self.raster.read(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window; IGNORE where labels are not kept."""
        labels = self.raster.read_labels(window)
        labels[~self.shown(window)] = IGNORE
        return labels

    def open_part(self) -> OpenPart:
        """The same raster without data outside `open`."""
        return OpenPart(self)

    def shown(self, window: Window) -> Mask:
        """Where labels of a window are kept (h, w)."""
        return self.open.mask(window) & ~self.closed.mask(window)


class OpenPart:
    """A partly labelled raster without data outside its open windows."""

    def __init__(self, part: PartlyLabelled):
        self._part = part
        self.name, self.grid, self.height, self.width = part.name, part.grid, part.height, part.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window: band values (C, h, w), and which pixels hold data and are open (h, w)."""
        values, valid = self._part.read(window)
        return values, valid & self._part.open.mask(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read class indexes (h, w) of a window."""
        return self._part.read_labels(window)

    def open_part(self) -> OpenPart:
        """The raster itself: it has no other part."""
        return self
