"""Category names, as GDAL finds them: a list with the name of value 0 first."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import rasterio

from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import InRaster
from geoseg.raster.legends.place import LegendPlace, class_name


class Categories(InRaster):
    """A list of names; colours may stand in the colour table beside it."""

    def find(self, place: LegendPlace) -> Legend:
        """The names of a raster's first band."""
        names = [class_name(category.text) for category in place.band.findall("CategoryNames/Category")]
        return Legend({value: name for value, name in enumerate(names) if name})

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write names into the sidecar of a raster, and colours into its colour table."""
        with rasterio.open(raster, "r+") as dataset:
            dataset.write_colormap(1, {k: (*bytes.fromhex(color[1:]), 255) for k, color in legend.colors.items()})
        root = Element("PAMDataset")
        names = SubElement(SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
        for value in range(max(legend.names) + 1):
            SubElement(names, "Category").text = legend.names.get(value, "")
        raster.with_name(f"{raster.name}.aux.xml").write_text(ElementTree.tostring(root, "unicode"), encoding="utf-8")
        return raster


CATEGORIES = Categories()
