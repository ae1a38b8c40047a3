"""Polygons of vector files as people have them: any format, with all that is wrong in them.

In: a path, a layer, a column, boxes. Out: valid polygons in the plane, their cells, their coordinate system. Rings that
are not closed are closed, curves become lines, heights go; of mixed geometry the polygons stay. What no polygon can be
made of is an error that names the feature: nothing is left out in silence.
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
from shapely import GeometryType
from shapely.errors import GEOSException

from geoseg.core.files import one_line
from geoseg.core.gdal_options import waiting_options
from geoseg.core.regular_files import check_regular
from geoseg.core.safe_paths import plain_path, whole_url
from geoseg.geo.georef import Box

PARQUET_FILES = (".parquet", ".geoparquet")
"""Endings of files that are read by Arrow: GDAL is rarely built with what they need."""
FARTHEST = 1e12
"""Coordinates beyond it are no place, in any unit: the Earth's circumference is 4e10 mm."""
REASON_PART = 100
"""Characters of the beginning and of the end of a long reason."""
NO_POLYGONS = ("Point", "MultiPoint", "LineString", "MultiLineString", "CircularString", "CompoundCurve", "MultiCurve")
"""Geometry types of layers without polygons."""

Shapes = NDArray[np.object_]


class VectorError(Exception):
    """What keeps a file from being read as polygons, in a line that does not name the file."""


@dataclass(frozen=True)
class Polygons:
    """Polygons of a layer, in the file's order."""

    shapes: Shapes
    """Valid polygons and multipolygons (N,), none empty, without heights."""
    cells: list[Any]
    """What stands in the wanted column for each of them."""
    crs: Any
    """Whatever names their coordinate system, or None."""
    others: tuple[str, ...]
    """Kinds of geometry without any area that stood beside them, or alone."""


@dataclass(frozen=True)
class _Features:
    """Features as they are read."""

    numbers: NDArray[np.int64]
    """As the file counts them (N,)."""
    geometry: Shapes
    """Well-known binary (N,), None where there is none."""
    cells: NDArray[Any]
    """What stands in the wanted column (N,)."""
    crs: Any
    """Whatever names the coordinate system, or None."""


@cache
def _bound_connections() -> None:
    """Let servers that stall fail within a while: the GDAL of vector files is another one than that of rasters."""
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
    """Names of the columns besides the geometry, and the coordinate system.

    Raises:
        VectorError: if the file cannot be read.
    """
    if path.suffix.lower() in PARQUET_FILES:
        file, geo = _open_parquet(path)
        hidden = {*geo["columns"], "bbox"}
        return [name for name in file.schema_arrow.names if name not in hidden], _parquet_crs(geo)
    columns, crs = _columns(path, layer, _modified(path))
    return list(columns), crs


def layer_extent(path: Path, layer: str) -> Box | None:
    """Bounding box of a layer; None where it is not known without reading everything.

    Raises:
        VectorError: if the file cannot be read.
    """
    if path.suffix.lower() in PARQUET_FILES:
        return None
    return _extent(path, layer, _modified(path))


def _modified(path: Path) -> int:
    """When a file was changed, as far as that is known; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except (OSError, ValueError):  # a URL, or a name that no file can have
        return 0


# What is asked of each file for each image that it has labels of, found once: text is read from end to end for it.


@lru_cache(maxsize=64)
def _layers(path: Path, _changed: int) -> tuple[str, ...]:
    layers = [(str(name), kind) for name, kind in _called(pyogrio.list_layers, path) if kind is not None]
    with_polygons = tuple(name for name, kind in layers if not str(kind).startswith(NO_POLYGONS))
    return with_polygons or tuple(name for name, _ in layers)


@lru_cache(maxsize=64)
def _columns(path: Path, layer: str, _changed: int) -> tuple[tuple[str, ...], Any]:
    info = _called(pyogrio.read_info, path, layer=layer)
    return tuple(str(name) for name in info["fields"]), info["crs"]


@lru_cache(maxsize=64)
def _extent(path: Path, layer: str, _changed: int) -> Box | None:
    bounds = _called(pyogrio.read_info, path, layer=layer, force_total_bounds=True)["total_bounds"]
    if bounds is None or not np.isfinite(bounds).all():
        return None
    return Box(*map(float, bounds))


def read_polygons(path: Path, layer: str, column: str | None, boxes: Sequence[Box] | None) -> Polygons:
    """Polygons of a layer whose bounding boxes meet any of some boxes, or all of them.

    Args:
        path: the file.
        layer: one of `polygon_layers`.
        column: whose cells are wanted, if any are.
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
    except FeatureError:  # GDAL cannot tell where something broken lies
        parts = []
    if parts and not any(has_warned for _, has_warned in parts):
        return _polygons(_joined([features for features, _ in parts]), None)
    features, _ = _read_layer(path, layer, column, None)
    _check_readable(features)
    return _polygons(features, boxes)


# ----------------------------------------------------------------------------------------------------------- reading


def _called(function: Any, path: Path, **options: Any) -> Any:
    """What a function of pyogrio returns, without warnings, and with errors that are one line."""
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
    """A file by a name that pyogrio takes for it.

    Raises:
        VectorError: if it is a pipe, a device or a socket.
    """
    _check_regular(path)
    url = whole_url(path)
    with nullcontext(path) if "://" in url else plain_path(path) as plain:
        yield url if "://" in url else os.fspath(plain)


def _reason(error: Exception) -> str:
    """What GDAL says, without its hints for programmers and without the middle of a database's query."""
    text = one_line(error).partition("; It might help")[0]
    return text if len(text) <= 3 * REASON_PART else f"{text[:REASON_PART]} ... {text[-REASON_PART:]}"


def _read_layer(path: Path, layer: str, column: str | None, box: Box | None) -> tuple[_Features, bool]:
    """Features of a layer, and whether GDAL had something to say about them.

    Raises:
        FeatureError: if some feature's place cannot be compared with the box.
    """
    columns = [] if column is None else [column]
    bbox = None if box is None else tuple(box)  # pyogrio takes no subclass
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            with _reachable(path) as name:
                about, numbers, geometry, cells = pyogrio.raw.read(
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
    values = cells[0] if column is not None else np.full(len(numbers), None, object)
    return _Features(numbers, geometry, values, about["crs"]), bool(heard)


def _joined(parts: Sequence[_Features]) -> _Features:
    """Features of several reads, each once, in the file's order: spatial indexes give what they find in their own."""
    numbers, first = np.unique(np.concatenate([part.numbers for part in parts]), return_index=True)
    geometry, cells = (np.concatenate([getattr(part, name) for part in parts])[first] for name in ("geometry", "cells"))
    return _Features(numbers, geometry, cells, parts[0].crs)


def _hides_broken(path: Path, layer: str, features: _Features) -> bool:
    """Whether some feature has no geometry because it is broken, which GDAL may say only where it has to place it."""
    if all(geometry is not None for geometry in features.geometry):
        return False
    try:
        _read_layer(path, layer, None, Box(0, 0, 0, 0))
    except FeatureError:
        return True
    return False


def _check_readable(features: _Features) -> None:
    """Refuse features without geometry in a file of which GDAL did not understand everything."""
    lost = [geometry is None for geometry in features.geometry]
    if any(lost):
        raise VectorError(f"feature {features.numbers[np.argmax(lost)]} has no readable geometry: correct or remove it")


def _open_parquet(path: Path) -> tuple[Any, dict[str, Any]]:
    """An open Parquet file, and what it says of its geometry."""
    _check_regular(path)
    try:
        file = pyarrow.parquet.ParquetFile(path)
        geo = json.loads((file.schema_arrow.metadata or {})[b"geo"])
        if geo["primary_column"] not in file.schema_arrow.names or not isinstance(geo["columns"], dict):
            raise KeyError
        geo["columns"][geo["primary_column"]]["encoding"]
    except (KeyError, TypeError, RecursionError):
        raise VectorError("it is no GeoParquet file: it does not say which column is the geometry") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise VectorError(_reason(error)) from None
    return file, geo


def _parquet_crs(geo: dict[str, Any]) -> Any:
    """The coordinate system of GeoParquet: PROJ's JSON, or longitude and latitude where nothing is said."""
    crs = geo["columns"][geo["primary_column"]].get("crs", "OGC:CRS84")
    return json.dumps(crs) if isinstance(crs, dict) else crs


def _read_parquet(path: Path, column: str | None) -> _Features:
    file, geo = _open_parquet(path)
    name = geo["primary_column"]
    if geo["columns"][name]["encoding"] != "WKB":
        raise VectorError("its geometry is not well-known binary (WKB): write it as that, or as .gpkg")
    try:
        table = file.read(columns=[name] if column is None else [name, column])
        geometry, cells = (np.full(len(table), None, object) for _ in range(2))
        geometry[:] = table[name].to_pylist()
        cells[:] = None if column is None else table[column].to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:  # texts that are not UTF-8, among others
        raise VectorError(_reason(error)) from None
    return _Features(np.arange(len(table)), geometry, cells, _parquet_crs(geo))


# ---------------------------------------------------------------------------------------------------------- geometry


def _polygons(features: _Features, boxes: Sequence[Box] | None) -> Polygons:
    """The polygons that features are, or hold; a feature without geometry is none."""
    shapes = _built(features)
    present = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    if boxes is not None:
        present &= np.any([_meets(shapes, box) for box in boxes], axis=0)
    shapes, numbers, cells = shapes[present], features.numbers[present], features.cells[present]
    flat = polygonal(shapes)
    mended = _mended(flat, numbers)
    is_area = ~shapely.is_empty(flat)
    others = sorted({str(shape.geom_type) for shape in shapes[~is_area]})
    kept = ~shapely.is_empty(mended)
    return Polygons(mended[kept], cells[kept].tolist(), features.crs, tuple(others))


def _meets(shapes: Shapes, box: Box) -> NDArray[np.bool_]:
    """Whether the bounding boxes of shapes (N,) meet a box."""
    left, bottom, right, top = shapely.bounds(shapes).T
    meets: NDArray[np.bool_] = (left <= box.right) & (right >= box.left) & (bottom <= box.top) & (top >= box.bottom)
    return meets


def _built(features: _Features) -> Shapes:
    """Geometry (N,) from well-known binary, without heights; None where there is none.

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


def polygonal(shapes: Shapes) -> Shapes:
    """The same (N,), but of collections the polygons they hold; empty where there is no polygon."""
    kinds = shapely.get_type_id(shapes)
    if np.isin(kinds, (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)).all():
        return shapes
    parts, owners = shapely.get_parts(shapes, return_index=True)
    while (shapely.get_type_id(parts) > GeometryType.POLYGON).any():  # collections of collections
        parts, inner = shapely.get_parts(parts, return_index=True)
        owners = owners[inner]
    areas = shapely.get_type_id(parts) == GeometryType.POLYGON
    collected = np.full(len(shapes), shapely.MultiPolygon(), object)
    shapely.multipolygons(parts[areas], indices=owners[areas], out=collected)
    return np.where(kinds == GeometryType.POLYGON, shapes, collected)


def _mended(shapes: Shapes, numbers: NDArray[np.int64]) -> Shapes:
    """The same, valid: what crosses itself is what it encloses.

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
