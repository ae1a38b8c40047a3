"""GeoJSON (RFC 7946): longitude and latitude on WGS 84, split at 180°; raw coordinates without a coordinate system.

Geoseg reprojects the polygons: GDAL would lose what lies beyond 360°.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from geoseg.vector.formats import FormatTraits
from geoseg.vector.formats.ogr import check_on_earth, count_ogr, read_ogr, sqlite_parts, write_ogr
from geoseg.vector.layer import PolygonLayer

ONLY_CRS = "OGC:CRS84"
"""Longitude and latitude on WGS 84: the only coordinate system of GeoJSON, which for that reason doesn't name it."""

DIGITS = 9
"""Decimals of a degree: a tenth of a millimetre. RFC 7946's usual 7 (a centimetre) collapse the pixels of a drone."""


MOST_ID = 2**53 - 1
"""Largest whole number that all programs read from JSON as it is (RFC 8259)."""


class GeoJson:
    """One text file."""

    traits = FormatTraits(coordinates="degrees")

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write the layer in degrees.

        Raises:
            OutputError: if its coordinates cannot be transformed to longitude and latitude, or class ids are too large.
        """
        polygons.check_ids(MOST_ID, "GeoJSON")
        if polygons.output_crs is None:
            write_ogr(polygons, path, driver="GeoJSON", layer=name)
            return
        check_on_earth(polygons.output_crs, "GeoJSON")
        degrees = replace(polygons, target=CRS.from_user_input(ONLY_CRS))
        write_ogr(degrees, path, with_crs=False, driver="GeoJSON", layer=name, COORDINATE_PRECISION=str(DIGITS))

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read all features."""
        return read_ogr(path)

    def count(self, path: Path) -> int:
        """Count the features."""
        return count_ogr(path)

    def parts(self, path: Path) -> list[Path]:
        """Journals of an earlier database of this name."""
        return sqlite_parts(path)


GEOJSON = GeoJson()
