"""Reading of class rasters, also of other programs: class ids strip by strip, georeferencing.

In: the path of a single-band raster of integers. Out: strips of class ids; transform and coordinate
system.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.windows import Window as RasterioWindow

from geoseg.core.errors import SceneError
from geoseg.core.events import SILENT, Reporter, Stage
from geoseg.core.files import one_line
from geoseg.geo.aoi import Area
from geoseg.geo.georef import usable_transform
from geoseg.geo.grid import Window, strip_windows
from geoseg.raster.reading import open_dataset, to_rasterio
from geoseg.raster.strips import Strip
from geoseg.raster.validity import has_mask, is_nodata, read_mask
from geoseg.spec import NODATA_ID

INTEGERS = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"})
"""Types of class rasters, as rasterio names them."""


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
        SceneError: It cannot be read, has several bands, or its values are not integers.
    """
    with open_raster(path) as raster:
        if raster.count > 1 and (raster.count > 2 or raster.colorinterp[1] != ColorInterp.alpha):
            raise SceneError(f"{path} has {raster.count} bands: pass a class raster with a single band")
        if raster.dtypes[0] not in INTEGERS:
            raise SceneError(f"{path} holds {raster.dtypes[0]} values: pass a class raster of whole numbers, 0 to 255")
        yield raster


def read_strips(
    classes: Any, confidence: Any | None, area: Area | None = None, nodata_id: int = NODATA_ID
) -> Iterator[Strip]:
    """Yield the strips of open rasters of class ids and confidence, or of an area of them.

    Rows are counted from the area's first one; pixels of its window outside the area are nodata.

    Raises:
        SceneError: A value is no class id, or no percentage.
    """
    whole = Window(0, 0, *classes.shape)
    within = whole if area is None else area.window
    for window in strip_windows(within, classes.block_shapes[0][0]):
        where = to_rasterio(window)
        ids = read_ids(classes, where, nodata_id)
        if area is not None:
            ids = np.where(area.mask(window), ids, np.uint8(nodata_id))
        weights = None if confidence is None else _percent(confidence.read(1, window=where, out_dtype="uint8"))
        yield Strip(window.row - within.row, ids, weights)


def read_ids(raster: Any, window: RasterioWindow, nodata_id: int = NODATA_ID) -> NDArray[np.uint8]:
    """Class ids (h, W) of a window, `nodata_id` where pixels hold no data.

    Raises:
        SceneError: A value is no class id.
    """
    values, valid = _read_values(raster, window)
    return to_ids(values, valid, raster.nodata, nodata_id)


def _read_values(raster: Any, window: RasterioWindow) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Values (h, W) of the file, and which of them its mask or alpha band declares valid (h, W), if it has one."""
    values = raster.read(1, window=window)
    return values, read_mask(raster, 1, window) if has_mask(raster) else None


def to_ids(
    values: NDArray[Any], valid: NDArray[np.bool_] | None, file_nodata: float | None, nodata_id: int
) -> NDArray[np.uint8]:
    """Class ids (h, W) from a raster's values (h, W), `nodata_id` where they are invalid or equal the file's nodata.

    Raises:
        SceneError: A value is no class id.
    """
    if values.dtype == np.uint8 and valid is None:
        return values
    missing = is_nodata(values, file_nodata)
    if valid is not None:
        missing |= ~valid
    check_ids(values[~missing])
    ids = values.astype(np.uint8)
    ids[missing] = nodata_id
    return ids


def count_ids(raster: Any, area: Area | None = None, reporter: Reporter = SILENT) -> NDArray[np.int64]:
    """Count valid pixels per class id (256,) in one pass; values that are no ids are skipped.

    Args:
        raster: an open raster of integers.
        area: part of the raster that is counted; all of it by default.
        reporter: gets the progress of `reading`, in pixels.
    """
    counts = np.zeros(256, np.int64)
    within = Window(0, 0, *raster.shape) if area is None else area.window
    stage = Stage(reporter, "reading", within.pixels)
    for window in strip_windows(within, raster.block_shapes[0][0]):
        where = to_rasterio(window)
        values, valid = _read_values(raster, where)
        if area is not None:
            valid = area.mask(window) if valid is None else valid & area.mask(window)
        values = values.ravel() if valid is None else values[valid]
        if values.dtype != np.uint8:
            values = values[(values >= 0) & (values < 256)].astype(np.uint8)
        counts += np.bincount(values, minlength=256)
        stage.advance(window.pixels)
    if (own := own_nodata(raster)) is not None:
        counts[own] = 0
    return counts


def free_id(counts: NDArray[np.int64]) -> int:
    """The highest class id that no pixel has, as id of nodata, given the pixels per id (256,).

    Raises:
        SceneError: There is none.
    """
    free = np.flatnonzero(counts == 0)
    if not len(free):
        raise SceneError("all 256 values occur, so that none stands for nodata: pass a class raster, not an image")
    return int(free[-1])


def check_ids(values: NDArray[Any]) -> None:
    """Make sure that valid values (M,) are class ids.

    Raises:
        SceneError: One isn't.
    """
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > 255:
        raise SceneError(f"class ids go from 0 to 255, found {low if low < 0 else high}: pass a class raster")


def own_nodata(raster: Any) -> int | None:
    """The nodata value of a raster; None if it has none, or one that is no class id."""
    return int(raster.nodata) if raster.nodata in range(256) else None


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


def _percent(confidence: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Confidence in percent (h, W), with 0 for 255 (no data), as in filled holes.

    Raises:
        SceneError: A value is neither a percentage nor 255.
    """
    if ((confidence > 100) & (confidence < NODATA_ID)).any():
        raise SceneError("confidence goes from 0 to 100 percent, and the raster of it holds more: pass another one")
    return np.where(confidence > 100, np.uint8(0), confidence)
