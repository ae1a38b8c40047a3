"""FlatGeobuf with a spatial index, which reorders the polygons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.vector.formats.ogr import read_ogr, sqlite_leftovers, write_ogr
from geoseg.vector.layer import PolygonLayer


class FlatGeobuf:
    """One binary file."""

    in_degrees = False
    holds_styles = False

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write the layer under its name."""
        write_ogr(polygons, path, driver="FlatGeobuf", layer=name)

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read the only layer."""
        return read_ogr(path)

    def leftovers(self, path: Path) -> list[Path]:
        """Journals of an earlier database of this name."""
        return sqlite_leftovers(path)


FLATGEOBUF = FlatGeobuf()
