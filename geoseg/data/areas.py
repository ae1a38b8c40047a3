"""Areas of a raster: unions of windows, and unions of polygons, as masks of its pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.geo.antimeridian import Shapes
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask


class Area(Protocol):
    """A part of a raster's pixels."""

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window lie in it."""
        ...


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
class JoinedAreas:
    """The union of several areas of one raster."""

    parts: tuple[Area, ...]
    """The areas, at least one."""

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window lie in one of them."""
        found: Mask = np.logical_or.reduce([part.mask(window) for part in self.parts])
        return found


@dataclass(frozen=True)
class PolygonArea:
    """The union of N polygons, of which a pixel is part if its centre is, as labels are rasterized."""

    shapes: Shapes
    """The polygons (N,), in the coordinates to which `transform` leads."""
    transform: Affine
    """From column and row to these coordinates."""

    @classmethod
    def around(cls, shapes: Shapes, grid: PixelGrid, reach_px: float) -> PolygonArea:
        """The area within some pixels of polygons (N,), which are in a grid's coordinate system."""
        back = ~grid.transform

        def to_pixels(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = xy.T
            return np.stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f], axis=1)

        in_pixels = shapely.transform(shapes, to_pixels)
        return cls(shapely.buffer(in_pixels, reach_px) if reach_px else in_pixels, Affine.identity())

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window lie in one of the polygons."""
        mask = np.zeros((window.height, window.width), np.uint8)
        box = PixelGrid(window.height, window.width, self.transform, None).box(window)
        near = self.shapes[self._tree.query(shapely.box(*box))]
        found = [(shape, 1) for shape in near if shape]
        if found and window.pixels:
            rasterize(found, out=mask, transform=self.transform @ Affine.translation(window.col, window.row))
        return mask.astype(bool)
