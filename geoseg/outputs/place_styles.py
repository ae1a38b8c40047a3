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


def places_qml() -> str:
    """Style of places: outlines, red until they are done, with their rank; a checkbox says which are done."""
    root = new_qml("Symbology|Labeling|Fields|Forms")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr="done", enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for name, value, label, color in (("0", "false", "to be corrected", TO_DO), ("1", "true", "done", DONE)):
        given = {"value": value, "type": "bool", "label": label, "symbol": name, "render": "true"}
        SubElement(categories, "category", given)
        _add_symbol(symbols, name, {"style": "no", "outline_color": color, "outline_width": "0.6"})
    _add_rank(root)
    fields = SubElement(root, "fieldConfiguration")
    checked = {"CheckedState": "true", "UncheckedState": "false", "TextDisplayMethod": "0"}
    _add_widget(fields, "done", "CheckBox", checked)
    for name in ("rank", "scene", "uncertainty", "classes", "valid_share"):
        _add_widget(fields, name, "TextEdit", {})
    SubElement(root, "previewExpression").text = '"rank"'
    SubElement(root, "layerGeometryType").text = "2"  # polygons
    return to_text(root)


def labels_qml(classes: Sequence[ClassSpec]) -> str:
    """Style of labels: half transparent, in the colour of their class, which is chosen from a list."""
    root = new_qml("Symbology|Fields|Forms|MapTips")
    renderer = SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class", enableorderby="0")
    categories, symbols = SubElement(renderer, "categories"), SubElement(renderer, "symbols")
    for index, c in enumerate(classes):
        given = {"value": c.name, "type": "string", "label": c.name, "symbol": str(index), "render": "true"}
        SubElement(categories, "category", given)
        rgb = ",".join(str(int(c.color[i : i + 2], 16)) for i in (1, 3, 5))
        fill = {"style": "solid", "color": f"{rgb},110", "outline_color": f"{rgb},255", "outline_width": "0.4"}
        _add_symbol(symbols, str(index), fill)
    fields = SubElement(root, "fieldConfiguration")
    field = SubElement(fields, "field", name="class", configurationFlags="None")
    widget = SubElement(field, "editWidget", type="ValueMap")
    options = SubElement(SubElement(SubElement(widget, "config"), "Option", type="Map"), "Option", type="List")
    options.set("name", "map")
    for c in classes:
        SubElement(SubElement(options, "Option", type="Map"), "Option", type="QString", name=c.name, value=c.name)
    _add_widget(fields, "place", "TextEdit", {})
    SubElement(root, "previewExpression").text = '"class"'
    SubElement(root, "mapTip", enabled="1").text = """<b>[% replace("class", map('&', '&amp;', '<', '&lt;')) %]</b>"""
    SubElement(root, "layerGeometryType").text = "2"
    return to_text(root)


def _add_symbol(symbols: Element, name: str, settings: dict[str, str]) -> None:
    symbol = SubElement(symbols, "symbol", type="fill", name=name, alpha="1", clip_to_extent="1", force_rhr="0")
    layer = SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
    whole = {"outline_style": "solid", "outline_width_unit": "MM", "joinstyle": "miter", **settings}
    options = SubElement(layer, "Option", type="Map")
    for key, value in whole.items():
        SubElement(options, "Option", name=key, value=value, type="QString")
    for key, value in whole.items():  # the same once more, as QGIS before 3.22 reads it
        SubElement(layer, "prop", k=key, v=value)


def _add_rank(root: Element) -> None:
    """The rank of a place as text in it."""
    labeling = SubElement(root, "labeling", type="simple")
    settings = SubElement(labeling, "settings")
    style = SubElement(settings, "text-style", fieldName="rank", isExpression="0", fontSize="11", textColor=TO_DO)
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
