"""`geoseg vectorize`: a class raster becomes a vector file of polygons.

What goes in: the path of any single-band raster of whole numbers. What comes out: a vector file and a result that
describes it. The raster is read in strips, so memory depends on its polygons and not on its size.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg.errors import OutputError, SceneError
from geoseg.files import one_line, quiet_georeferencing
from geoseg.formats import check_extension, write_polygons
from geoseg.pipelines.gdal import gdal_settings
from geoseg.polygons import to_frame
from geoseg.raster import CLASSES_TAG
from geoseg.spec import NODATA_ID
from geoseg.trace import Regions, Strip, trace

__all__ = ["VectorizeResult", "polygonize", "vectorize"]

STRIP_PX = 4 << 20
"""Pixels read at once, if blocks allow: enough to hide the cost of a read, little enough to stay near the cache."""

STRIP_PX_MOST = 16 << 20
"""Pixels read at once at most, whatever the blocks: 128 MB in the widest type, int64."""

SCENE_PX_MOST = 1 << 38
"""Pixels of the largest raster that is believed: 275 gigapixels. A file of a few bytes can claim any number."""

INTEGERS = frozenset({"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"})
"""Types of class rasters, as rasterio names them."""

Progress = Callable[[int, int], None]
"""(pixels done, pixels in all)."""


@dataclass(frozen=True)
class VectorizeResult:
    """What `vectorize` made."""

    output: Path
    """The vector file."""
    polygons: int
    """How many polygons are in it."""
    class_shares: Mapping[str, float]
    """Share of each class in the valid pixels, 0..1, by name in the order of class ids."""
    seconds: float
    """Wall time."""
    notices: tuple[str, ...]
    """What the user should know of: a sentence each."""


def vectorize(
    classes: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> VectorizeResult:
    """Write the regions of a class raster as polygons, in the format of the output's extension.

    Raises:
        SceneError: The raster cannot be read, or is no class raster.
        OutputError: The output exists, names no format, or cannot be written.
    """
    started = time.perf_counter()
    output = Path(output)
    check_output(output, overwrite)
    with open_classes(classes) as raster:
        names, unread = class_names(raster.tags())
        transform, crs, unplaced = placement(raster)
        regions = trace_raster(raster, None, progress)
    frame = to_frame(regions, transform, crs, names)
    write_polygons(frame, output)
    notices = tuple(notice for notice in (unplaced, unread) if notice)
    return VectorizeResult(output, len(frame), class_shares(regions, names), time.perf_counter() - started, notices)


def polygonize(
    classes: str | os.PathLike[str],
    confidence: str | os.PathLike[str] | None,
    names: Mapping[int, str],
    progress: Progress | None = None,
) -> geopandas.GeoDataFrame:
    """The polygons of a class raster where it lies, as `to_frame` has them.

    Args:
        classes: The class raster.
        confidence: A raster of the same size with the confidence of each pixel in percent (uint8), or None.
        names: Class names by id.
        progress: Called with the pixels done and the pixels in all.

    Raises:
        SceneError: A raster cannot be read or is no class raster, or the two differ in size.
    """
    with open_classes(classes) as raster, ExitStack() as stack:
        weights = None if confidence is None else stack.enter_context(open_raster(confidence))
        transform, crs, _ = placement(raster)
        regions = trace_raster(raster, weights, progress)
    return to_frame(regions, transform, crs, names)


def trace_raster(classes: Any, confidence: Any | None, progress: Progress | None) -> Regions:
    """The regions of an open class raster, weighed by an open confidence raster if there is one.

    Raises:
        SceneError: The rasters differ in size, or a value is no class id.
    """
    if confidence is not None and confidence.shape != classes.shape:
        raise SceneError(f"{confidence.name} is {confidence.shape} pixels, {classes.name} is {classes.shape}")
    with gdal_settings():
        return trace(read_strips(classes, confidence, progress), classes.width, resolve_nodata(classes.nodata))


# ------------------------------------------------------------------------------------------------------------ checks


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse what could not be written in the end, before any work is done.

    Raises:
        OutputError: The extension is unknown, or the file exists and may not be replaced.
    """
    check_extension(output)
    if output.is_dir():
        raise OutputError(f"{output} is a folder: choose another name")
    if output.exists() and not overwrite:
        raise OutputError(f"{output} exists: choose another name or pass --overwrite")


@contextmanager
def open_raster(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A raster open for reading, whose errors name the file, whether they come now or while it is read.

    Raises:
        SceneError: It cannot be opened or read, or claims a size that nobody could mean.
    """
    try:
        with quiet_georeferencing(), rasterio.open(path) as raster:
            if raster.width * raster.height > SCENE_PX_MOST:
                raise SceneError(f"{path} claims {raster.width} x {raster.height} pixels: split it first")
            yield raster
    except RasterioError as error:
        reason = one_line(error.__cause__ or error).removeprefix(f"{os.fspath(path)}: ")
        raise SceneError(f"cannot read {path}: {reason}") from error


@contextmanager
def open_classes(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A class raster open for reading.

    Raises:
        SceneError: It cannot be read, has several bands, or its values are no whole numbers.
    """
    with open_raster(path) as raster:
        if raster.count > 1 and (raster.count > 2 or raster.colorinterp[1] != ColorInterp.alpha):
            raise SceneError(f"{path} has {raster.count} bands: pass a class raster with a single band")
        if raster.dtypes[0] not in INTEGERS:
            raise SceneError(f"{path} holds {raster.dtypes[0]} values: pass a class raster of whole numbers, 0 to 255")
        yield raster


# ----------------------------------------------------------------------------------------------------------- reading


def read_strips(classes: Any, confidence: Any | None, progress: Progress | None) -> Iterator[Strip]:
    """Read open rasters from top to bottom: first row, class ids (h, W), confidence (h, W) if there is one."""
    height, width = classes.shape
    for window in strip_windows(height, width, classes.block_shapes[0][0]):
        ids = read_ids(classes, window)
        yield window.row_off, ids, None if confidence is None else confidence.read(1, window=window, out_dtype="uint8")
        if progress is not None:
            progress((window.row_off + window.height) * width, height * width)


def strip_windows(height: int, width: int, block_height: int) -> Iterator[Window]:
    """Windows of whole rows, and of whole blocks as long as those aren't too large to hold."""
    blocks = max(STRIP_PX // (block_height * width), 1)
    rows = max(min(blocks * block_height, STRIP_PX_MOST // width), 1)
    for row in range(0, height, rows):
        yield Window(col_off=0, row_off=row, width=width, height=min(rows, height - row))


def read_ids(raster: Any, window: Window) -> NDArray[np.uint8]:
    """Class ids (h, W) of a window, `resolve_nodata` where the raster has none.

    Raises:
        SceneError: A value is no class id.
    """
    values = raster.read(1, window=window)
    masked = {MaskFlags.per_dataset, MaskFlags.alpha} & set(raster.mask_flag_enums[0])
    valid = raster.read_masks(1, window=window) > 0 if masked else None
    return to_ids(values, valid, raster.nodata)


def to_ids(values: NDArray[Any], valid: NDArray[np.bool_] | None, file_nodata: float | None) -> NDArray[np.uint8]:
    """Class ids from a raster's values, with nodata where they aren't valid or equal the file's nodata.

    Raises:
        SceneError: A value is no class id.
    """
    if values.dtype == np.uint8 and valid is None:
        return values
    missing = np.zeros(values.shape, bool) if file_nodata is None else values == file_nodata
    if valid is not None:
        missing |= ~valid
    check_ids(values[~missing], file_nodata)
    ids = values.astype(np.uint8)
    ids[missing] = resolve_nodata(file_nodata)
    return ids


def check_ids(values: NDArray[Any], file_nodata: float | None) -> None:
    """Make sure that valid values (M,) are class ids.

    255 is one only where another id stands for nodata.

    Raises:
        SceneError: One isn't.
    """
    highest = 255 if file_nodata is None or resolve_nodata(file_nodata) == file_nodata else 254
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > highest:
        raise SceneError(f"class ids go from 0 to {highest}, found {low if low < 0 else high}: pass a class raster")


def resolve_nodata(file_nodata: float | None) -> int:
    """The class id that stands for nodata: the file's own if it can be an id, else 255."""
    return int(file_nodata) if file_nodata is not None and file_nodata in range(256) else NODATA_ID


def class_names(tags: Mapping[str, str]) -> tuple[dict[int, str], str | None]:
    """Class names by id from a raster's tags, as geoseg writes them, and a notice if they can't be read."""
    if CLASSES_TAG not in tags:
        return {}, None
    try:
        return {int(entry["id"]): str(entry["name"]) for entry in json.loads(tags[CLASSES_TAG])}, None
    except (ValueError, TypeError, KeyError):
        return {}, f"the tag {CLASSES_TAG} cannot be read: classes go by their numbers"


def placement(raster: Any) -> tuple[Affine, Any, str | None]:
    """Transform, coordinate system, and a notice if polygons will not lie where they belong on the map.

    Without a transform a coordinate system is worth nothing: control points and RPCs come like that.
    """
    if raster.transform == Affine.identity():
        has = "only ground control points" if raster.gcps[0] else "only RPCs" if raster.rpcs else "no georeferencing"
        return Affine.identity(), None, f"the raster has {has}: polygons are in pixel coordinates"
    if not raster.crs:
        return raster.transform, None, "the raster has no CRS: polygons are in the coordinates of its transform"
    return raster.transform, raster.crs, None


def class_shares(regions: Regions, names: Mapping[int, str]) -> dict[str, float]:
    """Share of each class in the pixels of all regions, by name in the order of class ids."""
    pixels = np.bincount(regions.class_id, weights=regions.pixels)
    return {names.get(int(k), str(k)): float(pixels[k] / pixels.sum()) for k in np.flatnonzero(pixels)}
