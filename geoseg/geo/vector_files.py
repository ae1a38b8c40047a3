"""Reading of polygons, points and lines from vector files of any format, with repair of their faults.

In: a path, a layer, a column, boxes. Out: valid two-dimensional polygons, their values in the column, their coordinate
system, and the features without area by themselves. Open rings are closed, curves become lines, heights are dropped; of
a collection with polygons only these are kept. A feature that cannot be repaired is an error that names it: none is
left out silently.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pyogrio
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyogrio.errors import FeatureError
from shapely.errors import GEOSException

from geoseg.core.files import one_line
from geoseg.core.gdal_options import waiting_options
from geoseg.core.regular_files import check_regular
from geoseg.core.safe_paths import plain_path, whole_url
from geoseg.geo.antimeridian import Shapes
from geoseg.geo.georef import Box
from geoseg.geo.polygonal import polygonal

PARQUET_FILES = (".parquet", ".geoparquet")
"""Extensions of GeoParquet, which Arrow reads: few builds of GDAL can."""
FARTHEST = 1e12
"""Larger coordinates are invalid in any unit: the Earth's circumference is 4e10 mm."""
REASON_PART = 100
"""Characters that are kept of the beginning and of the end of a long error text."""
NO_POLYGONS = ("Point", "MultiPoint", "LineString", "MultiLineString", "CircularString", "CompoundCurve", "MultiCurve")
"""Geometry types of layers without polygons."""


class VectorError(Exception):
    """A file cannot be read as polygons; the message is one line that does not name the file."""


@dataclass(frozen=True)
class Polygons:
    """Polygons of a layer, in the file's order."""

    shapes: Shapes
    """Valid polygons and multipolygons (N,), none empty, without heights."""
    values: list[Any]
    """Their values in the requested column (N,); None if none was requested."""
    crs: Any
    """Coordinate system, as text that pyproj reads, or None."""
    marks: Shapes
    """Points, lines and collections of them (P,): the features without area."""
    mark_values: list[Any]
    """The values of these (P,)."""

    @property
    def others(self) -> tuple[str, ...]:
        """Geometry types of the features without area, sorted."""
        return tuple(sorted({str(shape.geom_type) for shape in self.marks}))


@dataclass(frozen=True)
class _Features:
    """Features as they are read, before repair."""

    numbers: NDArray[np.int64]
    """Feature ids in the file (N,)."""
    geometry: Shapes
    """Well-known binary (N,), None where there is none."""
    values: NDArray[Any]
    """Values in the requested column (N,)."""
    crs: Any
    """Coordinate system, as text that pyproj reads, or None."""


@cache
def _bound_connections() -> None:
    """Bound the wait for a stalled server, in the GDAL of pyogrio, which is another one than rasterio's."""
    pyogrio.set_gdal_config_options(waiting_options())


def polygon_layers(path: Path) -> list[str]:
    """Names of the layers that may hold polygons; if there are none, of all that hold geometry.

    Raises:
        VectorError: if the file cannot be opened.
    """
    if path.suffix.lower() in PARQUET_FILES:
        return [path.stem]
    _bound_connections()
    return list(_layers(path, _modified(path)))


def read_columns(path: Path, layer: str) -> tuple[list[str], Any]:
    """Names of the columns without the geometry, and the coordinate system.

    Raises:
        VectorError: if the file cannot be read.
    """
    if path.suffix.lower() in PARQUET_FILES:
        file, geo = _open_parquet(path)
        hidden = {*geo["columns"], "bbox"}
        return [name for name in file.schema_arrow.names if name not in hidden], _parquet_crs(geo)
    columns, crs = _columns(path, layer, _modified(path))
    return list(columns), crs


def may_hold_marks(path: Path) -> bool:
    """Whether a file may hold points or lines: a layer is of these, or of any geometry.

    Raises:
        VectorError: if the file cannot be opened.
    """
    if path.suffix.lower() in PARQUET_FILES:
        return True
    return any("Polygon" not in str(kind) for _, kind in _call(pyogrio.list_layers, path) if kind is not None)


def layer_extent(path: Path, layer: str) -> Box | None:
    """Bounding box of a layer; None for GeoParquet and layers without extent.

    Raises:
        VectorError: if the file cannot be read.
    """
    if path.suffix.lower() in PARQUET_FILES:
        return None
    return _extent(path, layer, _modified(path))


def _modified(path: Path) -> int:
    """Time of a file's last change in nanoseconds; 0 if it is unknown."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):  # a URL, or a name that no file can have
        return 0


# One file may hold the labels of many images, so its layers, columns and extent are kept: for them GDAL reads all of a
# text file.


@lru_cache(maxsize=64)
def _layers(path: Path, _changed: int) -> tuple[str, ...]:
    layers = [(str(name), kind) for name, kind in _call(pyogrio.list_layers, path) if kind is not None]
    with_polygons = tuple(name for name, kind in layers if not str(kind).startswith(NO_POLYGONS))
    return with_polygons or tuple(name for name, _ in layers)


@lru_cache(maxsize=64)
def _columns(path: Path, layer: str, _changed: int) -> tuple[tuple[str, ...], Any]:
    info = _call(pyogrio.read_info, path, layer=layer)
    return tuple(str(name) for name in info["fields"]), info["crs"]


@lru_cache(maxsize=64)
def _extent(path: Path, layer: str, _changed: int) -> Box | None:
    bounds = _call(pyogrio.read_info, path, layer=layer, force_total_bounds=True)["total_bounds"]
    if bounds is None or not np.isfinite(bounds).all():
        return None
    return Box(*map(float, bounds))


def read_polygons(path: Path, layer: str, column: str | None, boxes: Sequence[Box] | None) -> Polygons:
    """Read the polygons of a layer whose bounding boxes meet one of several boxes, or all polygons.

    Args:
        path: the file.
        layer: one of `polygon_layers`.
        column: column whose values are requested, if any.
        boxes: in the file's coordinate system; None for everything.

    Raises:
        VectorError: if the file cannot be read, or a feature is broken; it names the feature.
    """
    if path.suffix.lower() in PARQUET_FILES:
        return _polygons(_read_parquet(path, column), boxes)
    if boxes is None:
        features, has_warned = _read_layer(path, layer, column, None)
        if has_warned or _hides_broken(path, layer, features):
            _check_readable(features)
        return _polygons(features, None)
    try:
        parts = [_read_layer(path, layer, column, box) for box in boxes]
    except FeatureError:  # GDAL cannot compare a broken feature with a box
        parts = []
    if parts and not any(has_warned for _, has_warned in parts):
        return _polygons(_joined([features for features, _ in parts]), None)
    features, _ = _read_layer(path, layer, column, None)
    _check_readable(features)
    return _polygons(features, boxes)


# ----------------------------------------------------------------------------------------------------------- reading


def _call(function: Any, path: Path, **options: Any) -> Any:
    """Call a function of pyogrio without warnings, and with errors of one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _reachable(path) as name:
                return function(name, **options)
        except (RuntimeError, OSError, ValueError) as error:
            raise VectorError(_reason(error)) from None


def _check_regular(path: Path) -> None:
    try:
        check_regular(path)
    except OSError as error:
        raise VectorError(str(error.strerror)) from None


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """The path or URL of a file in a form that pyogrio reads.

    Raises:
        VectorError: if it is a pipe, a device or a socket.
    """
    _check_regular(path)
    url = whole_url(path)
    with nullcontext(path) if "://" in url else plain_path(path) as plain:
        yield url if "://" in url else os.fspath(plain)


def _reason(error: Exception) -> str:
    """GDAL's message without its hints for programmers, and without the middle of a long one, as of a query."""
    text = one_line(error).partition("; It might help")[0]
    return text if len(text) <= 3 * REASON_PART else f"{text[:REASON_PART]} ... {text[-REASON_PART:]}"


def _read_layer(path: Path, layer: str, column: str | None, box: Box | None) -> tuple[_Features, bool]:
    """Features of a layer, and whether GDAL warned about any.

    Raises:
        FeatureError: if a broken feature cannot be compared with the box.
    """
    columns = [] if column is None else [column]
    bbox = None if box is None else tuple(box)  # pyogrio takes no subclass
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with _reachable(path) as name:
                about, numbers, geometry, fields = pyogrio.raw.read(
                    name, layer=layer, columns=columns, bbox=bbox, return_fids=True
                )
        except FeatureError as error:
            if box is None:
                raise VectorError(_reason(error)) from None
            raise
        except (RuntimeError, OSError, ValueError) as error:
            raise VectorError(_reason(error)) from None
    if geometry is None:
        geometry = np.full(len(numbers), None, object)
    values = fields[0] if column is not None else np.full(len(numbers), None, object)
    return _Features(numbers, geometry, values, about["crs"]), bool(warned)


def _joined(parts: Sequence[_Features]) -> _Features:
    """Features of several reads, each once, sorted by id: spatial indexes return them in an order of their own."""
    numbers, first = np.unique(np.concatenate([part.numbers for part in parts]), return_index=True)
    geometry, values = (
        np.concatenate([getattr(part, name) for part in parts])[first] for name in ("geometry", "values")
    )
    return _Features(numbers, geometry, values, parts[0].crs)


def _hides_broken(path: Path, layer: str, features: _Features) -> bool:
    """Whether a feature has no geometry because it is broken, which GDAL may report only for a query by box."""
    if all(geometry is not None for geometry in features.geometry):
        return False
    try:
        _read_layer(path, layer, None, Box(0, 0, 0, 0))
    except FeatureError:
        return True
    return False


def _check_readable(features: _Features) -> None:
    """Refuse features without geometry in a file about which GDAL warned."""
    lost = [geometry is None for geometry in features.geometry]
    if any(lost):
        raise VectorError(f"feature {features.numbers[np.argmax(lost)]} has no readable geometry: correct or remove it")


def _open_parquet(path: Path) -> tuple[Any, dict[str, Any]]:
    """An open GeoParquet file, and its `geo` metadata."""
    _check_regular(path)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        geo = json.loads((file.metadata.metadata or {})[b"geo"])
        if geo["primary_column"] not in file.schema_arrow.names or not isinstance(geo["columns"], dict):
            raise KeyError
        geo["columns"][geo["primary_column"]]["encoding"]
    except (KeyError, TypeError, RecursionError):
        raise VectorError("it is no GeoParquet file: it does not say which column is the geometry") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise VectorError(_reason(error)) from None
    return file, geo


def _parquet_crs(geo: dict[str, Any]) -> Any:
    """The coordinate system of GeoParquet: PROJJSON, or longitude and latitude where it is left out."""
    crs = geo["columns"][geo["primary_column"]].get("crs", "OGC:CRS84")
    return json.dumps(crs) if isinstance(crs, dict) else crs


def _read_parquet(path: Path, column: str | None) -> _Features:
    file, geo = _open_parquet(path)
    name = geo["primary_column"]
    if geo["columns"][name]["encoding"] != "WKB":
        raise VectorError("its geometry is not well-known binary (WKB): write it as that, or as .gpkg")
    try:
        table = file.read(columns=[name] if column is None else [name, column])
        geometry, values = (np.full(len(table), None, object) for _ in range(2))
        geometry[:] = table[name].to_pylist()
        values[:] = None if column is None else table[column].to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # texts that are not UTF-8, among others
        raise VectorError(_reason(error)) from None
    return _Features(np.arange(len(table)), geometry, values, _parquet_crs(geo))


# ---------------------------------------------------------------------------------------------------------- geometry


def _polygons(features: _Features, boxes: Sequence[Box] | None) -> Polygons:
    """The valid polygons of features, and of the collections among them; features without geometry are skipped."""
    shapes = _built(features)
    present = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    if boxes is not None:
        present &= np.any([_meets(shapes, box) for box in boxes], axis=0)
    shapes, numbers, values = shapes[present], features.numbers[present], features.values[present]
    flat = polygonal(shapes)
    mended = _mended(flat, numbers)
    is_area = ~shapely.is_empty(flat)
    kept = ~shapely.is_empty(mended)
    return Polygons(mended[kept], values[kept].tolist(), features.crs, shapes[~is_area], values[~is_area].tolist())


def _meets(shapes: Shapes, box: Box) -> NDArray[np.bool_]:
    """Which of some shapes (N,) have a bounding box that meets a box."""
    left, bottom, right, top = shapely.bounds(shapes).T
    meets: NDArray[np.bool_] = (left <= box.right) & (right >= box.left) & (bottom <= box.top) & (top >= box.bottom)
    return meets


def _built(features: _Features) -> Shapes:
    """Geometry (N,) from well-known binary, in two dimensions; None where there is none.

    Raises:
        VectorError: if a feature is broken beyond repair.
    """
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")
        shapes: Shapes = shapely.force_2d(shapely.from_wkb(features.geometry, on_invalid="fix"))
    for index in np.flatnonzero(shapely.is_missing(shapes)):
        if features.geometry[index] is not None:
            raise VectorError(f"feature {features.numbers[index]} is broken, or no polygon: correct or remove it")
    coordinates, owners = shapely.get_coordinates(shapes, return_index=True)
    bad = owners[~(np.abs(coordinates) < FARTHEST).all(axis=1)]
    for index in bad[:1]:
        raise VectorError(
            f"feature {features.numbers[index]} has coordinates that are infinite or not a number: correct or remove it"
        )
    return shapes


def _mended(shapes: Shapes, numbers: NDArray[np.int64]) -> Shapes:
    """Shapes (N,) made valid; a ring that crosses itself becomes the area that it encloses.

    Raises:
        VectorError: if that fails; it names the feature.
    """
    broken = np.flatnonzero(~shapely.is_valid(shapes))
    mended = shapes.copy()
    for index in broken:
        try:
            mended[index] = polygonal(np.array([shapely.make_valid(shapes[index])], object))[0]
        except GEOSException as error:
            raise VectorError(f"feature {numbers[index]} cannot be made valid: {one_line(error)}") from None
    return mended
