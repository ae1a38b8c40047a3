"""Styles of places: well-formed, with the colours and the choices that an annotator needs."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from xml.etree import ElementTree

import pyogrio
import shapely
from pyproj import CRS

from geoseg.geo.layer_metadata import layer_metadata
from geoseg.outputs.place_styles import labels_qml, places_qml, points_qml
from geoseg.outputs.places import SuggestedPlaces, write_places
from geoseg.spec import ClassSpec

CLASSES = (ClassSpec(id=7, name="grass & herbs", color="#00ff00"), ClassSpec(id=2, name="water", color="#0000ff"))


def test_a_class_is_drawn_by_its_name_and_chosen_from_a_list() -> None:
    for qml in (labels_qml(CLASSES), points_qml(["number", "class"], CLASSES)):
        root = ElementTree.fromstring(qml)
        renderer = root.find("renderer-v2")
        assert renderer is not None
        assert renderer.get("attr") == "class"
        assert {"grass & herbs", "water"} <= {one.get("value") for one in renderer.iter("category")}
        widget = root.find("fieldConfiguration/field[@name='class']/editWidget")
        assert widget is not None
        assert widget.get("type") == "ValueMap"
        assert [one.get("value") for one in widget.iter("Option") if one.get("value")] == ["grass & herbs", "water"]


def test_done_is_a_checkbox_and_a_colour() -> None:
    root = ElementTree.fromstring(places_qml(["rank", "done", "scene"]))
    widget = root.find("fieldConfiguration/field[@name='done']/editWidget")
    assert widget is not None
    assert widget.get("type") == "CheckBox"
    assert [one.get("value") for one in root.iter("category")] == ["false", "true"]
    assert root.find("labeling//text-style").get("fieldName") == "rank"  # type: ignore[union-attr]


def test_each_layer_has_its_own_style_as_default_and_knows_the_classes(tmp_path: Path) -> None:
    path = tmp_path / "p.gpkg"
    places = SuggestedPlaces(["a.tif"], [0.5], ["water 100%"], [1.0], [shapely.box(0, 0, 1, 1)])
    write_places(places.table(), [], CLASSES, CRS.from_epsg(32617), path)
    assert [name for name, kind in pyogrio.list_layers(path) if kind] == ["places", "labels"]
    with sqlite3.connect(path) as database:
        styles = dict(database.execute("SELECT f_table_name, useAsDefault FROM layer_styles").fetchall())
    assert styles == {"places": 1, "labels": 1}
    for layer in ("places", "labels"):
        assert "grass & herbs" in layer_metadata(path, layer)["GEOSEG_CLASSES"]
