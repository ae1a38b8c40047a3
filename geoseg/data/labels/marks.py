"""Points, lines and boxes as labels: what of them is of their class, and where those of several classes overlap.

In: shapes on the grid of an image. Out: polygons around points and lines, the inner parts of boxes, and class indexes
(h, w).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.data.labels.placed_polygons import PlacedPolygons
from geoseg.geo.antimeridian import Shapes
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.validity import Mask
from geoseg.spec import IGNORE

STRIP_ROWS = 512
"""Rows that are rasterized at once where pixels are counted."""


@dataclass(frozen=True)
class Marks:
    """Polygons of an image, those of each class together, of which none lies above another."""

    by_class: tuple[PlacedPolygons, ...]
    """The polygons of each class that has some; last those of pixels that are not labelled."""

    @classmethod
    def of(cls, placed: PlacedPolygons) -> Self:
        """Sort polygons by class."""
        return cls(tuple(placed.only(placed.indexes == index) for index in np.unique(placed.indexes)))

    def burn(self, window: Window, onto: NDArray[np.uint8]) -> None:
        """Write the class of the polygons that hold a pixel's centre into the class indexes (h, w) of a window.

        Where polygons of several classes do, the pixel is not labelled.
        """
        for polygons in self.by_class:
            polygons.burn(window, onto)
        onto[self.several(window)] = IGNORE

    def several(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window lie in polygons of several classes."""
        nothing = np.zeros((window.height, window.width), np.uint8)
        masks = [one.mask(window) for one in self.by_class if one.indexes[0] != IGNORE and len(one.within(window))]
        several: Mask = reduce(np.add, masks, nothing) > 1
        return several

    def count_several(self) -> int:
        """Number of pixels of the image that lie in polygons of several classes."""
        if len(self.by_class) < 2:
            return 0
        grid = self.by_class[0].grid
        strips = Window(0, 0, grid.height, grid.width).bands(STRIP_ROWS)
        return sum(int(self.several(strip).sum()) for strip in strips)


def around(shapes: Shapes, grid: PixelGrid, radius_px: float) -> Shapes:
    """The pixels within a radius of points and lines (N,) in the CRS of an image, as polygons (N,)."""
    wide = shapely.buffer(_moved(shapes, ~grid.transform), radius_px)
    return _moved(wide, grid.transform)


def inner_parts(boxes: Shapes, rim: float) -> Shapes:
    """Single boxes (N,) about the same centres, less a share of their width and height on each side."""
    xy, owners = shapely.get_coordinates(boxes, return_index=True)
    centres = shapely.get_coordinates(shapely.centroid(boxes))[owners]
    shrunk: Shapes = shapely.set_coordinates(boxes.copy(), centres + (1 - 2 * rim) * (xy - centres))
    return shrunk


def large_first(boxes: Shapes) -> NDArray[np.intp]:
    """Indexes that sort boxes (N,) by area, the smallest last."""
    order: NDArray[np.intp] = np.argsort(-shapely.area(boxes), kind="stable")
    return order


def _moved(shapes: Shapes, transform: Affine) -> Shapes:
    a, b, x, d, e, y = transform[:6]
    turned, origin = np.array([[a, d], [b, e]]), np.array([x, y])
    return np.asarray(shapely.transform(shapes, lambda xy: xy @ turned + origin), object)
