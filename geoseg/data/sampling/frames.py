"""Sampling frames: rasters whose pixels with data are sampled, in one stratum or in one for each class.

In: a raster. Out: the stratum of each pixel, strip by strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.geodesy import row_areas_m2
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window, strip_windows

NO_STRATUM = 255
"""Stratum of pixels without data."""
Strata = NDArray[np.uint8]
"""Stratum of each pixel (h, w), NO_STRATUM where pixels hold no data."""


@dataclass(frozen=True)
class Frame:
    """A raster that is sampled."""

    name: str
    """Its name, for the file of places."""
    grid: PixelGrid
    """Its grid."""
    block_rows: int
    """Rows of a block of the file."""
    read: Callable[[Window], Strata]
    """Reads the strata of a window."""

    def strips(self) -> Iterator[tuple[Window, Strata]]:
        """All pixels, some whole rows at a time."""
        for window in strip_windows(Window(0, 0, self.grid.height, self.grid.width), self.block_rows):
            yield window, self.read(window)

    @cached_property
    def row_areas_m2(self) -> NDArray[np.float64]:
        """Area of a pixel in each row (H,)."""
        grid = self.grid
        found = row_areas_m2(grid.crs, grid.transform, grid.height, grid.width)
        return np.full(grid.height, abs(grid.transform.determinant)) if found is None else found

    def count_rows(self, strata: int, advance: Callable[[int], None]) -> NDArray[np.int64]:
        """Pixels of each row and stratum (H, S)."""
        counts = np.zeros((self.grid.height, strata), np.int64)
        for window, found in self.strips():
            for stratum in range(strata):
                counts[window.row : window.row + window.height, stratum] = (found == stratum).sum(axis=1)
            advance(window.pixels)
        return counts
