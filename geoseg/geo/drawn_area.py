"""Area of interest from the polygons of a file. In: a vector file, a raster's grid. Out: polygons in its pixels."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError
from shapely.errors import GEOSException

from geoseg.core.errors import SpecError
from geoseg.core.files import one_line
from geoseg.geo.antimeridian import wrapped_onto
from geoseg.geo.crs import can_transform, crs_name, same_horizontal_crs
from geoseg.geo.geodesy import x_period
from geoseg.geo.georef import Box, PixelGrid
from geoseg.geo.layer_paths import LAYER, split_layer
from geoseg.geo.polygonal import polygonal
from geoseg.geo.reproject import Projection
from geoseg.geo.vector_files import Polygons, VectorError, polygon_layers, read_polygons

EDGE_PARTS = 64
"""Parts into which an edge as long as the raster is divided before it is reprojected, which bends it."""


class OffRasterError(SpecError):
    """Polygons lie off a raster."""


def read_aoi(aoi: Path, grid: PixelGrid) -> Any:
    """The union of all polygons of a layer, in pixel coordinates of a raster; without parts far from it.

    Raises:
        OffRasterError: if they do not lie on the raster.
        SpecError: if they cannot be read or reprojected.
    """
    return _to_pixels(_read_union(aoi, grid), grid)


def _read_union(aoi: Path, grid: PixelGrid) -> Any:
    """The union of all polygons of a layer in the raster's CRS, wrapped onto the raster; without parts far from it."""
    try:
        polygons = _read_polygons(aoi)
    except VectorError as error:
        raise SpecError(f"cannot read aoi {aoi}: {error}") from None
    if not shapely.area(polygons.shapes).any():
        raise SpecError(f"aoi {aoi} holds no polygon: give a file with polygons")
    if polygons.crs and grid.crs and not can_transform(polygons.crs, grid.crs):
        raise SpecError(
            f"aoi {aoi} cannot be reprojected from {crs_name(polygons.crs)} to the raster's {crs_name(grid.crs)}: "
            "give it in the raster's coordinates"
        )
    if not polygons.crs and grid.crs:
        raise SpecError(f"aoi {aoi} does not say in which coordinate system it is: assign one (ogr2ogr -a_srs)")
    try:
        shape = shapely.union_all(polygons.shapes)
        if polygons.crs and grid.crs and not same_horizontal_crs(polygons.crs, grid.crs):
            shape = _reprojected(shape, CRS.from_user_input(polygons.crs), CRS.from_user_input(grid.crs), grid)
        if np.isfinite(shapely.get_coordinates(shape)).all():
            copies, _ = wrapped_onto(np.array([shape], object), grid.bounds, x_period(grid.crs, grid.bounds))
            shape = shapely.union_all(copies)
    except (ProjError, GEOSException) as error:
        raise SpecError(f"aoi {aoi} cannot be reprojected to the raster's CRS: {one_line(error)}") from None
    if shape.is_empty or not np.isfinite(shapely.bounds(shape)).all():
        raise OffRasterError(f"{aoi} lies off the raster, which covers {grid.extent}: check the coordinates of both")
    return shape


def _read_polygons(aoi: Path) -> Polygons:
    """All polygons of the only layer of a file, or of the one that its path names.

    Raises:
        VectorError: if they cannot be read, or it is not clear which layer is meant.
    """
    path, layer = split_layer(aoi)
    if os.path.isdir(path) and path.suffix.lower() != ".gdb":
        raise VectorError("it is a folder: give a vector file with polygons")
    layers = polygon_layers(path)
    if layer is not None and layer not in layers:
        raise VectorError(f"there is no layer {layer}, only {', '.join(layers) or 'none with geometry'}")
    if layer is None and len(layers) > 1:
        raise VectorError(f"it has the layers {', '.join(layers)}: name one, e.g. '{path}{LAYER}{layers[0]}'")
    if not layers:
        raise VectorError("it holds no geometry: give a vector file with polygons")
    return read_polygons(path, layer or layers[0], None, None)


def _reprojected(shape: Any, source: CRS, target: CRS, grid: PixelGrid) -> Any:
    """A shape in another CRS, clipped to the surroundings of the raster first: the rest may not be transformable."""
    outline = _outline_in(source, target, grid)
    if outline is None:
        shape, box, side = _unbounded(shape, Projection(target, source, grid.bounds, None))
        projection = Projection(source, target, box, None)
    else:
        west, south, east, north = shapely.bounds(outline)
        box, side = Box(west, south, east, north), math.sqrt(outline.area)
        copies, _ = wrapped_onto(np.array([shape], object), box, x_period(source, box))
        shape = shapely.intersection(shapely.union_all(copies), shapely.buffer(outline, 0.05 * side))
        projection = Projection(source, target, box, x_period(target, grid.bounds))
    if shape.is_empty:
        return shape
    moved = shapely.transform(shapely.segmentize(shape, side / EDGE_PARTS), lambda xy: projection.unwrapped(xy))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        return moved
    return polygonal(np.array([shapely.make_valid(moved)], object))[0]


def _unbounded(shape: Any, projection: Projection) -> tuple[Any, Box, float]:
    """A shape in whose CRS the raster has no outline, clipped to the raster's latitudes; its box and longer side."""
    south, north = projection.target_bounds.bottom, projection.target_bounds.top
    west, low, east, high = shapely.bounds(shape)
    if projection.target.is_geographic and math.isfinite(south):
        pad = 0.05 * (north - south)
        shape = polygonal(np.array([shapely.clip_by_rect(shape, west, south - pad, east, north + pad)], object))[0]
    return shape, Box(west, low, east, high), max(east - west, high - low)


def _outline_in(source: CRS, target: CRS, grid: PixelGrid) -> Any:
    """Outline in the CRS `source` of a raster in the CRS `target`; None if it has none there, or a pole lies in it."""
    piece = grid.step * max(grid.height, grid.width) / EDGE_PARTS
    whole = shapely.segmentize(shapely.box(*grid.bounds), piece)
    bounds = Projection(target, source, grid.bounds, None).target_bounds
    projection = Projection(
        target, source, grid.bounds, x_period(source, bounds) if math.isfinite(bounds.left) else None
    )
    if projection.contains_pole:
        return None
    outline = shapely.transform(whole, lambda xy: projection.unwrapped(xy))
    return outline if np.isfinite(shapely.get_coordinates(outline)).all() and shapely.is_valid(outline) else None


def _to_pixels(shape: Any, grid: PixelGrid) -> Any:
    back = ~grid.transform

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        return np.stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f], axis=1)

    return shapely.transform(shape, move)
