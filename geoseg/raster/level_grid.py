"""Geometry of one context level over a scene: the coarser raster, and the views of it that windows get.

In: the size of a scene and a ContextLevel. Out: the size of the level's raster, the view of it that a window gets, and
the position of the window in the view. Integers and ratios only: reads nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from geoseg.geo.grid import Window
from geoseg.raster.averaging import Edges
from geoseg.spec import ContextLevel

SCENE_LEAST_RATIO = 4
"""Smallest ratio at which a whole scene is a view: at a lower one the view of a small scene would cost more than it."""


class ViewBox(NamedTuple):
    """Position of a window in its view, as fractions of the view's width and height from its upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


def super_tile(start: int, stop: int, core: int, origin: int = 0) -> int:
    """Index of the super-tile whose core holds the middle of [start, stop); cores of `core` px begin at `origin`."""
    return (start + stop - 2 * origin) // (2 * core)


@dataclass(frozen=True)
class LevelGrid:
    """The raster of one level over a scene, and the views that are cut from it.

    Super-tiles lie on a lattice of context pixels; their cores, a view without its margins, partition the plane. A
    window gets the super-tile whose core holds its middle, so that neighbouring windows have the same view.
    """

    level: ContextLevel
    height: int
    """Rows of the scene."""
    width: int
    """Columns of the scene."""

    @cached_property
    def rows(self) -> int:
        """Rows of the level's raster."""
        return self._length(self.height)

    @cached_property
    def cols(self) -> int:
        """Columns of the level's raster."""
        return self._length(self.width)

    @property
    def ratio(self) -> tuple[float, float]:
        """Height and width of a context pixel, in pixels of the scene."""
        if self.level.ratio == "scene":
            return self.height / self.rows, self.width / self.cols
        return float(self.level.ratio), float(self.level.ratio)

    def view(self, window: Window, origin: tuple[int, int] = (0, 0)) -> Window:
        """Return the view of a window, in context pixels; it may reach beyond the level's raster.

        Args:
            window: the window to be classified, in pixels of the scene.
            origin: row and column, in context pixels, where the lattice of super-tiles begins.
        """
        size = self.level.size
        if self.level.ratio == "scene":  # in the middle of the view, so that it can be turned with the scene in place
            return Window((self.rows - size) // 2, (self.cols - size) // 2, size, size)
        core, margin, step = self.level.core_px, self.level.margin_px, self.level.core_px * self.level.ratio
        top, left = (part * self.level.ratio for part in origin)
        i = super_tile(window.row, window.row + window.height, step, top)
        j = super_tile(window.col, window.col + window.width, step, left)
        return Window(origin[0] + i * core - margin, origin[1] + j * core - margin, size, size)

    def box(self, window: Window, view: Window) -> ViewBox:
        """Position of a window of the scene in a view."""
        down, right = self.ratio
        top, bottom = (y / down - view.row for y in (window.row, window.row + window.height))
        left, end = (x / right - view.col for x in (window.col, window.col + window.width))
        return ViewBox(left / view.width, top / view.height, end / view.width, bottom / view.height)

    @property
    def whole(self) -> Window:
        """The window of the whole raster of the level."""
        return Window(0, 0, self.rows, self.cols)

    def side(self, pixel: tuple[float, float]) -> tuple[float, float]:
        """Height and width of a context pixel in pixels of a raster, whose own size is given in pixels of the scene."""
        return self.ratio[0] / pixel[0], self.ratio[1] / pixel[1]

    def edges(self, part: Window, pixel: tuple[float, float]) -> tuple[Edges, Edges]:
        """Borders of the rows and columns of context pixels, in pixels of a raster; `pixel` as in `side`."""
        down, right = self.side(pixel)
        rows, cols = np.arange(part.row, part.row + part.height + 1), np.arange(part.col, part.col + part.width + 1)
        return np.multiply(rows, down, dtype=np.float64), np.multiply(cols, right, dtype=np.float64)

    def _length(self, length: int) -> int:
        if self.level.ratio == "scene":
            ratio = max(max(self.height, self.width) / self.level.size, SCENE_LEAST_RATIO)
            return max(1, round(length / ratio))
        return -(-length // self.level.ratio)
