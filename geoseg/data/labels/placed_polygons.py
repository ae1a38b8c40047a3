"""Polygons of vector files on the pixel grid of an image: found, reprojected, rasterized window by window.

In: polygons in any coordinate system, and the grid of an image. Out: single polygons in the image's system, and class
indexes (h, w).
"""

from __future__ import annotations

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
from shapely import GeometryType

from geoseg.geo.antimeridian import Shapes, shifts_onto, wrapped_onto
from geoseg.geo.crs import same_horizontal_crs
from geoseg.geo.geodesy import x_period
from geoseg.geo.georef import Box, PixelGrid, grow, reproject_box
from geoseg.geo.grid import Window
from geoseg.geo.reproject import Projection
from geoseg.geo.vector_files import Polygons

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

    def burn(self, window: Window, onto: NDArray[np.uint8]) -> None:
        """Write the index of the last polygon that holds a pixel's centre into the class indexes (h, w) of a window."""
        found = self.within(window)
        shapes, large = self.shapes[found], self._are_large[found]
        shapes[large] = shapely.clip_by_rect(shapes[large], *self.grid.box(grow(window, 2)))
        pairs = [(shape, int(index)) for shape, index in zip(shapes, self.indexes[found], strict=True) if shape]
        if pairs:
            rasterize(pairs, out=onto, transform=self.grid.part(window).transform)


def _box_in(grid: PixelGrid, crs: Any, margin: float) -> Box | None:
    """Bounding box of an image in another CRS, wider by a pixel and a share of its side; None if it has none."""
    around = grow(Window(0, 0, grid.height, grid.width), 1 + int(margin * max(grid.height, grid.width)))
    try:
        return reproject_box(grid.box(around), grid.crs, RasterioCRS.from_user_input(crs), past_180=True)
    except CRSError:
        return None


def boxes_near(grid: PixelGrid, crs: Any, extent: Box | None) -> list[Box] | None:
    """Boxes in which the polygons of an image may lie in their CRS, one per period of x; None if anywhere."""
    box = _box_in(grid, crs, 0.01)
    if box is None:
        return None
    period = x_period(crs, box)
    return [box.shift(k * (period or 0)) for k in shifts_onto(box, extent, period)]


def parts_near(polygons: Polygons, grid: PixelGrid) -> tuple[Shapes, NDArray[np.intp]]:
    """Single parts (M,) of polygons, in the CRS of an image, and the index of the polygon that each belongs to (M,).

    What lies far from the image is clipped first: its coordinates may not be transformable.
    """
    is_same = same_horizontal_crs(polygons.crs, grid.crs)
    box = _box_in(grid, polygons.crs, 0.01 if is_same else 1.0)
    near, owners = polygons.shapes, np.arange(len(polygons.shapes))
    if box is not None:
        near, owners = wrapped_onto(near, box, x_period(polygons.crs, box))
        near = shapely.clip_by_rect(near, *box)
    parts, inner = _single(near)
    owners = owners[inner]
    if not is_same:
        parts, inner = _on_image(parts, polygons.crs, grid)
        owners = owners[inner]
    kept = (shapely.get_type_id(parts) == GeometryType.POLYGON) & np.isfinite(shapely.bounds(parts)).all(axis=1)
    return parts[kept], owners[kept]


def shapes_on(shapes: Shapes, crs: Any, grid: PixelGrid) -> Shapes:
    """Polygons (N,) in the coordinate system of an image, given in another or the same one."""
    if same_horizontal_crs(crs, grid.crs):
        return shapes
    moved, _ = _on_image(shapes, crs, grid)
    kept: Shapes = moved[np.isfinite(shapely.bounds(moved)).all(axis=1)]
    return kept


def _single(shapes: Shapes) -> tuple[Shapes, NDArray[np.intp]]:
    """Single parts (M,), also of collections of multipolygons, and the index of the shape that each belongs to (M,)."""
    collections, owners = shapely.get_parts(shapes, return_index=True)
    parts, numbers = shapely.get_parts(collections, return_index=True)
    return parts, owners[numbers]


def _on_image(shapes: Shapes, crs: Any, grid: PixelGrid) -> tuple[Shapes, NDArray[np.intp]]:
    """Shapes in the CRS of an image, wrapped onto it, and the index of the shape that each is a copy of."""
    here = grid.box(Window(0, 0, grid.height, grid.width))
    period = x_period(grid.crs, here)
    within = _box_in(grid, crs, 0.01) or here
    wide = _box_in(grid, crs, 1.0) or within
    box = Box(wide.left, within.bottom, wide.right, within.top)
    projection = Projection(CRS.from_user_input(crs), CRS.from_user_input(grid.crs), box, period)
    moved = np.asarray(shapely.transform(shapes, lambda xy: projection.unwrapped(xy)), object)
    return wrapped_onto(moved, here, period)


def text_of(value: Any) -> str:
    """A value of a column as text: "" for null; whole numbers without the .0 that vector formats give them."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
