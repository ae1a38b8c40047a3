"""Outlines of windows of rasters, and points in them, on one map.

In: grids of rasters, windows, positions in pixels. Out: shapes in the coordinate system of all rasters, or in longitude
and latitude if they have several.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.geo.crs import map_crs, same_horizontal_crs
from geoseg.geo.geodesy import to_crs
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.geo.reproject import projection_of

DEGREES = CRS.from_epsg(4326)
"""The system of maps whose rasters have several."""


def common_crs(systems: Sequence[Any]) -> CRS:
    """The coordinate system that all rasters have, without heights; else longitude and latitude."""
    found = map_crs(systems[0])
    is_one = all(same_horizontal_crs(system, systems[0]) for system in systems)
    return found if is_one and found is not None else DEGREES


def outline(grid: PixelGrid, window: Window, crs: CRS) -> Any:
    """The polygon around a window of a raster, in a system of `common_crs`; in parts where it crosses 180°."""
    part = grid.part(window)
    corners = np.array([part.xy(*corner) for corner in _corners(part)])
    if same_horizontal_crs(grid.crs, crs):
        return shapely.Polygon(corners)
    projection = projection_of(map_crs(grid.crs), crs, corners)
    moved = np.array([shapely.Polygon(projection.reproject(corners))], object)
    return (projection.split(moved) if projection.crosses_180 else moved)[0]


def _corners(part: PixelGrid) -> list[tuple[int, int]]:
    return [(0, 0), (0, part.height), (part.width, part.height), (part.width, 0)]


def points_at(grid: PixelGrid, columns: NDArray[np.float64], rows: NDArray[np.float64], crs: CRS) -> list[Any]:
    """Points at positions in pixels (P,) of a raster, in a system of `common_crs`."""
    xy = to_crs(grid.transform, columns, rows)
    if not same_horizontal_crs(grid.crs, crs):
        xy = projection_of(map_crs(grid.crs), crs, to_crs(grid.transform, *_extent(grid))).reproject(xy)
    return [*np.atleast_1d(np.asarray(shapely.points(xy), object))]


def _extent(grid: PixelGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows of a raster's corners."""
    columns, rows = np.array(_corners(grid), np.float64).T
    return columns, rows
