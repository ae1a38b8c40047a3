"""Area of interest that a file draws: its polygons, in pixels of a raster. In: a vector file, a raster's grid."""

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
from geoseg.geo.antimeridian import turned
from geoseg.geo.crs import crs_name, is_way, same_plane
from geoseg.geo.geodesy import whole_turn
from geoseg.geo.georef import Box, PixelGrid
from geoseg.geo.layer_paths import LAYER, split_layer
from geoseg.geo.reproject import Projection
from geoseg.geo.vector_files import Polygons, VectorError, polygon_layers, polygonal, read_polygons

EDGE_PARTS = 64
"""As many pieces as an edge as long as the raster is cut into before it is bent into another CRS."""


def read_shape(aoi: Path, grid: PixelGrid) -> Any:
    """All polygons of a layer as one, in pixels of a raster; without what lies far from it.

    Raises:
        SpecError: if they cannot be read, or cannot be placed.
    """
    return _to_pixels(_read_shape(aoi, grid), grid)


def _read_shape(aoi: Path, grid: PixelGrid) -> Any:
    """All polygons of a layer as one, in the raster's CRS and turn; without what lies far from the raster."""
    try:
        polygons = _read_polygons(aoi)
    except VectorError as error:
        raise SpecError(f"cannot read aoi {aoi}: {error}") from None
    if not shapely.area(polygons.shapes).any():
        raise SpecError(f"aoi {aoi} holds no polygon: give a file with polygons")
    if polygons.crs and grid.crs and not is_way(polygons.crs, grid.crs):
        raise SpecError(
            f"aoi {aoi} cannot be brought from {crs_name(polygons.crs)} into the raster's {crs_name(grid.crs)}: "
            "give it in the raster's coordinates"
        )
    if not polygons.crs and grid.crs:
        raise SpecError(f"aoi {aoi} does not say in which coordinate system it is: assign one (ogr2ogr -a_srs)")
    try:
        shape = shapely.union_all(polygons.shapes)
        if polygons.crs and grid.crs and not same_plane(polygons.crs, grid.crs):
            shape = _moved(shape, CRS.from_user_input(polygons.crs), CRS.from_user_input(grid.crs), grid)
        if np.isfinite(shapely.get_coordinates(shape)).all():
            copies, _ = turned(np.array([shape], object), grid.bounds, whole_turn(grid.crs, grid.bounds))
            shape = shapely.union_all(copies)
    except (ProjError, GEOSException) as error:
        raise SpecError(f"aoi {aoi} cannot be brought into the raster's CRS: {one_line(error)}") from None
    if shape.is_empty or not np.isfinite(shapely.bounds(shape)).all():
        raise SpecError(f"{aoi} lies off the raster, which covers {grid.extent}: check the coordinates of both")
    return shape


def _read_polygons(aoi: Path) -> Polygons:
    """All polygons of the only layer of a file, or of the one that is named behind it.

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


def _moved(shape: Any, source: CRS, target: CRS, grid: PixelGrid) -> Any:
    """A shape in another CRS, cut to the surroundings of the raster first: the rest may have no place there."""
    outline = _outline_in(source, target, grid)
    if outline is None:
        shape, box, side = _unbounded(shape, Projection(target, source, grid.bounds, None))
        way = Projection(source, target, box, None)
    else:
        west, south, east, north = shapely.bounds(outline)
        box, side = Box(west, south, east, north), math.sqrt(outline.area)
        copies, _ = turned(np.array([shape], object), box, whole_turn(source, box))
        shape = shapely.intersection(shapely.union_all(copies), shapely.buffer(outline, 0.05 * side))
        way = Projection(source, target, box, whole_turn(target, grid.bounds))
    if shape.is_empty:
        return shape
    moved = shapely.transform(shapely.segmentize(shape, side / EDGE_PARTS), lambda xy: way.lead_on(xy, way.plain(xy)))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        return moved
    return polygonal(np.array([shapely.make_valid(moved)], object))[0]


def _unbounded(shape: Any, way: Projection) -> tuple[Any, Box, float]:
    """A shape in whose CRS the raster has no outline, cut to its latitudes at least; its box, and its larger side."""
    south, north = way.reach.bottom, way.reach.top
    west, low, east, high = shapely.bounds(shape)
    if way.target.is_geographic and math.isfinite(south):
        pad = 0.05 * (north - south)
        shape = polygonal(np.array([shapely.clip_by_rect(shape, west, south - pad, east, north + pad)], object))[0]
    return shape, Box(west, low, east, high), max(east - west, high - low)


def _outline_in(source: CRS, target: CRS, grid: PixelGrid) -> Any:
    """Outline of a raster of the CRS `target` in the CRS `source`; None if it has none there, or lies round a pole."""
    piece = grid.step * max(grid.height, grid.width) / EDGE_PARTS
    whole = shapely.segmentize(shapely.box(*grid.bounds), piece)
    reach = Projection(target, source, grid.bounds, None).reach
    way = Projection(target, source, grid.bounds, whole_turn(source, reach) if math.isfinite(reach.left) else None)
    if way.is_round_pole:
        return None
    outline = shapely.transform(whole, lambda xy: way.lead_on(xy, way.plain(xy)))
    return outline if np.isfinite(shapely.get_coordinates(outline)).all() and shapely.is_valid(outline) else None


def _to_pixels(shape: Any, grid: PixelGrid) -> Any:
    back = ~grid.transform

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy.T
        return np.stack([back.a * x + back.b * y + back.c, back.d * x + back.e * y + back.f], axis=1)

    return shapely.transform(shape, move)
