"""Styles of results for QGIS and other GIS: each class in its colour, under its name.

In: classes. Out: style documents as text (QML for QGIS, SLD 1.0.0 for GeoServer and others), written where programs
look for them: in files beside a result, and in the table `layer_styles` of a GeoPackage. Knows neither pixels nor
polygons, only that classes are the values of a raster's first band and of the polygons' attribute `class_id`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from geoseg.core.errors import OutputError
from geoseg.core.files import draft_of, one_line
from geoseg.core.naming import visible
from geoseg.spec import NODATA_ID, ClassSpec

__all__ = [
    "add_layer_style",
    "has_polygon_style",
    "new_qml",
    "raster_sld",
    "shared_qml",
    "style_paths",
    "to_text",
    "vector_qml",
    "vector_sld",
    "write_style_files",
]

STYLE_NAME = "land cover"
"""Name of the style within a GeoPackage."""

_CLASS_ID, _CLASS_NAME = "class_id", "class"
_RENDERER = "renderer-v2"
"""Element of a style of polygons."""
_QGIS = "3.22.0"
"""QGIS version of the documents; newer and older versions read them, too."""
_MAP_TIP = (
    f"""<b>[% replace("{_CLASS_NAME}", map('&', '&amp;', '<', '&lt;')) %]</b> """
    """[% coalesce(format_number("area_m2" / 10000, 2) || ' ha', '') %]"""
)
"""HTML with QGIS expressions."""
_SLD = {
    "version": "1.0.0",
    "xmlns": "http://www.opengis.net/sld",
    "xmlns:ogc": "http://www.opengis.net/ogc",
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
    "xsi:schemaLocation": "http://www.opengis.net/sld http://schemas.opengis.net/sld/1.0.0/StyledLayerDescriptor.xsd",
}

# -------------------------------------------------------------------------------------------------------------- QGIS


def vector_qml(classes: Sequence[ClassSpec]) -> str:
    """Style of a polygon layer for QGIS: a category for each value of `class_id`, and map tips with class and area."""
    root = new_qml()
    _style_polygons(root, classes)
    return to_text(root)


def shared_qml(classes: Sequence[ClassSpec], nodata: int = NODATA_ID) -> str:
    """Styles of a polygon layer and of a class raster in one document, for results with the same stem.

    In the raster each class has its colour; `nodata` and all other values are transparent.
    """
    root = new_qml()
    _style_polygons(root, classes)
    _style_raster(root, classes, nodata)
    return to_text(root)


def new_qml(categories: str = "Symbology|Fields|MapTips") -> Element:
    """An empty QML document with styles of some categories, as QGIS names them."""
    return Element("qgis", version=_QGIS, styleCategories=categories)


def _style_polygons(root: Element, classes: Sequence[ClassSpec]) -> None:
    renderer = SubElement(root, _RENDERER, type="categorizedSymbol", attr=_CLASS_ID, enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for index, c in enumerate(classes):
        SubElement(categories, "category", value=str(c.id), label=c.name, symbol=str(index), render="true")
        _add_fill(symbols, str(index), c.color)
    SubElement(root, "previewExpression").text = f'"{_CLASS_NAME}"'
    SubElement(root, "mapTip", enabled="1").text = _MAP_TIP
    SubElement(root, "layerGeometryType").text = "2"  # polygons


def _style_raster(root: Element, classes: Sequence[ClassSpec], nodata: int) -> None:
    pipe = SubElement(root, "pipe")
    renderer = SubElement(pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1")
    clear = SubElement(SubElement(renderer, "rasterTransparency"), "singleValuePixelList")
    SubElement(clear, "pixelListEntry", min=str(nodata), max=str(nodata), percentTransparent="100")
    palette = SubElement(renderer, "colorPalette")
    for c in classes:
        SubElement(palette, "paletteEntry", value=str(c.id), color=c.color, label=c.name, alpha="255")
    SubElement(pipe, "rasterresampler", maxOversampling="2")  # names no method: nearest, so that classes don't mix


def _add_fill(symbols: Element, name: str, color: str) -> None:
    """A fill with a hairline of its own colour, without which the map shows through between neighbours."""
    symbol = SubElement(symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
    settings = {
        "color": _rgba(color),
        "style": "solid",
        "outline_color": _rgba(color),
        "outline_style": "solid",
        "outline_width": "0",
        "outline_width_unit": "MM",
        "joinstyle": "bevel",
    }
    options = SubElement(layer, "Option", type="Map")
    for key, value in settings.items():
        SubElement(options, "Option", name=key, value=value, type="QString")
    for key, value in settings.items():  # the same once more, as QGIS before 3.22 reads it
        SubElement(layer, "prop", k=key, v=value)


def _rgba(color: str) -> str:
    return ",".join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5)) + ",255"


# --------------------------------------------------------------------------------------------------------------- SLD


def vector_sld(classes: Sequence[ClassSpec], name: str) -> str:
    """Style of a polygon layer as SLD: a rule for each value of `class_id`; `name` is the layer's."""
    root, style = _sld_style(name)
    for c in classes:
        rule = SubElement(style, "Rule")
        SubElement(rule, "Name").text = c.name
        SubElement(rule, "Title").text = c.name
        equal = SubElement(SubElement(rule, "ogc:Filter"), "ogc:PropertyIsEqualTo")
        SubElement(equal, "ogc:PropertyName").text = _CLASS_ID
        SubElement(equal, "ogc:Literal").text = str(c.id)
        symbolizer = SubElement(rule, "PolygonSymbolizer")
        _add_parameters(SubElement(symbolizer, "Fill"), {"fill": c.color})
        _add_parameters(SubElement(symbolizer, "Stroke"), {"stroke": c.color, "stroke-width": "0.5"})
    return to_text(root)


def raster_sld(classes: Sequence[ClassSpec], name: str) -> str:
    """Style of a class raster as SLD: a colour for each value of its band; `name` is the layer's."""
    root, style = _sld_style(name)
    symbolizer = SubElement(SubElement(style, "Rule"), "RasterSymbolizer")
    colors = SubElement(symbolizer, "ColorMap", type="values")  # no part of 1.0.0, but GeoServer and QGIS have it
    for c in classes:
        SubElement(colors, "ColorMapEntry", color=c.color, quantity=str(c.id), label=c.name, opacity="1")
    return to_text(root)


def _sld_style(name: str) -> tuple[Element, Element]:
    """A document, and its element for rules."""
    root = Element("StyledLayerDescriptor", _SLD)
    layer = SubElement(root, "NamedLayer")
    SubElement(layer, "Name").text = name
    style = SubElement(layer, "UserStyle")
    SubElement(style, "Name").text = name
    return root, SubElement(style, "FeatureTypeStyle")


def _add_parameters(parent: Element, parameters: Mapping[str, str]) -> None:
    for name, value in parameters.items():
        SubElement(parent, "CssParameter", name=name).text = value


def to_text(root: Element) -> str:
    """A document as text."""
    ElementTree.indent(root)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + visible(ElementTree.tostring(root, encoding="unicode"), keep="\n\t")
        + "\n"
    )


# ------------------------------------------------------------------------------------------------------------- files


def style_paths(path: Path) -> tuple[Path, Path]:
    """Paths of the QML and the SLD of a result: beside it, under its name."""
    return path.with_suffix(".qml"), path.with_suffix(".sld")


def has_polygon_style(qml: Path) -> bool:
    """Whether a file is a style for QGIS that holds one of polygons, as that of a prediction does."""
    try:
        return f"<{_RENDERER} " in qml.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def write_style_files(path: Path, qml: str, sld: str) -> tuple[Path, Path]:
    """Write the styles of a result beside it, replacing older ones; QGIS loads the QML with the result.

    Returns:
        The paths of the QML and of the SLD.

    Raises:
        OutputError: They cannot be written.
    """
    paths = style_paths(path)
    for place, text in zip(paths, (qml, sld), strict=True):
        with draft_of(place) as draft:
            draft.write_text(text, encoding="utf-8")
    return paths


# -------------------------------------------------------------------------------------------------------- GeoPackage

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
    styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30),
    ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)"""
_REGISTER_TABLE = """
INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier, srs_id)
VALUES ('layer_styles', 'attributes', 'layer_styles', 0)"""
_REMOVE_STYLE = "DELETE FROM layer_styles WHERE f_table_name = ? AND styleName = ?"
_DEMOTE_STYLES = "UPDATE layer_styles SET useAsDefault = 0 WHERE f_table_name = ?"
_INSERT_STYLE = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML,
    styleSLD, useAsDefault, description, owner)
VALUES ('', '', ?, ?, ?, ?, ?, 1, 'Land-cover classes', '')"""


def add_layer_style(gpkg: Path, layer: str, qml: str, sld: str) -> None:
    """Store the style of a layer inside its GeoPackage as the default, so that QGIS opens the layer with it.

    A style of the same name is replaced; another default style is kept, but is not the default any more. GDAL lists the
    table as a layer without geometry, after the others.

    Raises:
        OutputError: The file cannot be written, or has no such layer with geometry.
    """
    try:
        with closing(sqlite3.connect(f"{gpkg.resolve().as_uri()}?mode=rw", uri=True)) as database, database:
            database.execute("BEGIN IMMEDIATE")  # sqlite3 would leave creating the table out of the transaction
            geometry = _geometry_column(database, layer)
            if geometry is None:
                raise OutputError(f"{gpkg} has no layer {layer!r} with geometry: check the layer's name")
            database.execute(_CREATE_TABLE)
            database.execute(_REGISTER_TABLE)
            database.execute(_REMOVE_STYLE, (layer, STYLE_NAME))
            database.execute(_DEMOTE_STYLES, (layer,))
            database.execute(_INSERT_STYLE, (layer, geometry, STYLE_NAME, qml, sld))
    except sqlite3.Error as error:
        raise OutputError(
            f"cannot write the style into {gpkg}: {one_line(error)}: check that it is a GeoPackage"
        ) from None


def _geometry_column(database: sqlite3.Connection, layer: str) -> str | None:
    row = database.execute("SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)).fetchone()
    return None if row is None else str(row[0])
