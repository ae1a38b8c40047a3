"""Writing and reading of vector files through GDAL.

In: a layer of polygons, batch by batch. Out: a file; or the class ids and polygons of one.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.core.errors import OutputError
from geoseg.core.safe_paths import plain_path
from geoseg.vector.layer import PolygonLayer

DESCRIBED = frozenset({"GPKG", "GeoJSON", "FlatGeobuf", "PMTiles", "MBTiles"})
"""Drivers of formats that have a place for a description of the layer; Shapefiles have none."""
NO_OTHER_NAMES: Mapping[str, str] = MappingProxyType({})


def write_ogr(
    polygons: PolygonLayer,
    path: Path,
    names: Mapping[str, str] = NO_OTHER_NAMES,
    *,
    with_crs: bool = True,
    number: str | None = None,
    **options: Any,
) -> None:
    """Write a layer through GDAL.

    Args:
        polygons: the layer.
        path: the file.
        names: names in the file of columns that are renamed.
        with_crs: whether the file names the coordinate system.
        number: name of a further column, in which the polygons are numbered from 1; None for none.
        options: of pyogrio, and of GDAL's driver.
    """
    schema = pa.schema([column.with_name(names.get(column.name, column.name)) for column in polygons.schema])
    failed: list[OutputError] = []
    batches = _renamed(polygons, schema, failed)
    if number is not None:
        batches, schema = _numbered(batches, number), schema.append(pa.field(number, pa.int64()))
    crs = polygons.output_crs if with_crs else None
    with warnings.catch_warnings(), _first_of(failed):
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(schema, batches),
            path,
            geometry_name="geometry",
            geometry_type=polygons.geometry_type,
            crs=None if crs is None else crs.to_wkt(),
            **_about(polygons, options["driver"]),
            **options,
        )


def _about(polygons: PolygonLayer, driver: str) -> dict[str, Any]:
    """Options that write what is said of a layer: as its description, and in a GeoPackage also as its metadata."""
    if not polygons.about or driver not in DESCRIBED:
        return {}
    described = {"DESCRIPTION": "\n".join(polygons.about)}
    return described | ({"layer_metadata": polygons.metadata} if driver == "GPKG" else {})


def read_ogr(path: Path, layer: str | None = None) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Read class ids (N,) and polygons (N,) of a layer, by default of the first one."""
    with plain_path(path) as plain:
        wanted = pyogrio.list_layers(plain)[0, 0] if layer is None else layer
        _, _, geometry, (class_id,) = pyogrio.raw.read(plain, layer=wanted, columns=["class_id"])
    return class_id.astype(np.int64), np.asarray(shapely.from_wkb(geometry), object)


def count_ogr(path: Path, layer: str | None = None) -> int:
    """Count the features of a layer, by default of the first one."""
    with plain_path(path) as plain:
        return int(pyogrio.read_info(plain, layer=layer)["features"])


def check_on_earth(crs: CRS, format_name: str) -> None:
    """Refuse a coordinate system without longitude and latitude, for a format that needs them.

    Raises:
        OutputError: naming the format, the system, and what to write instead.
    """
    try:
        Transformer.from_crs(crs, "EPSG:4326")
    except ProjError as error:
        message = f"{format_name} needs longitude and latitude, which the system {crs.name!r} cannot give: write .gpkg"
        raise OutputError(message) from error


def sqlite_parts(path: Path) -> list[Path]:
    """Paths of the files that SQLite may have left beside an earlier database at a path."""
    return [path.with_name(path.name + extension) for extension in ("-wal", "-shm", "-journal")]


def _renamed(polygons: PolygonLayer, schema: pa.Schema, failed: list[OutputError]) -> Iterator[pa.RecordBatch]:
    """Yield the batches with renamed columns; an error is kept in `failed`, as Arrow hides it from readers."""
    try:
        for batch in polygons.batches():
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    except OutputError as error:
        failed.append(error)
        raise


def _numbered(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[pa.RecordBatch]:
    """Yield the batches with a column of consecutive numbers from 1."""
    first = 1
    for batch in batches:
        yield batch.append_column(pa.field(name, pa.int64()), pa.array(np.arange(first, first + len(batch))))
        first += len(batch)


@contextmanager
def _first_of(failed: list[OutputError]) -> Iterator[None]:
    """Raise the error that ended a stream, instead of the one that its reader raises for it."""
    try:
        yield
    except Exception:
        if failed:
            raise failed[0] from None
        raise
