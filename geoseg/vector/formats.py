"""A layer of polygons in, a vector file out, in the format that the file's extension names.

What goes in: polygons, batch by batch. What comes out: one file (a Shapefile: a handful) that appears under its name
only when it is complete. Knows nothing of rasters and classes, and doesn't ask before it replaces a file.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pyogrio
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.core.errors import OutputError
from geoseg.core.files import one_line, sync, workspace
from geoseg.core.naming import layer_name
from geoseg.core.safe_paths import plain_folder, plain_path
from geoseg.vector.layer import PolygonLayer

__all__ = ["VECTOR_FORMATS", "check_extension", "write_polygons"]

Writer = Callable[[PolygonLayer, Path, str], None]
"""(polygons, path, layer name) → a file at that path."""

SHAPEFILE_NAMES = MappingProxyType({"perimeter_m": "perim_m"})
"""Fields whose names are longer than the 10 characters of a Shapefile, and what they are called there."""

SHAPEFILE_BYTES = 2**31 - 1
"""Most bytes in a part of a Shapefile that all programs can read."""

SHAPEFILE_ROW_BYTES = 512
"""Bytes of a row of a Shapefile's table, at most."""

MOST_VERTICES = 60_000_000
"""Most vertices of a polygon: SQLite, and so a GeoPackage, takes a gigabyte in one piece, of 16 bytes each."""

GEOJSON_CRS = "OGC:CRS84"
"""Longitude and latitude on WGS 84: the only coordinate system of GeoJSON, which for that reason doesn't name it."""

GEOJSON_DIGITS = 9
"""Decimals of a degree: a tenth of a millimetre. RFC 7946's usual 7 (a centimetre) collapse the pixels of a drone."""

_DRAFT = "draft"
"""Stem of unfinished files: that of the finished ones may be one that libraries misread."""

SHAPEFILE_PARTS = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx")
"""What may stand beside a .shp and would be misread as a part of the new one."""


def count_polygons(path: Path, layer: str) -> int:
    """How many polygons a layer of a file holds.

    Raises:
        OutputError: if it cannot be read.
    """
    try:
        with plain_path(path) as plain:
            return int(pyogrio.read_info(plain, layer=layer_name(layer))["features"])
    except RuntimeError as error:
        raise OutputError(f"{path} is damaged: {one_line(error)}: pass --overwrite to make it again") from None


def write_polygons(
    polygons: PolygonLayer,
    path: str | os.PathLike[str],
    name: str | None = None,
    finish: Callable[[Path], None] = lambda draft: None,
) -> None:
    """Write polygons in the format of the path's extension, replacing what is there.

    A layer without polygons gives an empty one with the same fields. Nothing is left behind when writing fails or is
    interrupted.

    Args:
        polygons: What to write.
        path: The file; its folder is made if it is missing.
        name: Name of the layer in formats that have names, made to fit; by default the file's.
        finish: Called with the finished file before it gets its place; what is put beside it moves along.

    Raises:
        OutputError: The extension names no known format, or the file cannot be written.
    """
    path = Path(path)
    check_extension(path)
    if polygons.largest > MOST_VERTICES:
        raise OutputError(
            f"one polygon has {polygons.largest:,} vertices, which is more than GeoPackages and others hold: leave out "
            "dissolve, or simplify"
        )
    try:
        with workspace(path) as folder:
            draft = folder / f"{_DRAFT}{path.suffix}"
            with plain_folder(folder) as reached:
                VECTOR_FORMATS[path.suffix.lower()](polygons, reached / draft.name, layer_name(name or path.stem))
            finish(draft)
            move_parts(draft, path)
    except (OSError, RuntimeError, ValueError, pa.ArrowException) as error:
        raise OutputError(f"cannot write {path}: {one_line(error)}") from error


def check_extension(path: str | os.PathLike[str]) -> None:
    """Make sure that the path names a format.

    Raises:
        OutputError: It doesn't; the message lists the extensions that do.
    """
    extension = Path(path).suffix.lower()
    if extension not in VECTOR_FORMATS:
        what = f"unknown vector format {extension!r}" if extension else f"no file extension in {os.fspath(path)!r}"
        raise OutputError(f"{what}: use one of {', '.join(VECTOR_FORMATS)}")


def move_parts(draft: Path, path: Path) -> None:
    """Move a finished file and its parts to their place, the file that the path names last."""
    for leftover in leftovers(path):
        leftover.unlink(missing_ok=True)
    for part in sorted(draft.parent.iterdir(), key=lambda part: part == draft):
        sync(part)
        os.replace(part, path.with_name(path.stem + part.name.removeprefix(_DRAFT)))


def leftovers(path: Path) -> list[Path]:
    """Where files may lie that belonged to the file which is about to be replaced."""
    if path.suffix.lower() == ".shp":
        return [path.with_suffix(extension) for extension in SHAPEFILE_PARTS]
    return [path.with_name(path.name + extension) for extension in ("-wal", "-shm", "-journal")]  # SQLite's


# ----------------------------------------------------------------------------------------------------------- formats


def write_geopackage(polygons: PolygonLayer, path: Path, name: str) -> None:
    """One table with a spatial index, in the version that programs from 2018 on know."""
    write_ogr(polygons, path, driver="GPKG", layer=name, VERSION="1.2")


def write_shapefile(polygons: PolygonLayer, path: Path, name: str) -> None:
    """Geometry, attributes, projection and encoding in a file each.

    Raises:
        OutputError: It would grow beyond what a Shapefile can hold.
    """
    size = max(16 * polygons.vertices + 64 * len(polygons.regions), SHAPEFILE_ROW_BYTES * len(polygons))
    if size > SHAPEFILE_BYTES:
        raise OutputError(
            f"a Shapefile holds 2 GB, these {len(polygons):,} polygons with {polygons.vertices:,} vertices take up to "
            f"{size / 1e9:,.1f} GB: write .gpkg instead, or fewer of them (min_area, simplify)"
        )
    write_ogr(polygons, path, SHAPEFILE_NAMES, driver="ESRI Shapefile", ENCODING="UTF-8")


def write_geojson(polygons: PolygonLayer, path: Path, name: str) -> None:
    """RFC 7946: longitude and latitude on WGS 84, cut at 180°; without a coordinate system as it is.

    GDAL's own way there is not taken: it loses what lies beyond 360°.
    """
    if polygons.output_crs is None:
        write_ogr(polygons, path, driver="GeoJSON", layer=name)
        return
    check_on_earth(polygons.output_crs)
    degrees = replace(polygons, target=CRS.from_user_input(GEOJSON_CRS))
    write_ogr(degrees, path, says_crs=False, driver="GeoJSON", layer=name, COORDINATE_PRECISION=str(GEOJSON_DIGITS))


def check_on_earth(crs: CRS) -> None:
    """Make sure that coordinates can become longitude and latitude.

    Raises:
        OutputError: They can't.
    """
    try:
        Transformer.from_crs(crs, "EPSG:4326")
    except ProjError as error:
        message = (
            f"GeoJSON needs longitude and latitude, which the system {crs.name!r} cannot give: write .gpkg instead"
        )
        raise OutputError(message) from error


def write_flatgeobuf(polygons: PolygonLayer, path: Path, name: str) -> None:
    """With a spatial index, which puts the polygons in an order of its own."""
    write_ogr(polygons, path, driver="FlatGeobuf", layer=name)


def write_geoparquet(polygons: PolygonLayer, path: Path, name: str) -> None:
    """GeoParquet 1.0 with geometry as WKB."""
    crs = polygons.output_crs
    column = {
        "encoding": "WKB",
        "geometry_types": [polygons.geometry_type] if len(polygons) else [],
        "crs": None if crs is None else crs.to_json_dict(),
        "orientation": "counterclockwise",
    }
    about = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
    schema = polygons.schema.with_metadata({"geo": json.dumps(about)})
    with pyarrow.parquet.ParquetWriter(path, schema) as file:
        for batch in polygons.batches():
            file.write_batch(batch.cast(schema))


def write_ogr(
    polygons: PolygonLayer,
    path: Path,
    names: Mapping[str, str] = MappingProxyType({}),
    *,
    says_crs: bool = True,
    **options: Any,
) -> None:
    """Write through GDAL, batch after batch; some columns under other names, and without a CRS if it isn't wanted."""
    schema = pa.schema([column.with_name(names.get(column.name, column.name)) for column in polygons.schema])
    failed: list[OutputError] = []
    batches = _renamed(polygons, schema, failed)
    crs = polygons.output_crs if says_crs else None
    with warnings.catch_warnings(), _first_of(failed):
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_arrow(
            pa.RecordBatchReader.from_batches(schema, batches),
            path,
            geometry_name="geometry",
            geometry_type=polygons.geometry_type,
            crs=None if crs is None else crs.to_wkt(),
            **options,
        )


def _renamed(polygons: PolygonLayer, schema: pa.Schema, failed: list[OutputError]) -> Iterator[pa.RecordBatch]:
    """The batches under other names; an error is kept, for Arrow hides it from whoever reads the stream."""
    try:
        for batch in polygons.batches():
            yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    except OutputError as error:
        failed.append(error)
        raise


@contextmanager
def _first_of(failed: list[OutputError]) -> Iterator[None]:
    """Raise what made a stream end, not what its reader says of it."""
    try:
        yield
    except Exception:
        if failed:
            raise failed[0] from None
        raise


VECTOR_FORMATS: Mapping[str, Writer] = MappingProxyType(
    {
        ".gpkg": write_geopackage,
        ".shp": write_shapefile,
        ".geojson": write_geojson,
        ".json": write_geojson,
        ".fgb": write_flatgeobuf,
        ".parquet": write_geoparquet,
    }
)
"""What writes a file, by its extension in lower case."""
