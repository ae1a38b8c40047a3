"""Polygons, points and lines of vector files on the pixel grid of an image: found, reprojected, and, of polygons,
rasterized window by window.

In: shapes in any coordinate system, and the grid of an image. Out: single shapes in the image's system, and class
indexes (h, w).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.crs import CRS as RasterioCRS
from rasterio.errors import CRSError
from rasterio.features import rasterize

from geoseg.geo.antimeridian import Shapes, shifts_onto, wrapped_onto
from geoseg.geo.crs import same_horizontal_crs
from geoseg.geo.geodesy import x_period
from geoseg.geo.georef import Box, PixelGrid, grow, reproject_box
from geoseg.geo.grid import Window
from geoseg.geo.reproject import Projection

LARGE = 1000
"""Polygons of more vertices are clipped to a window before they are rasterized: GDAL takes 2 µs per vertex."""


@dataclass(frozen=True)
class PlacedPolygons:
    """Single polygons (M,) in the coordinate system of an image, each with a class index."""

    shapes: Shapes
    """The polygons (M,), in their order in the file."""
    indexes: NDArray[np.uint8]
    """Class index of each (M,); IGNORE where pixels are not labelled."""
    grid: PixelGrid
    """Grid of the image."""

    @cached_property
    def _are_large(self) -> NDArray[np.bool_]:
        large: NDArray[np.bool_] = shapely.get_num_coordinates(self.shapes) > LARGE
        return large

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    def within(self, window: Window) -> NDArray[np.intp]:
        """Indexes of the polygons whose bounding boxes meet that of a window, in the file's order."""
        return np.sort(self._tree.query(shapely.box(*self.grid.box(window))))

    def only(self, chosen: NDArray[np.bool_]) -> PlacedPolygons:
        """Those polygons where a mask (M,) is true."""
        return PlacedPolygons(self.shapes[chosen], self.indexes[chosen], self.grid)

    def burn(self, window: Window, onto: NDArray[np.uint8]) -> None:
        """Write the index of the last polygon that holds a pixel's centre into the class indexes (h, w) of a window."""
        self._burn(window, self.indexes, onto)

    def mask(self, window: Window) -> NDArray[np.uint8]:
        """1 for the pixels (h, w) of a window whose centres lie in a polygon, 0 for the others."""
        found = np.zeros((window.height, window.width), np.uint8)
        self._burn(window, np.ones(len(self.shapes), np.uint8), found)
        return found

    def _burn(self, window: Window, values: NDArray[np.uint8], onto: NDArray[np.uint8]) -> None:
        """Write the value (M,) of the last polygon that holds a pixel's centre into an array (h, w)."""
        found = self.within(window)
        shapes, large = self.shapes[found], self._are_large[found]
        shapes[large] = shapely.clip_by_rect(shapes[large], *self.grid.box(grow(window, 2)))
        pairs = [(shape, int(value)) for shape, value in zip(shapes, values[found], strict=True) if shape]
        if pairs:
            rasterize(pairs, out=onto, transform=self.grid.part(window).transform)


def _box_in(grid: PixelGrid, crs: Any, margin: float, reach_px: float = 0.0) -> Box | None:
    """Bounding box of an image in another CRS, wider by some pixels, one more, and a share of its side; None if it has
    none."""
    wider_px = 1 + int(margin * max(grid.height, grid.width)) + math.ceil(reach_px)
    around = grow(Window(0, 0, grid.height, grid.width), wider_px)
    try:
        return reproject_box(grid.box(around), grid.crs, RasterioCRS.from_user_input(crs), past_180=True)
    except CRSError:
        return None


def boxes_near(grid: PixelGrid, crs: Any, extent: Box | None, reach_px: float = 0.0) -> list[Box] | None:
    """Boxes in which the shapes of an image may lie in their CRS, one per period of x; None if anywhere.

    They are wider than the image by the reach of a shape, in pixels.
    """
    box = _box_in(grid, crs, 0.01, reach_px)
    if box is None:
        return None
    period = x_period(crs, box)
    return [box.shift(k * (period or 0)) for k in shifts_onto(box, extent, period)]


def parts_near(shapes: Shapes, crs: Any, grid: PixelGrid, reach_px: float = 0.0) -> tuple[Shapes, NDArray[np.intp]]:
    """Single parts (M,) of shapes (N,), in the CRS of an image, and the index of the shape that each belongs to (M,).

    What lies far from the image is clipped first: its coordinates may not be transformable.

    Args:
        shapes: polygons, or single points and lines.
        crs: their coordinate system.
        grid: grid of the image.
        reach_px: how far beyond the image shapes count, in pixels.
    """
    is_same = same_horizontal_crs(crs, grid.crs)
    box = _box_in(grid, crs, 0.01 if is_same else 1.0, reach_px)
    near, owners = shapes, np.arange(len(shapes))
    if box is not None:
        near, owners = wrapped_onto(near, box, x_period(crs, box))
        near = shapely.clip_by_rect(near, *box)
    parts, inner = single_parts(near)
    owners = owners[inner]
    if not is_same:
        parts, inner = _on_image(parts, crs, grid, reach_px)
        owners = owners[inner]
    # A polygon that touches the clipping box leaves lines and points there.
    kept = shapely.get_dimensions(parts) == shapely.get_dimensions(shapes)[owners]
    kept &= np.isfinite(shapely.bounds(parts)).all(axis=1)
    return parts[kept], owners[kept]


def shapes_on(shapes: Shapes, crs: Any, grid: PixelGrid) -> Shapes:
    """Polygons (N,) in the coordinate system of an image, given in another or the same one."""
    if same_horizontal_crs(crs, grid.crs):
        return shapes
    moved, _ = _on_image(shapes, crs, grid)
    kept: Shapes = moved[np.isfinite(shapely.bounds(moved)).all(axis=1)]
    return kept


def single_parts(shapes: Shapes) -> tuple[Shapes, NDArray[np.intp]]:
    """Single parts (M,), also of collections of multipolygons, and the index of the shape that each belongs to (M,)."""
    collections, owners = shapely.get_parts(shapes, return_index=True)
    parts, numbers = shapely.get_parts(collections, return_index=True)
    return parts, owners[numbers]


def _on_image(shapes: Shapes, crs: Any, grid: PixelGrid, reach_px: float = 0.0) -> tuple[Shapes, NDArray[np.intp]]:
    """Shapes in the CRS of an image, wrapped onto it, and the index of the shape that each is a copy of."""
    here = grid.box(grow(Window(0, 0, grid.height, grid.width), math.ceil(reach_px)))
    period = x_period(grid.crs, here)
    within = _box_in(grid, crs, 0.01, reach_px) or here
    wide = _box_in(grid, crs, 1.0, reach_px) or within
    box = Box(wide.left, within.bottom, wide.right, within.top)
    projection = Projection(CRS.from_user_input(crs), CRS.from_user_input(grid.crs), box, period)
    moved = np.asarray(shapely.transform(shapes, lambda xy: projection.unwrapped(xy)), object)
    return wrapped_onto(moved, here, period)


def text_of(value: Any) -> str:
    """A value of a column as text: "" for null; whole numbers without the .0 that vector formats give them."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
