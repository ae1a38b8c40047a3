"""Attribute tables of ArcGIS: dBASE files called X.tif.vat.dbf, which GDAL does not read with the raster."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoseg.core.files import one_line
from geoseg.core.safe_paths import plain_path
from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import BesideRaster
from geoseg.raster.legends.columns import Column, legend_of
from geoseg.raster.legends.place import UnreadableLegend, read_content


class Vat(BesideRaster):
    """A table with a row for each value."""

    suffixes = (".vat.dbf", ".dbf")

    def read(self, path: Path) -> Legend:
        """The legend in a dBASE file."""
        import pyogrio.raw  # takes a quarter of a second, and few rasters have such a file

        read_content(path)  # bounds its size
        try:
            with plain_path(path) as plain:
                about, _, _, cells = pyogrio.raw.read(plain, read_geometry=False)
        except (RuntimeError, OSError, ValueError) as error:
            raise UnreadableLegend(f"{path} is no attribute table ({one_line(error)})") from None
        return legend_of([Column(str(n), c.tolist()) for n, c in zip(about["fields"], cells, strict=True)])

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write a table beside a raster."""
        import pyogrio.raw

        path = raster.with_name(f"{raster.name}.vat.dbf")
        values = list(legend.names)
        colors = np.array([list(bytes.fromhex(legend.colors[k][1:])) for k in values], np.int32)
        cells = [np.array(values, np.int32), np.array(list(legend.names.values()), object), *colors.T]
        fields = ["Value", "Class_Name", "Red", "Green", "Blue"]
        pyogrio.raw.write(path, None, cells, fields, geometry_type=None, driver="ESRI Shapefile", encoding="UTF-8")
        return path


VAT = Vat()
