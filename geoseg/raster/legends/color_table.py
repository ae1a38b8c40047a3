"""The colour table of a raster: colours without names."""

from __future__ import annotations

from pathlib import Path

import rasterio

from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import InRaster
from geoseg.raster.legends.place import LegendPlace


class ColorTable(InRaster):
    """A colour for each value, also for those that do not occur."""

    def find(self, place: LegendPlace) -> Legend:
        """The colours of a raster's first band."""
        try:
            table = place.raster.colormap(1)
        except ValueError:  # there is none
            return Legend()
        return Legend(colors={value: "#{:02x}{:02x}{:02x}".format(*color[:3]) for value, color in table.items()})

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write the colours into a raster, and no names."""
        with rasterio.open(raster, "r+") as dataset:
            dataset.write_colormap(1, {k: (*bytes.fromhex(color[1:]), 255) for k, color in legend.colors.items()})
        return raster


COLOR_TABLE = ColorTable()
