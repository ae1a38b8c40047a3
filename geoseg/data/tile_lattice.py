"""The lattice of equal tiles on a raster: which tiles have labels, and which pixels lie in validation tiles.

In: the size of a raster, and its cells with labels. Out: windows. Unlike the windows of a prediction
(`geo/grid.py`), whose sides differ by a stride so that none overlaps more than asked, all tiles have the same side: the
last of a row or column is pulled back onto the edge. Reads nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.data.class_statistics import CELL_PX
from geoseg.geo.crs import crs_number
from geoseg.geo.georef import Box, PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask


@dataclass(frozen=True)
class TileLattice:
    """Size and overlap of the tiles of a raster."""

    size: int
    """Side of a tile in pixels."""
    overlap: int
    """Pixels shared by neighbouring tiles."""

    def starts(self, length: int) -> NDArray[np.int64]:
        """First pixel of each tile along an axis of so many pixels; the last tile ends on the edge."""
        last = max(0, length - self.size)
        return np.append(np.arange(0, last, self.size - self.overlap), last)

    def windows(self, height: int, width: int, cells: NDArray[np.int64]) -> list[Window]:
        """Tiles, row by row, that meet a cell with labels, given by the first row and column of each cell (N, 2)."""
        rows, cols = self.starts(height), self.starts(width)
        (top, bottom), (left, right) = self._meeting(rows, cells[:, 0]), self._meeting(cols, cells[:, 1])
        # Each cell meets a rectangle of tiles: four corners whose running sums count the cells of every tile.
        met = np.zeros((len(rows) + 1, len(cols) + 1), np.int64)
        for i, j, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
            np.add.at(met, (i, j), sign)
        found = np.argwhere(met.cumsum(axis=0).cumsum(axis=1) > 0)
        return [Window(int(rows[i]), int(cols[j]), self.size, self.size).clip(height, width) for i, j in found]

    def _meeting(self, starts: NDArray[np.int64], cells: NDArray[np.int64]) -> tuple[NDArray[np.intp], ...]:
        """First and last-plus-one tile that meets each cell, along one axis."""
        first = np.searchsorted(starts + self.size, cells, side="right")
        return first, np.searchsorted(starts, cells + CELL_PX, side="left")


class ScoredArea:
    """The area of all validation and test tiles: labels of training tiles are masked there."""

    def __init__(self, grids: Iterable[PixelGrid]):
        self._systems: list[Any] = []
        boxes: dict[int, list[Box]] = {}
        for grid in grids:
            if grid.is_georeferenced:
                boxes.setdefault(crs_number(grid.crs, self._systems), []).append(grid.box(_everything(grid)))
        self._boxes = boxes
        self._trees = {system: shapely.STRtree(shapely.box(*np.array(found).T)) for system, found in boxes.items()}

    def mask(self, grid: PixelGrid) -> Mask:
        """Which pixels (h, w) of a tile lie in the area; only tiles with equal coordinate systems are compared."""
        mask = np.zeros((grid.height, grid.width), bool)
        system = crs_number(grid.crs, [*self._systems]) if grid.is_georeferenced else len(self._systems)
        if system in self._trees:
            for index in self._trees[system].query(shapely.box(*grid.box(_everything(grid)))):
                found = grid.window_of(self._boxes[system][index])
                mask[found.clip(grid.height, grid.width).slices] = True
        return mask


def _everything(grid: PixelGrid) -> Window:
    return Window(0, 0, grid.height, grid.width)
