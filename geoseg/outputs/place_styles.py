"""Styles and forms for QGIS of files of places: what is to be seen, and what is to be filled in.

In: classes. Out: QML documents. Labels are drawn by the text of their class, so that a polygon changes its colour as
soon as its class is corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from geoseg.outputs.styles import new_qml, to_text
from geoseg.spec import ClassSpec

TO_DO, DONE = "227,26,28,255", "51,160,44,255"
"""Outlines of places, as red, green, blue and alpha."""


def places_qml(columns: Sequence[str]) -> str:
    """Style of places with some columns: outlines, red until they are done, with their rank or number.

    A checkbox says which are done.
    """
    root = new_qml("Symbology|Labeling|Fields|Forms")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr="done", enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for name, value, label, color in (("0", "false", "to be corrected", TO_DO), ("1", "true", "done", DONE)):
        given = {"value": value, "type": "bool", "label": label, "symbol": name, "render": "true"}
        SubElement(categories, "category", given)
        _add_symbol(symbols, name, {"style": "no", "outline_color": color, "outline_width": "0.6"})
    _add_rank(root, columns[0])
    fields = SubElement(root, "fieldConfiguration")
    checked = {"CheckedState": "true", "UncheckedState": "false", "TextDisplayMethod": "0"}
    _add_widget(fields, "done", "CheckBox", checked)
    for name in columns:
        if name != "done":
            _add_widget(fields, name, "TextEdit", {})
    SubElement(root, "previewExpression").text = f'"{columns[0]}"'
    SubElement(root, "layerGeometryType").text = "2"  # polygons
    return to_text(root)


def labels_qml(classes: Sequence[ClassSpec]) -> str:
    """Style of labels: half transparent, in the colour of their class, which is chosen from a list."""
    root = new_qml("Symbology|Fields|Forms|MapTips")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class", enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for index, c in enumerate(classes):
        _add_category(categories, index, c.name)
        rgb = _rgb(c)
        fill = {"style": "solid", "color": f"{rgb},110", "outline_color": f"{rgb},255", "outline_width": "0.4"}
        _add_symbol(symbols, str(index), fill)
    fields = SubElement(root, "fieldConfiguration")
    _add_choice(fields, "class", classes)
    _add_widget(fields, "place", "TextEdit", {})
    SubElement(root, "previewExpression").text = '"class"'
    SubElement(root, "mapTip", enabled="1").text = """<b>[% replace("class", map('&', '&amp;', '<', '&lt;')) %]</b>"""
    SubElement(root, "layerGeometryType").text = "2"
    return to_text(root)


def points_qml(columns: Sequence[str], classes: Sequence[ClassSpec]) -> str:
    """Style of points with some columns: red until their class is chosen from a list, then in its colour."""
    root = new_qml("Symbology|Fields|Forms")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class", enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for index, c in enumerate(classes):
        _add_category(categories, index, c.name)
        _add_marker(symbols, str(index), f"{_rgb(c)},255")
    _add_category(categories, len(classes), "")
    _add_marker(symbols, str(len(classes)), TO_DO)
    fields = SubElement(root, "fieldConfiguration")
    _add_choice(fields, "class", classes)
    for name in columns:
        if name != "class":
            _add_widget(fields, name, "TextEdit", {})
    SubElement(root, "previewExpression").text = f'"{columns[0]}"'
    SubElement(root, "layerGeometryType").text = "0"
    return to_text(root)


def _rgb(c: ClassSpec) -> str:
    return ",".join(str(int(c.color[i : i + 2], 16)) for i in (1, 3, 5))


def _add_category(categories: Element, index: int, name: str) -> None:
    given = {"value": name, "type": "string", "label": name, "symbol": str(index), "render": "true"}
    SubElement(categories, "category", given)


def _add_marker(symbols: Element, name: str, color: str) -> None:
    symbol = SubElement(symbols, "symbol", type="marker", name=name, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = SubElement(symbol, "layer", {"class": "SimpleMarker", "enabled": "1", "locked": "0", "pass": "0"})
    _add_settings(layer, {"name": "cross2", "size": "4", "size_unit": "MM", "color": color, "outline_color": color})


def _add_choice(fields: Element, name: str, classes: Sequence[ClassSpec]) -> None:
    """A list of the classes for a field; free text where they are unknown."""
    if not classes:
        _add_widget(fields, name, "TextEdit", {})
        return
    field = SubElement(fields, "field", name=name, configurationFlags="None")
    widget = SubElement(field, "editWidget", type="ValueMap")
    options = SubElement(SubElement(SubElement(widget, "config"), "Option", type="Map"), "Option", type="List")
    options.set("name", "map")
    for c in classes:
        SubElement(SubElement(options, "Option", type="Map"), "Option", type="QString", name=c.name, value=c.name)


def _add_symbol(symbols: Element, name: str, settings: dict[str, str]) -> None:
    symbol = SubElement(symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
    whole = {"outline_style": "solid", "outline_width_unit": "MM", "joinstyle": "miter", **settings}
    _add_settings(layer, whole)


def _add_settings(layer: Element, settings: dict[str, str]) -> None:
    options = SubElement(layer, "Option", type="Map")
    for key, value in settings.items():
        SubElement(options, "Option", name=key, value=value, type="QString")
    for key, value in settings.items():  # the same once more, as QGIS before 3.22 reads it
        SubElement(layer, "prop", k=key, v=value)


def _add_rank(root: Element, column: str) -> None:
    """The rank or number of a place as text in it."""
    labeling = SubElement(root, "labeling", type="simple")
    settings = SubElement(labeling, "settings")
    style = SubElement(settings, "text-style", fieldName=column, isExpression="0", fontSize="11", textColor=TO_DO)
    buffer = {"bufferDraw": "1", "bufferSize": "0.8", "bufferSizeUnits": "MM", "bufferColor": "255,255,255,220"}
    SubElement(style, "text-buffer", buffer)
    SubElement(settings, "placement", placement="1", centroidInside="1")
    SubElement(settings, "rendering", drawLabels="1", obstacle="0")


def _add_widget(fields: Element, name: str, kind: str, settings: dict[str, str]) -> None:
    field = SubElement(fields, "field", name=name, configurationFlags="None")
    config = SubElement(SubElement(field, "editWidget", type=kind), "config")
    options = SubElement(config, "Option", type="Map") if settings else SubElement(config, "Option")
    for key, value in settings.items():
        SubElement(options, "Option", type="QString", name=key, value=value)
