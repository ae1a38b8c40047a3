"""Styles of GeoServer and others (.sld): a colour map of a raster, and rules of polygons for one value each."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geoseg.raster.legend import Legend
from geoseg.raster.legends.bases import BesideRaster
from geoseg.raster.legends.place import class_name, read_xml, whole

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class Sld(BesideRaster):
    """A style, in any version and namespace."""

    suffixes = (".sld",)

    def read(self, path: Path) -> Legend:
        """The legend in a style; a raster's colour map comes before the rules of polygons."""
        root = read_xml(path)
        entries = [(e.get("quantity"), e.get("label"), e.get("color")) for e in root.iterfind(".//{*}ColorMapEntry")]
        return _legend(entries).completed_by(_legend([_rule(rule) for rule in root.iterfind(".//{*}Rule")]))

    def example(self, raster: Path, legend: Legend) -> Path:
        """Write a style with a colour map beside a raster."""
        root = Element("StyledLayerDescriptor", xmlns="http://www.opengis.net/sld")
        colors = SubElement(SubElement(root, "RasterSymbolizer"), "ColorMap", type="values")
        for value, name in legend.names.items():
            SubElement(colors, "ColorMapEntry", color=legend.colors[value], quantity=str(value), label=name)
        path = raster.with_suffix(".sld")
        path.write_text(ElementTree.tostring(root, "unicode"), encoding="utf-8")
        return path


def _rule(rule: Element) -> tuple[str | None, str | None, str | None]:
    """Value, title and fill of a rule; without a value unless it is for one."""
    value = rule.findtext(".//{*}PropertyIsEqualTo/{*}Literal")
    title = rule.findtext("{*}Title") or rule.findtext("{*}Description/{*}Title") or rule.findtext("{*}Name")
    fill = next((part.text for part in rule.iterfind(".//{*}Fill/*") if part.get("name") == "fill"), None)
    return value, title, fill


def _legend(entries: list[tuple[str | None, str | None, str | None]]) -> Legend:
    known = [(value, label, color) for text, label, color in entries if (value := whole(text)) is not None]
    names = {value: class_name(label) for value, label, _ in known if whole(label) != value}
    colors = {value: color.strip().lower() for value, _, color in known if color and _COLOR.fullmatch(color.strip())}
    return Legend({value: name for value, name in names.items() if name}, colors)


SLD = Sld()
