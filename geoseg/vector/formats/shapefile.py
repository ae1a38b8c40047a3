"""Shapefile: geometry, index, attributes, projection, encoding and a spatial index (.qix) in a file each."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from geoseg.core.errors import OutputError
from geoseg.vector.formats import FormatTraits
from geoseg.vector.formats.ogr import count_ogr, read_ogr, write_ogr
from geoseg.vector.layer import PolygonLayer

NAMES = MappingProxyType({"perimeter_m": "perim_m", "instance_id": "inst_id"})
"""Names in the file of columns whose own are longer than the 10 characters of a Shapefile."""

MOST_BYTES = 2**31 - 1
"""Most bytes of a part of a Shapefile that all programs can read."""

ROW_BYTES = 512
"""Most bytes of a row of the attribute table."""

MOST_ID = 10**17 - 1
"""Largest whole number in an attribute of 18 characters, of which one is the sign."""

PARTS = (".shx", ".dbf", ".prj", ".cpg", ".qix", ".sbn", ".sbx")
"""Extensions of the files that may belong to a .shp."""


class Shapefile:
    """Several files with one stem."""

    traits = FormatTraits()

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write all parts; the layer has the name of the file.

        Raises:
            OutputError: if the files could become larger than a Shapefile can be, or class ids are too large.
        """
        polygons.check_ids(MOST_ID, "a Shapefile")
        size = max(16 * polygons.vertices + 64 * len(polygons.regions), ROW_BYTES * len(polygons))
        if size > MOST_BYTES:
            raise OutputError(
                f"a Shapefile holds 2 GB, these {len(polygons):,} polygons with {polygons.vertices:,} vertices take up "
                f"to {size / 1e9:,.1f} GB: write .gpkg instead, or fewer of them (min_area, simplify)"
            )
        write_ogr(polygons, path, NAMES, driver="ESRI Shapefile", ENCODING="UTF-8", SPATIAL_INDEX="YES")

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read all rows."""
        return read_ogr(path)

    def count(self, path: Path) -> int:
        """Count the rows."""
        return count_ogr(path)

    def parts(self, path: Path) -> list[Path]:
        """The other parts."""
        return [path.with_suffix(extension) for extension in PARTS]


SHAPEFILE = Shapefile()
