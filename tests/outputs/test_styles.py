"""Styles say the classes' colours and names; a GeoPackage with one stays what it was."""

import sqlite3
import warnings
from contextlib import closing
from xml.etree import ElementTree

import geopandas
import geopandas.testing
import pyogrio
import pytest
import shapely

from geoseg.core.errors import OutputError
from geoseg.outputs import styles
from geoseg.outputs.styles import (
    add_layer_style,
    raster_sld,
    shared_qml,
    style_paths,
    vector_qml,
    vector_sld,
    write_style_files,
)
from geoseg.spec import ClassSpec

AWKWARD = 'Wald & "Wiese" <1>'
CLASSES = [
    ClassSpec(id=0, name="Gewässer", color="#2b7fd0"),
    ClassSpec(id=7, name=AWKWARD, color="#1f7a3c"),
]
SLD, OGC = "{http://www.opengis.net/sld}", "{http://www.opengis.net/ogc}"


@pytest.fixture
def gpkg(tmp_path):
    squares = shapely.box([0, 10], [0, 0], [10, 20], [10, 10])
    frame = geopandas.GeoDataFrame({"class_id": [0, 7], "class": ["a", "b"]}, geometry=squares, crs="EPSG:32617")
    pyogrio.write_dataframe(frame, tmp_path / "out.gpkg", layer="landcover")
    return tmp_path / "out.gpkg"


def parse(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text.encode())


def rows(gpkg, query: str) -> list[tuple]:
    with closing(sqlite3.connect(gpkg)) as database:
        return database.execute(query).fetchall()


@pytest.mark.parametrize("make", [vector_qml, shared_qml])
def test_vector_qml_has_a_category_per_class(make):
    renderer = parse(make(CLASSES)).find("renderer-v2")
    assert (renderer.get("type"), renderer.get("attr")) == ("categorizedSymbol", "class_id")
    symbols = {symbol.get("name"): symbol for symbol in renderer.findall("symbols/symbol")}
    seen = [(c.get("value"), c.get("label"), symbols[c.get("symbol")]) for c in renderer.findall("categories/category")]
    assert [(value, label) for value, label, _ in seen] == [("0", "Gewässer"), ("7", AWKWARD)]
    for (_, _, symbol), color in zip(seen, ("43,127,208,255", "31,122,60,255"), strict=True):
        options = {option.get("name"): option.get("value") for option in symbol.findall("layer/Option/Option")}
        assert options["color"] == options["outline_color"] == color
        assert options == {prop.get("k"): prop.get("v") for prop in symbol.findall("layer/prop")}


def test_vector_qml_names_what_is_shown_of_a_polygon():
    root = parse(vector_qml(CLASSES))
    assert root.findtext("previewExpression") == '"class"'
    assert '"class"' in root.findtext("mapTip")


def test_the_shared_qml_has_a_colour_per_class():
    renderer = parse(shared_qml(CLASSES, nodata=9)).find("pipe/rasterrenderer")
    assert (renderer.get("type"), renderer.get("band")) == ("paletted", "1")
    entries = [(e.get("value"), e.get("color"), e.get("label")) for e in renderer.findall("colorPalette/paletteEntry")]
    assert entries == [("0", "#2b7fd0", "Gewässer"), ("7", "#1f7a3c", AWKWARD)]
    clear = renderer.find("rasterTransparency/singleValuePixelList/pixelListEntry")
    assert clear.attrib == {"min": "9", "max": "9", "percentTransparent": "100"}


def test_vector_sld_has_a_rule_per_class():
    root = parse(vector_sld(CLASSES, "a & b"))
    assert root.tag == f"{SLD}StyledLayerDescriptor"
    assert root.get("version") == "1.0.0"
    assert root.findtext(f"{SLD}NamedLayer/{SLD}Name") == "a & b"
    rules = root.findall(f".//{SLD}Rule")
    assert [rule.findtext(f"{SLD}Title") for rule in rules] == ["Gewässer", AWKWARD]
    assert [rule.findtext(f".//{OGC}PropertyName") for rule in rules] == ["class_id"] * 2
    assert [rule.findtext(f".//{OGC}Literal") for rule in rules] == ["0", "7"]
    fills = [rule.find(f".//{SLD}Fill/{SLD}CssParameter") for rule in rules]
    assert [(fill.get("name"), fill.text) for fill in fills] == [("fill", "#2b7fd0"), ("fill", "#1f7a3c")]


def test_raster_sld_has_a_colour_per_class():
    root = parse(raster_sld(CLASSES, "landcover"))
    colors = root.find(f".//{SLD}RasterSymbolizer/{SLD}ColorMap")
    assert colors.get("type") == "values"
    assert [(c.get("quantity"), c.get("color"), c.get("label")) for c in colors] == [
        ("0", "#2b7fd0", "Gewässer"),
        ("7", "#1f7a3c", AWKWARD),
    ]


@pytest.mark.parametrize("make", [vector_qml, shared_qml, lambda c: vector_sld(c, "x"), lambda c: raster_sld(c, "x")])
def test_styles_of_no_class_are_documents_too(make):
    parse(make([]))


def test_style_files_lie_beside_the_result(tmp_path):
    result = tmp_path / "new" / "a.b.tif"
    assert write_style_files(result, "qml ä", "sld") == style_paths(result)
    assert [path.name for path in style_paths(result)] == ["a.b.qml", "a.b.sld"]
    assert [path.read_text("utf-8") for path in style_paths(result)] == ["qml ä", "sld"]
    write_style_files(result, "again", "sld")
    assert result.with_suffix(".qml").read_text() == "again"
    assert sorted(path.name for path in result.parent.iterdir()) == ["a.b.qml", "a.b.sld"]


def test_style_files_where_none_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose a folder"):
        write_style_files(tmp_path / "file" / "x.tif", "", "")


def test_style_goes_into_the_geopackage_as_the_default(gpkg):
    add_layer_style(gpkg, "landcover", "<qgis/>", "<sld/>")
    fields = "f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleQML, styleSLD, useAsDefault, owner"
    geometry = pyogrio.read_info(gpkg, layer="landcover")["geometry_name"]
    assert rows(gpkg, f"SELECT {fields} FROM layer_styles") == [
        ("", "", "landcover", geometry, "<qgis/>", "<sld/>", 1, "")
    ]
    assert rows(gpkg, "SELECT length(update_time) FROM layer_styles") == [(24,)]
    assert rows(gpkg, "SELECT data_type FROM gpkg_contents WHERE table_name = 'layer_styles'") == [("attributes",)]


def test_geometry_column_is_the_layers_own(tmp_path, gpkg):
    frame = geopandas.read_file(gpkg, layer="landcover")
    pyogrio.write_dataframe(frame, tmp_path / "b.gpkg", layer="landcover", GEOMETRY_NAME="shape")
    add_layer_style(tmp_path / "b.gpkg", "landcover", "", "")
    assert rows(tmp_path / "b.gpkg", "SELECT f_geometry_column FROM layer_styles") == [("shape",)]


def test_layer_reads_as_before(gpkg):
    before = geopandas.read_file(gpkg, layer="landcover")
    add_layer_style(gpkg, "landcover", "<qgis/>", "<sld/>")
    geopandas.testing.assert_geodataframe_equal(geopandas.read_file(gpkg, layer="landcover"), before)
    assert pyogrio.list_layers(gpkg).tolist() == [["landcover", "Polygon"], ["layer_styles", None]]
    with warnings.catch_warnings(action="ignore"):
        assert len(geopandas.read_file(gpkg)) == len(before)  # the polygons stay the first layer
    assert rows(gpkg, "PRAGMA integrity_check") == [("ok",)]
    assert rows(gpkg, "PRAGMA foreign_key_check") == []


def test_style_of_the_same_name_is_replaced(gpkg):
    add_layer_style(gpkg, "landcover", "old", "")
    with closing(sqlite3.connect(gpkg)) as database, database:
        database.execute(
            "INSERT INTO layer_styles (f_table_name, styleName, styleQML, useAsDefault) VALUES "
            "('landcover', 'mine', 'mine', 1), ('other', 'mine', 'other', 1)"
        )
    add_layer_style(gpkg, "landcover", "new", "")
    assert rows(gpkg, "SELECT styleQML, useAsDefault FROM layer_styles ORDER BY styleQML") == [
        ("mine", 0),
        ("new", 1),
        ("other", 1),
    ]


def test_nothing_changes_if_the_style_cannot_be_stored(gpkg, monkeypatch):
    before = gpkg.read_bytes()
    monkeypatch.setattr(styles, "_INSERT_STYLE", "INSERT INTO nowhere VALUES (?, ?, ?, ?, ?)")
    with pytest.raises(OutputError, match="no such table: nowhere"):
        add_layer_style(gpkg, "landcover", "", "")
    assert rows(gpkg, "SELECT count(*) FROM sqlite_master WHERE name = 'layer_styles'") == [(0,)]
    assert gpkg.read_bytes() == before


def test_layer_must_exist(gpkg, tmp_path):
    with pytest.raises(OutputError, match="no layer 'forest'"):
        add_layer_style(gpkg, "forest", "", "")
    with pytest.raises(OutputError, match="unable to open"):
        add_layer_style(tmp_path / "none.gpkg", "landcover", "", "")
    assert not (tmp_path / "none.gpkg").exists()
    (tmp_path / "text.gpkg").write_text("no database, but long enough to be looked at as one\n" * 20)
    with pytest.raises(OutputError, match="check that it is a GeoPackage"):
        add_layer_style(tmp_path / "text.gpkg", "landcover", "", "")
