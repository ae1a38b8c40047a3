"""Vector formats: writing polygons to files, and reading them back.

A new format is a file here with a `VectorFormat`, and a line in `FORMATS` below; its name is the extension of its
files. One of another package is an entry point of the group `geoseg.formats`. Nothing of it is loaded before a file of
it is written or read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import OutputError
from geoseg.core.registry import Registry

if TYPE_CHECKING:
    from geoseg.vector.layer import PolygonLayer


@dataclass(frozen=True)
class FormatTraits:
    """What a format does to a layer."""

    coordinates: Literal["own", "degrees", "tiles"] = "own"
    """Those in the file: the layer's own, longitude and latitude on WGS 84, or whole numbers within the tiles of a web
    map, at whose borders polygons are cut."""
    holds_styles: bool = False
    """Whether styles can be stored in the file itself, as in a GeoPackage."""


class VectorFormat(Protocol):
    """A file format for a layer of N polygons with their attributes."""

    traits: FormatTraits
    """What it does to a layer."""

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write a layer to a path that is free; parts of it may lie beside it, under the path's stem.

        A layer without polygons gives an empty one with the same columns. A format may add columns of its own.

        Args:
            polygons: the layer.
            path: the file, under a plain name.
            name: name of the layer, where the format has names.

        Raises:
            OutputError: if the format cannot hold the layer.
            OSError, RuntimeError, ValueError: if the file cannot be written.
        """
        ...

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read class ids (N,) and polygons (N,) of a file that geoseg wrote, in the same order.

        Raises:
            OSError, RuntimeError: if it cannot be read.
        """
        ...

    def count(self, path: Path) -> int:
        """Count the polygons of a file that geoseg wrote, without reading them.

        Raises:
            OSError, RuntimeError: if it cannot be read.
        """
        ...

    def parts(self, path: Path) -> list[Path]:
        """List the files that belong to one at a path, or would be misread as parts of it if they are there."""
        ...


FORMATS: Registry[VectorFormat] = Registry(
    "vector format",
    "geoseg.formats",
    {
        ".gpkg": "geoseg.vector.formats.geopackage:GEOPACKAGE",
        ".shp": "geoseg.vector.formats.shapefile:SHAPEFILE",
        ".geojson": "geoseg.vector.formats.geojson:GEOJSON",
        ".json": "geoseg.vector.formats.geojson:GEOJSON",
        ".fgb": "geoseg.vector.formats.flatgeobuf:FLATGEOBUF",
        ".parquet": "geoseg.vector.formats.geoparquet:GEOPARQUET",
        ".pmtiles": "geoseg.vector.formats.tiles:PMTILES",
        ".mbtiles": "geoseg.vector.formats.tiles:MBTILES",
    },
    OutputError,
)
"""Every vector format, by extension in lower case."""


def format_of(path: str | os.PathLike[str]) -> VectorFormat:
    """The format that a path's extension names.

    Raises:
        OutputError: if it names none; the message names the nearest extension that does, or all.
    """
    return FORMATS.get(check_extension(path))


def check_extension(path: str | os.PathLike[str]) -> str:
    """The extension of a path in lower case, if it names a vector format; nothing is loaded.

    Raises:
        OutputError: if it names none; the message names the nearest extension that does, or all.
    """
    extension = Path(path).suffix.lower()
    if not extension:
        raise OutputError(f"no file extension in {os.fspath(path)!r}: use one of {', '.join(FORMATS)}")
    return FORMATS.check(extension)
