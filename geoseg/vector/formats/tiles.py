"""Vector tiles for web maps: PMTiles, one file that any web server can hold, and MBTiles, an SQLite database.

They are for looking, not for measuring: coordinates are whole numbers, and polygons are cut at the borders of tiles.
The largest scale keeps borders to an eighth of a pixel. Of smaller ones, tiles that would grow too large leave polygons
out.
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.core.errors import OutputError
from geoseg.core.safe_paths import plain_path
from geoseg.geo.geodesy import pixel_size_m
from geoseg.vector.formats import FormatTraits
from geoseg.vector.formats.geojson import ONLY_CRS
from geoseg.vector.formats.ogr import check_on_earth, sqlite_parts, write_ogr
from geoseg.vector.layer import PolygonLayer

WORLD_M = 2 * math.pi * 6378137
"""Side of the square map of the world in Web Mercator, in metres at the equator."""
UNITS = 4096
"""Whole numbers along the side of a tile."""
PIXEL_PARTS = 8
"""Units in a pixel at the largest scale, at least."""
SCALES = 6
"""Zoom levels below the largest: a scene of 16,000 pixels fits into a few tiles of the smallest scale."""
LARGEST_ZOOM = 22
"""Largest zoom level of GDAL's tiles; its unit is 2 mm at the equator."""
NUMBER = "id"
"""Name of the column that numbers polygons, of which tiles hold pieces."""
MOST_FEATURES, MOST_BYTES = 2_000_000, 50_000_000
"""Limits of a tile, beyond any at the largest scale."""


@dataclass(frozen=True)
class VectorTiles:
    """One file of vector tiles."""

    driver: str
    """Name of GDAL's driver."""
    attributes: bool = False
    """Whether the file is a database whose metadata can be given the line that maps show as attribution."""

    traits = FormatTraits(coordinates="tiles")

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write the layer at several scales.

        Raises:
            OutputError: if GDAL was built without the driver, the layer is empty or has no place on the earth.
        """
        if "w" not in pyogrio.list_drivers().get(self.driver, ""):
            raise OutputError(f"GDAL was built without {self.driver} here: write another format, e.g. .fgb")
        if not len(polygons):
            raise OutputError("there is no polygon, and tiles cannot be empty: write another format, e.g. .fgb")
        crs = polygons.output_crs
        if crs is None:
            raise OutputError(f"{self.driver} needs a place on the earth, and the raster has none: write .gpkg instead")
        check_on_earth(crs, self.driver)
        zoom = _largest_zoom(polygons)
        degrees = replace(polygons, target=CRS.from_user_input(ONLY_CRS))  # by which they are split at 180°
        write_ogr(degrees, path, driver=self.driver, layer=name, number=NUMBER, **_options(zoom, name))
        if self.attributes and polygons.rights.statement:
            _attribute(path, polygons.rights.statement)

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read the largest scale, and join what was cut at the borders of tiles."""
        number, class_id, geometry = _features(path)
        first = np.unique(number, return_index=True)[1]
        order = np.argsort(number, kind="stable")
        pieces = np.split(shapely.from_wkb(geometry)[order], np.flatnonzero(np.diff(number[order])) + 1)
        return class_id[first].astype(np.int64), np.array([shapely.union_all(piece) for piece in pieces], object)

    def count(self, path: Path) -> int:
        """Count the polygons by their numbers."""
        return len(np.unique(_features(path)[0]))

    def parts(self, path: Path) -> list[Path]:
        """Journals of an earlier database of this name."""
        return sqlite_parts(path)


def _largest_zoom(polygons: PolygonLayer) -> int:
    """Zoom level at which a pixel has as many units as it should."""
    rows, columns = (int(n) for n in polygons.regions.corners.max(axis=0, initial=1)[::-1])
    size = pixel_size_m(polygons.crs, polygons.transform, rows, columns)
    if size is None:
        return LARGEST_ZOOM
    wanted = math.ceil(math.log2(WORLD_M / UNITS * PIXEL_PARTS / min(size)))
    return min(max(wanted, 0), LARGEST_ZOOM)


def _options(zoom: int, name: str) -> dict[str, Any]:
    return {
        "NAME": name,
        "MINZOOM": str(max(0, zoom - SCALES)),
        "MAXZOOM": str(zoom),
        "MAX_FEATURES": str(MOST_FEATURES),
        "MAX_SIZE": str(MOST_BYTES),
    }


def _attribute(path: Path, statement: str) -> None:
    """Write the row of MBTiles' metadata that maps show as attribution, as HTML."""
    try:
        with closing(sqlite3.connect(path)) as base, base:
            base.execute("INSERT INTO metadata (name, value) VALUES ('attribution', ?)", (escape(statement),))
    except sqlite3.Error as error:
        raise OSError(str(error)) from None


def _features(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Numbers, class ids and geometry (WKB) of the pieces of polygons at the largest scale."""
    with plain_path(path) as plain:
        _, _, geometry, (class_id, number) = pyogrio.raw.read(plain, columns=[NUMBER, "class_id"])
    return number, class_id, geometry


PMTILES = VectorTiles("PMTiles")
MBTILES = VectorTiles("MBTiles", attributes=True)
