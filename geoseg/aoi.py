"""Area of interest: the part of a raster that is worked on. In: a vector file or a box. Out: a window, and a mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyogrio.errors import DataSourceError
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError
from rasterio.features import rasterize
from shapely.errors import GEOSException

from geoseg.errors import SpecError
from geoseg.files import one_line
from geoseg.georef import Box, PixelGrid
from geoseg.grid import Window

EDGE_PARTS = 64
"""As many pieces as an edge as long as the raster is cut into before it is bent into another CRS."""


@dataclass(frozen=True)
class Area:
    """Part of a raster."""

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


def find_area(grid: PixelGrid, aoi: Path | None, bbox: Box | None, name: str) -> Area | None:
    """The area of interest in pixels of a raster; None if there is none.

    Args:
        grid: the raster's.
        aoi: vector file with polygons in any CRS.
        bbox: left, bottom, right and top in the raster's CRS.
        name: what the raster is called in errors.

    Raises:
        SpecError: if the area cannot be read, cannot be placed, or lies off the raster.
    """
    if aoi is None and bbox is None:
        return None
    if not grid.is_placed:
        raise SpecError(f"{name} has no coordinates: leave out {'bbox' if aoi is None else 'aoi'}")
    shape = None if aoi is None else _to_pixels(_read_shape(aoi, grid), grid)
    shapely.prepare(shape)
    left, top, right, bottom = _bounds(shape, grid, bbox)
    found = Window(top, left, bottom - top, right - left).clip(grid.height, grid.width)
    if not found.pixels:
        raise SpecError(f"{aoi or 'bbox'} lies off {name}, which covers {_extent(grid)}: check its coordinates")
    return Area(found, shape)


def _bounds(shape: Any, grid: PixelGrid, bbox: Box | None) -> tuple[int, int, int, int]:
    """First column and row, last-plus-one column and row of the pixels that an area meets."""
    if bbox is not None:
        window = grid.window_of(bbox)
        return window.col, window.row, window.col + window.width, window.row + window.height
    low_x, low_y, high_x, high_y = shapely.bounds(shape)
    return int(np.floor(low_x)), int(np.floor(low_y)), int(np.ceil(high_x)), int(np.ceil(high_y))


def _read_shape(aoi: Path, grid: PixelGrid) -> Any:
    """All polygons of a file as one, in the raster's CRS; without what lies far from the raster."""
    try:
        frame = geopandas.read_file(aoi)
    except (DataSourceError, OSError, ValueError) as error:
        raise SpecError(f"cannot read aoi {aoi}: {one_line(error)}: give a vector file with polygons") from None
    if not isinstance(frame, geopandas.GeoDataFrame):
        raise SpecError(f"aoi {aoi} has no geometry: give a file with polygons")
    frame = frame[frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    if frame.empty or not shapely.area(frame.geometry.to_numpy()).any():
        raise SpecError(f"aoi {aoi} holds no polygon: give a file with polygons")
    try:
        shape = shapely.union_all(shapely.make_valid(frame.geometry.to_numpy()))
        if frame.crs is not None and grid.crs is not None and frame.crs != grid.crs.to_wkt():
            shape = _moved(shape, CRS(frame.crs), CRS(grid.crs.to_wkt()), grid)
    except (ProjError, GEOSException) as error:
        raise SpecError(f"aoi {aoi} cannot be brought into the raster's CRS: {one_line(error)}") from None
    if shape.is_empty or not np.isfinite(shapely.bounds(shape)).all():
        raise SpecError(f"{aoi} lies off the raster, which covers {_extent(grid)}: check the coordinates of both")
    return shape


def _moved(shape: Any, source: CRS, target: CRS, grid: PixelGrid) -> Any:
    """A shape in another CRS, cut to the surroundings of the raster first: the rest may have no place there."""
    piece = grid.step * max(grid.height, grid.width) / EDGE_PARTS
    whole = shapely.segmentize(shapely.box(*grid.box(Window(0, 0, grid.height, grid.width))), piece)
    outline = shapely.transform(whole, _transformation(target, source))
    if np.isfinite(shapely.get_coordinates(outline)).all() and shapely.is_valid(outline):
        side = math.sqrt(outline.area)
        shape = shapely.intersection(shape, shapely.buffer(outline, 0.05 * side))
        if shape.is_empty:
            return shape
        shape = shapely.segmentize(shape, side / EDGE_PARTS)
    return shapely.transform(shape, _transformation(source, target))


def _transformation(source: CRS, target: CRS) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    transformer = Transformer.from_crs(source, target, always_xy=True)
    return lambda xy: np.stack(transformer.transform(*xy.T), axis=1)


def _to_pixels(shape: Any, grid: PixelGrid) -> Any:
    back = ~grid.transform

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        return np.stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f], axis=1)

    return shapely.transform(shape, move)


def _extent(grid: PixelGrid) -> str:
    box = grid.box(Window(0, 0, grid.height, grid.width))
    return ", ".join(f"{value:.10g}" for value in box)
