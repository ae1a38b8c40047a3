"""Styles of QGIS (.qml): rasters with unique values, and polygons with a category for each value."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import BesideRaster
from geoseg.raster.legends.place import class_name, hex_color, read_xml, whole

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class Qml(BesideRaster):
    """A style; layer definitions (.qlr) hold styles, too."""

    suffixes = (".qml", ".qlr")

    def read(self, path: Path) -> Legend:
        """The legend in a style; the unique values of a raster come before the categories of polygons."""
        root = read_xml(path)
        shades = root.findall(".//colorrampshader[@colorRampType='EXACT']/item")
        entries = [*root.iter("paletteEntry"), *shades]
        legend = _legend([(e.get("value"), e.get("label"), e.get("color")) for e in entries])
        return legend.completed_by(_legend(_categories(root)))

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write a style of unique values beside a raster."""
        root = Element("qgis")
        palette = SubElement(SubElement(SubElement(root, "pipe"), "rasterrenderer", type="paletted"), "colorPalette")
        for value, name in legend.names.items():
            SubElement(palette, "paletteEntry", value=str(value), label=name, color=legend.colors[value])
        path = raster.with_suffix(".qml")
        path.write_text(ElementTree.tostring(root, "unicode"), encoding="utf-8")
        return path


Entry = tuple[str | None, str | None, str | None]
"""Value, label and colour, as they are written."""


def _legend(entries: list[Entry]) -> Legend:
    """The entries whose values are whole numbers; a label that repeats the value is no name."""
    known = [(value, label, color) for text, label, color in entries if (value := whole(text)) is not None]
    names = {value: class_name(label) for value, label, _ in known if whole(label) != value}
    colors = {value: color.lower() for value, _, color in known if color is not None and _COLOR.fullmatch(color)}
    return Legend({value: name for value, name in names.items() if name}, colors)


def _categories(root: Element) -> list[Entry]:
    """The categories of a layer of polygons, with the colours of their symbols."""
    found: list[Entry] = []
    for renderer in root.iterfind(".//renderer-v2[@type='categorizedSymbol']"):
        colors = {symbol.get("name"): _fill(symbol) for symbol in renderer.iterfind("symbols/symbol")}
        found += [
            (category.get("value"), category.get("label"), colors.get(category.get("symbol")))
            for category in renderer.iterfind("categories/category")
        ]
    return found


def _fill(symbol: Element) -> str | None:
    """The colour of a symbol's first layer, which QGIS before 3.22 wrote as `prop`."""
    option, prop = symbol.find(".//Option[@name='color']"), symbol.find(".//prop[@k='color']")
    text = option.get("value", "") if option is not None else prop.get("v", "") if prop is not None else ""
    parts = re.findall(r"\d+", text.partition("rgb:")[0])
    return hex_color(*map(float, parts[:3])) if len(parts) >= 3 else None


QML = Qml()
