"""Reading of class rasters, also of other programs: codes of classes strip by strip, georeferencing.

In: the path of a single-band raster of whole numbers. Out: strips of codes; transform and coordinate system.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.core.errors import SceneError
from geoseg.core.files import one_line
from geoseg.geo.aoi import Area
from geoseg.geo.georef import usable_transform
from geoseg.geo.grid import Window, strip_windows
from geoseg.raster.class_codes import ByteCodes, ClassCodes, Codes
from geoseg.raster.class_values import read_values
from geoseg.raster.reading import open_dataset, to_rasterio
from geoseg.raster.strips import Strip

TYPES = frozenset({
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64",
})  # fmt: skip
"""Types of class rasters, as rasterio names them; values of floating-point types are whole numbers, too."""

Percentages = Callable[[RasterioWindow], NDArray[np.uint8]]
"""Reads the confidence of a window's pixels in percent (h, W)."""


@contextmanager
def open_raster(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a raster for reading; errors name the file, also those of later reads.

    Raises:
        SceneError: It cannot be opened or read, or its size is absurd.
    """
    try:
        with open_dataset(path) as raster:
            yield raster
    except RasterioError as error:
        reason = one_line(error.__cause__ or error).removeprefix(f"{os.fspath(path)}: ")
        raise SceneError(f"cannot read {path}: {reason}") from error


@contextmanager
def open_classes(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a class raster for reading.

    Raises:
        SceneError: It cannot be read, has several bands, or its values are of a type without whole numbers.
    """
    with open_raster(path) as raster:
        if raster.count > 1 and (raster.count > 2 or raster.colorinterp[1] != ColorInterp.alpha):
            raise SceneError(f"{path} has {raster.count} bands: pass a class raster with a single band")
        if raster.dtypes[0] not in TYPES:
            raise SceneError(f"{path} holds {raster.dtypes[0]} values: pass a class raster of whole numbers")
        yield raster


OWN_CODES: ClassCodes = ByteCodes()
"""Codes of class rasters that geoseg writes."""


def read_strips(
    classes: Any, confidence: Percentages | None, area: Area | None = None, codes: ClassCodes = OWN_CODES
) -> Iterator[Strip]:
    """Yield the strips of an open class raster, with their confidence if it can be read, or of an area of it.

    Rows are counted from the area's first one; pixels of its window outside the area are nodata.

    Raises:
        SceneError: A value is no whole number, or no percentage.
    """
    whole = Window(0, 0, *classes.shape)
    within = whole if area is None else area.window
    for window in strip_windows(within, classes.block_shapes[0][0]):
        where = to_rasterio(window)
        ids = read_codes(classes, where, codes)
        if area is not None:
            ids = np.where(area.mask(window), ids, ids.dtype.type(codes.nodata))
        weights = None if confidence is None else confidence(where)
        yield Strip(window.row - within.row, ids, weights)


def read_codes(raster: Any, window: RasterioWindow, codes: ClassCodes = OWN_CODES) -> Codes:
    """Codes (h, W) of the classes of a window.

    Raises:
        SceneError: A value is no whole number.
    """
    return codes.encode(*read_values(raster, window))


def placement(raster: Any) -> tuple[Affine, Any, str | None]:
    """Transform, coordinate system, and a notice if the raster is not fully georeferenced.

    Without a transform the coordinate system is dropped: it may be that of ground control points or RPCs.
    """
    transform = usable_transform(raster.transform)
    if transform.is_identity:
        has = "only ground control points" if raster.gcps[0] else "only RPCs" if raster.rpcs else "no georeferencing"
        return Affine.identity(), None, f"the raster has {has}: polygons are in pixel coordinates"
    if not raster.crs:
        return transform, None, "the raster has no CRS: polygons are in the coordinates of its transform"
    return transform, raster.crs, None
