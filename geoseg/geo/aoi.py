"""Area of interest: the part of a raster that is worked on. In: a vector file or a box. Out: a window, and a mask."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import ProjError
from rasterio.features import rasterize
from shapely.errors import GEOSException

from geoseg.core.errors import SpecError
from geoseg.core.files import one_line
from geoseg.geo.antimeridian import shifted, turned, turns_to
from geoseg.geo.crs import crs_name, is_way, same_plane
from geoseg.geo.geodesy import whole_turn
from geoseg.geo.georef import Box, PixelGrid
from geoseg.geo.grid import Window
from geoseg.geo.reproject import Projection
from geoseg.geo.vector_files import Polygons, VectorError, polygon_layers, polygonal, read_polygons

EDGE_PARTS = 64
"""As many pieces as an edge as long as the raster is cut into before it is bent into another CRS."""

LAYER = "|layername="
"""What stands between a file and the name of one of its layers, as QGIS writes it."""


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

    Longitudes may be counted from another turn than the raster's: -90 is found where it says 270.

    Args:
        grid: the raster's.
        aoi: vector file with polygons in any CRS; FILE|layername=NAME names one of its layers.
        bbox: left, bottom, right and top in the raster's CRS.
        name: what the raster is called in errors.

    Raises:
        SpecError: if the area cannot be read, cannot be placed, or lies off the raster.
    """
    if aoi is None and bbox is None:
        return None
    if not grid.is_placed:
        raise SpecError(f"{name} has no coordinates: leave out {'bbox' if aoi is None else 'aoi'}")
    found = _boxed_area(grid, bbox) if bbox is not None else _drawn_area(grid, aoi)
    if found is None:
        raise SpecError(f"{aoi or 'bbox'} lies off {name}, which covers {_extent(grid)}: check its coordinates")
    return found


def _whole(grid: PixelGrid) -> Box:
    return grid.box(Window(0, 0, grid.height, grid.width))


def _boxed_area(grid: PixelGrid, bbox: Box) -> Area | None:
    """The pixels that a box meets, at any turn of longitudes; None if there are none."""
    turn = whole_turn(grid.crs, _whole(grid))
    boxes = [shifted(bbox, k * (turn or 0)) for k in turns_to(bbox, _whole(grid), turn)]
    windows = [grid.window_of(box).clip(grid.height, grid.width) for box in boxes]
    found = {window for window in windows if window.pixels}
    if len(found) < 2:
        return Area(found.pop()) if found else None
    shape = shapely.union_all([shapely.box(w.col, w.row, w.col + w.width, w.row + w.height) for w in found])
    shapely.prepare(shape)
    return Area(_window_around(shape, grid), shape)


def _drawn_area(grid: PixelGrid, aoi: Path | None) -> Area | None:
    """The pixels that polygons meet; None if there are none."""
    assert aoi is not None  # one of the two is given
    shape = _to_pixels(_read_shape(aoi, grid), grid)
    shapely.prepare(shape)
    window = _window_around(shape, grid)
    return Area(window, shape) if window.pixels else None


def _window_around(shape: Any, grid: PixelGrid) -> Window:
    """Smallest window of a raster around a shape in its pixels; empty if the shape is, or lies off the raster."""
    if shape.is_empty:
        return Window(0, 0, 0, 0)
    low_x, low_y, high_x, high_y = shapely.bounds(shape)
    left, top, right, bottom = math.floor(low_x), math.floor(low_y), math.ceil(high_x), math.ceil(high_y)
    return Window(top, left, bottom - top, right - left).clip(grid.height, grid.width)


# ---------------------------------------------------------------------------------------------------------- polygons


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
            copies, _ = turned(np.array([shape], object), _whole(grid), whole_turn(grid.crs, _whole(grid)))
            shape = shapely.union_all(copies)
    except (ProjError, GEOSException) as error:
        raise SpecError(f"aoi {aoi} cannot be brought into the raster's CRS: {one_line(error)}") from None
    if shape.is_empty or not np.isfinite(shapely.bounds(shape)).all():
        raise SpecError(f"{aoi} lies off the raster, which covers {_extent(grid)}: check the coordinates of both")
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


def split_layer(aoi: Path) -> tuple[Path, str | None]:
    """A file, and the layer that is named behind it."""
    path, found, layer = str(aoi).partition(LAYER)
    return (Path(path), layer) if found and not os.path.exists(aoi) else (aoi, None)


def _moved(shape: Any, source: CRS, target: CRS, grid: PixelGrid) -> Any:
    """A shape in another CRS, cut to the surroundings of the raster first: the rest may have no place there."""
    outline = _outline_in(source, target, grid)
    if outline is None:
        shape, box, side = _unbounded(shape, Projection(target, source, _whole(grid), None))
        way = Projection(source, target, box, None)
    else:
        west, south, east, north = shapely.bounds(outline)
        box, side = (west, south, east, north), math.sqrt(outline.area)
        copies, _ = turned(np.array([shape], object), box, whole_turn(source, box))
        shape = shapely.intersection(shapely.union_all(copies), shapely.buffer(outline, 0.05 * side))
        way = Projection(source, target, box, whole_turn(target, _whole(grid)))
    if shape.is_empty:
        return shape
    moved = shapely.transform(shapely.segmentize(shape, side / EDGE_PARTS), lambda xy: way.lead_on(xy, way.plain(xy)))
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        return moved
    return polygonal(np.array([shapely.make_valid(moved)], object))[0]


def _unbounded(shape: Any, way: Projection) -> tuple[Any, Box, float]:
    """A shape in whose CRS the raster has no outline, cut to its latitudes at least; its box, and its larger side."""
    _, south, _, north = way.reach
    west, low, east, high = shapely.bounds(shape)
    if way.target.is_geographic and math.isfinite(south):
        pad = 0.05 * (north - south)
        shape = polygonal(np.array([shapely.clip_by_rect(shape, west, south - pad, east, north + pad)], object))[0]
    return shape, (west, low, east, high), max(east - west, high - low)


def _outline_in(source: CRS, target: CRS, grid: PixelGrid) -> Any:
    """Outline of a raster of the CRS `target` in the CRS `source`; None if it has none there, or lies round a pole."""
    piece = grid.step * max(grid.height, grid.width) / EDGE_PARTS
    whole = shapely.segmentize(shapely.box(*_whole(grid)), piece)
    reach = Projection(target, source, _whole(grid), None).reach
    way = Projection(target, source, _whole(grid), whole_turn(source, reach) if math.isfinite(reach[0]) else None)
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


def _extent(grid: PixelGrid) -> str:
    return ", ".join(f"{value:.10g}" for value in _whole(grid))
