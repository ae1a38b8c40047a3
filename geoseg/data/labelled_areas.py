"""Where a scene is labelled already, by vector files and rasters of any classes.

In: files, and the grid of a scene. Out: masks (h, w) of windows. What the labels are does not matter: polygons label
what they cover, points and lines what lies near them, as wide as they are read as labels by default, a file of places
(`geoseg.data.labels.places`) what is done in it, and a raster its pixels with data, those of the value 255 of a single
band of bytes aside. Points and lines whose column `class` is empty, as `geoseg sample` writes them, label nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import rasterio
from pyproj.exceptions import ProjError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from shapely.errors import GEOSException

from geoseg.core.errors import LabelError
from geoseg.core.files import one_line, quiet_georeferencing
from geoseg.data.labels.marks import around
from geoseg.data.labels.placed_polygons import PlacedPolygons, boxes_near, parts_near, single_parts, text_of
from geoseg.data.labels.places import CLASS, done_places, is_places_file
from geoseg.data.labels.polygons import VECTOR_FILES
from geoseg.geo.crs import can_transform, crs_name
from geoseg.geo.georef import PixelGrid, grid_of, reproject_box
from geoseg.geo.grid import Window
from geoseg.geo.layer_paths import LAYER, split_layer
from geoseg.geo.vector_files import VectorError, layer_extent, polygon_layers, read_columns, read_polygons
from geoseg.raster.reading import open_dataset, to_rasterio
from geoseg.raster.validity import Mask
from geoseg.spec import IGNORE
from geoseg.spec.data import LABEL_BUFFER_PX


class LabelledArea(Protocol):
    """Where a scene is labelled."""

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window are labelled."""
        ...


@dataclass(frozen=True)
class LabelledAreas:
    """Where a scene is labelled by any of several files."""

    areas: tuple[LabelledArea, ...]
    """The area of each file."""

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window are labelled by any file."""
        found = np.zeros((window.height, window.width), bool)
        for area in self.areas:
            found |= area.mask(window)
        return found


@contextmanager
def open_labelled_areas(paths: Sequence[Path], grid: PixelGrid, scene: Path) -> Iterator[LabelledAreas]:
    """Open the files that say where a scene is labelled.

    Args:
        paths: vector files in any CRS, FILE|layername=NAME where one has several layers, and rasters on any grid.
        grid: grid of the scene.
        scene: the scene.

    Raises:
        LabelError: if a file cannot be read, or has no place on the scene's map.
    """
    with ExitStack() as stack:
        yield LabelledAreas(tuple(_opened(path, grid, scene, stack) for path in paths))


def _opened(given: Path, grid: PixelGrid, scene: Path, stack: ExitStack) -> LabelledArea:
    path, layer = split_layer(given)
    if path.suffix.lower() not in VECTOR_FILES:
        return _Raster.of(path, grid, stack)
    try:
        if layer is None and is_places_file(path):
            return _Polygons(done_places(path, grid, scene).placed)
        return _Polygons(_polygons(path, layer, grid))
    except VectorError as error:
        raise LabelError(f"cannot read polygons {path}: {error}") from None
    except (ProjError, GEOSException) as error:
        raise LabelError(f"the polygons of {path} cannot be reprojected to the CRS of {scene}: {error}") from None


# ----------------------------------------------------------------------------------------------------------- polygons


@dataclass(frozen=True)
class _Polygons:
    """Polygons that cover what is labelled."""

    placed: PlacedPolygons
    """The polygons."""

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window have their centre in a polygon."""
        return burnt_mask(self.placed, window)


def burnt_mask(placed: PlacedPolygons, window: Window) -> Mask:
    """Which pixels (h, w) of a window have their centre in one of some polygons."""
    found = np.full((window.height, window.width), IGNORE, np.uint8)
    placed.burn(window, found)
    return np.asarray(found != IGNORE)


def _polygons(path: Path, layer: str | None, grid: PixelGrid) -> PlacedPolygons:
    layers = polygon_layers(path)
    if layer is None and len(layers) != 1:
        raise VectorError(f"it has the layers {', '.join(layers) or 'none'}: name one, e.g. '{path}{LAYER}{layers[0]}'")
    if layer is not None and layer not in layers:
        raise VectorError(f"there is no layer {layer}, only {', '.join(layers) or 'none with geometry'}")
    layer = layer or layers[0]
    columns, crs = read_columns(path, layer)
    if not crs or not can_transform(crs, grid.crs):
        raise VectorError(f"its coordinate system ({crs_name(crs)}) has no place on the scene ({crs_name(grid.crs)})")
    column = CLASS if CLASS in columns else None
    boxes = boxes_near(grid, crs, layer_extent(path, layer), LABEL_BUFFER_PX)
    polygons = read_polygons(path, layer, column, boxes)
    is_named = [column is None or bool(text_of(value)) for value in polygons.mark_values]
    marks, _ = single_parts(polygons.marks[np.array(is_named, bool)])
    parts, _ = parts_near(polygons.shapes, polygons.crs, grid)
    near, _ = parts_near(marks, polygons.crs, grid, LABEL_BUFFER_PX)
    shapes = np.concatenate([parts, around(near, grid, LABEL_BUFFER_PX)])
    return PlacedPolygons(shapes, np.zeros(len(shapes), np.uint8), grid)


# ------------------------------------------------------------------------------------------------------------ rasters


@dataclass(frozen=True)
class _Nowhere:
    """The area of a raster that lies off the scene."""

    def mask(self, window: Window) -> Mask:
        """No pixel (h, w)."""
        return np.zeros((window.height, window.width), bool)


@dataclass(frozen=True)
class _Raster:
    """A raster whose pixels with data are labelled, resampled to the grid of the scene by the nearest pixel."""

    path: Path
    """The file."""
    raster: Any
    """The raster on the scene's grid."""
    unlabelled: float | None
    """The value of pixels that are not labelled; None if the last band is one that says which hold data."""

    @classmethod
    def of(cls, path: Path, grid: PixelGrid, stack: ExitStack) -> LabelledArea:
        try:
            own = _grid_of_file(path, os.stat(path).st_mtime_ns)
            if own.crs is None or not can_transform(own.crs, grid.crs):
                raise LabelError(
                    f"{path} has no coordinate system on the earth: give it that of its image (gdal_edit -a_srs)"
                )
            box = reproject_box(own.bounds, own.crs, grid.crs, past_180=True)
            if box is not None and not _meet(box, grid.bounds):
                return _Nowhere()
            with quiet_georeferencing():
                raster = stack.enter_context(rasterio.open(path))
            is_bytes = raster.count == 1 and raster.dtypes[0] == "uint8"
            unlabelled = raster.nodata if raster.nodata is not None else IGNORE if is_bytes else None
            warped = partial(WarpedVRT, raster, crs=grid.crs, transform=grid.transform, resampling=Resampling.nearest)
            size = {"width": grid.width, "height": grid.height}
            marks = {"add_alpha": True} if unlabelled is None else {"src_nodata": unlabelled, "nodata": unlabelled}
            return cls(path, stack.enter_context(warped(**size, **marks)), unlabelled)
        except (RasterioError, ValueError, OSError) as error:
            raise LabelError(f"cannot read labels {path}: {one_line(error)}") from None

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window hold data.

        Raises:
            LabelError: if the file is damaged.
        """
        band = 1 if self.unlabelled is not None else self.raster.count
        try:
            values = self.raster.read(band, window=to_rasterio(window))
        except RasterioError as error:
            raise LabelError(f"cannot read labels {self.path}: {one_line(error)}") from None
        if self.unlabelled is None:
            return np.asarray(values > 0)
        is_known = values != self.unlabelled
        if values.dtype == np.uint8 and self.raster.count == 1:
            is_known &= values != IGNORE
        return np.asarray(is_known & np.isfinite(values))


@lru_cache(maxsize=4096)
def _grid_of_file(path: Path, _changed: int) -> PixelGrid:
    """Grid of a raster; kept, as many scenes are compared with the same many files."""
    with open_dataset(path) as raster:  # which refuses what is unsafe to read
        return grid_of(raster)


def _meet(one: Any, other: Any) -> bool:
    """Whether two boxes share any point."""
    return bool(
        one.left <= other.right and other.left <= one.right and one.bottom <= other.top and other.bottom <= one.top
    )
