"""A table of polygons in, a vector file out, in the format that the file's extension names.

What goes in: a GeoDataFrame of polygons. What comes out: one file (a Shapefile: a handful) that appears under its name
only when it is complete. Knows nothing of rasters and classes, and doesn't ask before it replaces a file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import geopandas
import pyarrow
import pyogrio
from pyproj import CRS, Transformer
from pyproj.exceptions import ProjError

from geoseg.errors import OutputError
from geoseg.files import one_line, workspace

__all__ = ["VECTOR_FORMATS", "check_extension", "write_polygons"]

Writer = Callable[[geopandas.GeoDataFrame, Path, str], None]
"""(polygons, path, layer name) → a file at that path."""

SHAPEFILE_NAMES = MappingProxyType({"perimeter_m": "perim_m"})
"""Fields whose names are longer than the 10 characters of a Shapefile, and what they are called there."""

GEOJSON_DIGITS = 9
"""Decimals of a degree: a tenth of a millimetre. RFC 7946's usual 7 (a centimetre) collapse the pixels of a drone."""

SHAPEFILE_PARTS = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx")
"""What may stand beside a .shp and would be misread as a part of the new one."""


def write_polygons(frame: geopandas.GeoDataFrame, path: str | os.PathLike[str], layer: str | None = None) -> None:
    """Write polygons in the format of the path's extension, replacing what is there.

    An empty table gives an empty layer with the same fields. Nothing is left behind when writing fails or is
    interrupted.

    Args:
        frame: One polygon per row.
        path: The file; its folder is made if it is missing.
        layer: Name of the layer in formats that have names; by default the file's.

    Raises:
        OutputError: The extension names no known format, or the file cannot be written.
    """
    path = Path(path)
    check_extension(path)
    try:
        with workspace(path.parent) as folder:
            draft = folder / path.name
            VECTOR_FORMATS[path.suffix.lower()](frame, draft, layer or path.stem)
            move_parts(draft, path)
    except (OSError, RuntimeError, ValueError, pyarrow.ArrowException) as error:
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
        os.replace(part, path.parent / part.name)


def leftovers(path: Path) -> list[Path]:
    """Where files may lie that belonged to the file which is about to be replaced."""
    if path.suffix.lower() == ".shp":
        return [path.with_suffix(extension) for extension in SHAPEFILE_PARTS]
    return [path.with_name(path.name + extension) for extension in ("-wal", "-shm", "-journal")]  # SQLite's


# ----------------------------------------------------------------------------------------------------------- formats


def write_geopackage(frame: geopandas.GeoDataFrame, path: Path, layer: str) -> None:
    """One table with a spatial index."""
    write_ogr(frame, path, driver="GPKG", layer=layer)


def write_shapefile(frame: geopandas.GeoDataFrame, path: Path, layer: str) -> None:
    """Geometry, attributes, projection and encoding in a file each."""
    write_ogr(frame.rename(columns=SHAPEFILE_NAMES), path, driver="ESRI Shapefile", ENCODING="UTF-8")


def write_geojson(frame: geopandas.GeoDataFrame, path: Path, layer: str) -> None:
    """RFC 7946: longitude and latitude on WGS 84; without a coordinate system as it is.

    GDAL reprojects rather than geopandas, because it also cuts polygons at 180°, as the RFC wants it.
    """
    if frame.crs is None:
        write_ogr(frame, path, driver="GeoJSON", layer=layer)
        return
    check_on_earth(frame.crs)
    write_ogr(frame, path, driver="GeoJSON", layer=layer, RFC7946="YES", COORDINATE_PRECISION=str(GEOJSON_DIGITS))


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


def write_flatgeobuf(frame: geopandas.GeoDataFrame, path: Path, layer: str) -> None:
    """With a spatial index, which puts the polygons in an order of its own."""
    write_ogr(frame, path, driver="FlatGeobuf", layer=layer)


def write_geoparquet(frame: geopandas.GeoDataFrame, path: Path, layer: str) -> None:
    """GeoParquet 1.0 with geometry as WKB."""
    frame.to_parquet(path)


def write_ogr(frame: geopandas.GeoDataFrame, path: Path, **options: Any) -> None:
    """Write through GDAL. Arrow halves the time of the usual way through Python objects."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.write_dataframe(frame, path, geometry_type="Polygon", use_arrow=True, **options)


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
