"""FlatGeobuf with a spatial index, which reorders the polygons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.formats import FormatTraits
from geoseg.vector.formats.ogr import count_ogr, read_ogr, sqlite_parts, write_ogr
from geoseg.vector.layer import PolygonLayer


class FlatGeobuf:
    """One binary file."""

    traits = FormatTraits()

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write the layer under its name."""
        write_ogr(polygons, path, driver="FlatGeobuf", layer=name)

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read the only layer."""
        return read_ogr(path)

    def count(self, path: Path) -> int:
        """Count the rows."""
        return count_ogr(path)

    def parts(self, path: Path) -> list[Path]:
        """Journals of an earlier database of this name."""
        return sqlite_parts(path)


FLATGEOBUF = FlatGeobuf()
