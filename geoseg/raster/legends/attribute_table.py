"""Raster attribute tables, as GDAL finds them: in the file (.img, ...) or in its sidecar (.aux.xml)."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import InRaster
from geoseg.raster.legends.columns import COLORS, MIN_MAX, NAME, Column, legend_of
from geoseg.raster.legends.place import LegendPlace, whole

TABLE = "GDALRasterAttributeTable"


class AttributeTable(InRaster):
    """A table with a row for each value."""

    def find(self, place: LegendPlace) -> Legend:
        """The legend in the attribute table of a raster's first band."""
        table = place.band.find(TABLE)
        return Legend() if table is None else legend_of_table(table)

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write a table into the sidecar of a raster."""
        root = Element("PAMDataset")
        table = SubElement(SubElement(root, "PAMRasterBand", band="1"), TABLE, tableType="thematic")
        usages = [("Value", 0, MIN_MAX), ("Class_Name", 2, NAME), *zip("RGB", (0, 0, 0), COLORS, strict=True)]
        for index, (name, kind, usage) in enumerate(usages):
            column = SubElement(table, "FieldDefn", index=str(index))
            for tag, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
                SubElement(column, tag).text = text
        for index, (value, name) in enumerate(legend.names.items()):
            row = SubElement(table, "Row", index=str(index))
            for cell in (str(value), name, *map(str, bytes.fromhex(legend.colors[value][1:]))):
                SubElement(row, "F").text = cell
        raster.with_name(f"{raster.name}.aux.xml").write_text(ElementTree.tostring(root, "unicode"), encoding="utf-8")
        return raster


def legend_of_table(table: Element) -> Legend:
    """The legend in an attribute table as GDAL writes it."""
    fields = table.findall("FieldDefn")
    rows = [[cell.text for cell in row] for row in table.findall("Row")]
    columns = [
        Column(
            field.findtext("Name") or "",
            [row[k] if k < len(row) else None for row in rows],
            whole(field.findtext("Usage")) or 0,
        )
        for k, field in enumerate(fields)
    ]
    return legend_of(columns, _number(table.get("Row0Min"), 0), _number(table.get("BinSize"), 1))


def _number(text: str | None, default: float) -> float:
    try:
        return default if text is None else float(text)
    except ValueError:
        return default


ATTRIBUTE_TABLE = AttributeTable()
