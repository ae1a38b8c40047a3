"""Area of interest: the part of a raster to be processed. In: a vector file or a box. Out: a window and a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from geoseg.core.errors import SpecError
from geoseg.geo.antimeridian import shifts_onto
from geoseg.geo.geodesy import x_period
from geoseg.geo.georef import Box, PixelGrid
from geoseg.geo.grid import Window


@dataclass(frozen=True)
class Area:
    """Area of interest of a raster."""

    window: Window
    """Its bounding box, in pixels of the raster."""
    shape: Any = None
    """Polygons in pixel coordinates (x = column, y = row) of the raster; None for all of the window."""

    def mask(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels (h, w) of a window of the raster have their centre in the area."""
        size = window.height, window.width
        box = shapely.box(window.col, window.row, window.col + window.width, window.row + window.height)
        if self.shape is None or shapely.contains(self.shape, box):
            return np.ones(size, bool)
        if not shapely.intersects(self.shape, box):
            return np.zeros(size, bool)
        part = shapely.clip_by_rect(self.shape, *shapely.bounds(shapely.buffer(box, 1)))
        burnt: NDArray[np.uint8] = rasterize(
            [part], out_shape=size, transform=Affine.translation(window.col, window.row), dtype="uint8"
        )
        return burnt > 0


def find_area(
    grid: PixelGrid, aoi: Path | None, bbox: tuple[float, float, float, float] | None, name: str
) -> Area | None:
    """The area of interest in pixels of a raster; None if neither `aoi` nor `bbox` is given.

    Longitudes may differ from the raster's by multiples of 360°: -90 is found where the raster has 270.

    Args:
        grid: grid of the raster.
        aoi: vector file with polygons in any CRS; FILE|layername=NAME names one of its layers.
        bbox: left, bottom, right and top in the raster's CRS.
        name: name of the raster in errors.

    Raises:
        SpecError: if the area cannot be read or reprojected, or lies off the raster.
    """
    if aoi is None and bbox is None:
        return None
    if not grid.is_georeferenced:
        raise SpecError(f"{name} has no coordinates: leave out {'bbox' if aoi is None else 'aoi'}")
    found = _boxed_area(grid, Box(*bbox)) if bbox is not None else _drawn_area(grid, aoi)
    if found is None:
        raise SpecError(f"{aoi or 'bbox'} lies off {name}, which covers {grid.extent}: check its coordinates")
    return found


def _boxed_area(grid: PixelGrid, bbox: Box) -> Area | None:
    """The pixels that a box meets, wrapped onto the raster; None if there are none."""
    period = x_period(grid.crs, grid.bounds)
    boxes = [bbox.shift(k * (period or 0)) for k in shifts_onto(bbox, grid.bounds, period)]
    windows = [grid.window_of(box).clip(grid.height, grid.width) for box in boxes]
    found = {window for window in windows if window.pixels}
    if len(found) < 2:
        return Area(found.pop()) if found else None
    shape = shapely.union_all([shapely.box(w.col, w.row, w.col + w.width, w.row + w.height) for w in found])
    shapely.prepare(shape)
    return Area(_window_around(shape, grid), shape)


def _drawn_area(grid: PixelGrid, aoi: Path | None) -> Area | None:
    """The pixels that polygons meet; None if there are none."""
    from geoseg.geo.drawn_area import read_aoi  # imports pyogrio and pyarrow, which takes half a second

    assert aoi is not None  # one of the two is given
    shape = read_aoi(aoi, grid)
    shapely.prepare(shape)
    window = _window_around(shape, grid)
    return Area(window, shape) if window.pixels else None


def _window_around(shape: Any, grid: PixelGrid) -> Window:
    """Smallest window of a raster around a shape in pixel coordinates; empty if the shape is or lies elsewhere."""
    if shape.is_empty:
        return Window(0, 0, 0, 0)
    low_x, low_y, high_x, high_y = shapely.bounds(shape)
    left, top, right, bottom = math.floor(low_x), math.floor(low_y), math.ceil(high_x), math.ceil(high_y)
    return Window(top, left, bottom - top, right - left).clip(grid.height, grid.width)
