"""GeoPackage 1.2, which programs from 2018 on read: one table with a spatial index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyogrio
from numpy.typing import NDArray

from geoseg.core.naming import layer_name
from geoseg.vector.formats import FormatTraits
from geoseg.vector.formats.ogr import count_ogr, read_ogr, sqlite_parts, write_ogr
from geoseg.vector.layer import PolygonLayer


class GeoPackage:
    """A table of an SQLite database."""

    traits = FormatTraits(holds_styles=True)

    def write(self, polygons: PolygonLayer, path: Path, name: str) -> None:
        """Write the layer as a table of that name."""
        with _index_beside():
            write_ogr(polygons, path, driver="GPKG", layer=name, VERSION="1.2")

    def read(self, path: Path) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
        """Read the table that has the file's name: the file may hold a table of styles, too."""
        return read_ogr(path, layer_name(path.stem))

    def count(self, path: Path) -> int:
        """Count the rows of that table."""
        return count_ogr(path, layer_name(path.stem))

    def parts(self, path: Path) -> list[Path]:
        """SQLite's journals."""
        return sqlite_parts(path)


@contextmanager
def _index_beside() -> Iterator[None]:
    """Have GDAL make the spatial index in a thread from the first polygon on, not only that of large layers."""
    option = "OGR_GPKG_THREADED_RTREE_AT_FIRST_FEATURE"
    given = pyogrio.get_gdal_config_option(option)
    pyogrio.set_gdal_config_options({option: True if given is None else given})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({option: given})


GEOPACKAGE = GeoPackage()
