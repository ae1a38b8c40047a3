"""Legends as other programs write them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from support.rasters import write_raster

from geoseg.core.errors import SpecError
from geoseg.raster.class_raster import open_classes
from geoseg.raster.legend import Legend
from geoseg.raster.legends import LegendReading, UnreadableLegend, read_legend, with_file
from geoseg.raster.legends.clr import CLR
from geoseg.raster.legends.columns import GENERIC, MAX, MIN, MIN_MAX, NAME, Column, legend_of
from geoseg.raster.legends.csv_table import CSV_TABLE
from geoseg.raster.legends.qml import QML
from geoseg.raster.legends.sld import SLD


def reading_of(path: Path) -> LegendReading:
    with open_classes(path) as raster:
        return read_legend(raster)


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write_raster(tmp_path / "classes.tif", np.array([[1, 2]], np.uint8))


# ------------------------------------------------------------------------------------------------------------- tables


def test_columns_are_found_by_usage_then_by_name():
    table = [Column("Value", ["9", "9"]), Column("Real", ["1", "2"], MIN_MAX), Column("Class", ["a", "b"])]
    assert legend_of(table).names == {1: "a", 2: "b"}
    assert legend_of([*table, Column("Other", ["x", "y"], NAME)]).names == {1: "x", 2: "y"}


def test_without_a_column_of_values_rows_are_counted():
    names = Column("Class_Names", ["Unclassified", "", "Water"])
    assert legend_of([Column("Histogram", [5, 6, 7]), names]).names == {0: "Unclassified", 2: "Water"}
    assert legend_of([names], first=10, step=5).names == {10: "Unclassified", 20: "Water"}


def test_rows_of_several_values_or_of_fractions_are_left_out():
    low, high = Column("a", ["1", "2", "5"], MIN), Column("b", ["1", "4", "5"], MAX)
    assert legend_of([low, high, Column("Name", ["x", "y", "z"])]).names == {1: "x", 5: "z"}
    assert legend_of([Column("Value", ["1.5", "2.0"]), Column("Name", ["x", "y"])]).names == {2: "y"}


def test_a_table_without_a_usual_name_column_gives_the_text_with_most_words():
    table = [Column("Value", [1, 2]), Column("KIND", ["x", "x"]), Column("NUTZUNG", ["Wald", "Wiese"])]
    assert legend_of(table).names == {1: "Wald", 2: "Wiese"}


def test_colours_are_bytes_or_fractions():
    def color(red, green, blue):
        columns = zip(("Red", "Green", "Blue"), (red, green, blue), strict=True)
        return legend_of([Column("Value", [7, 8]), *(Column(n, c, GENERIC) for n, c in columns)]).colors

    assert color([10, 0], [200, 1], [255, 0]) == {7: "#0ac8ff", 8: "#000100"}
    assert color([0.5, 0], [0.2, 1], [1.0, 0]) == {7: "#8033ff", 8: "#00ff00"}
    assert color(["x", 0], [None, 1], [1, 255]) == {8: "#0001ff"}


def test_the_columns_of_corine_give_the_finest_names():
    table = [
        Column("Value", [1, 2]),
        Column("CODE_18", ["111", "112"]),
        Column("LABEL1", ["Artificial surfaces", "Artificial surfaces"]),
        Column("LABEL3", ["Continuous urban fabric", "Discontinuous urban fabric"]),
    ]
    assert legend_of(table).names == {1: "Continuous urban fabric", 2: "Discontinuous urban fabric"}


def test_a_table_inside_the_file_is_read(tmp_path, raster):
    import rasterio.shutil

    from geoseg.raster.legends.attribute_table import ATTRIBUTE_TABLE

    ATTRIBUTE_TABLE.example(raster, Legend({1: "Meadow", 2: "House"}, {1: "#0ac80a", 2: "#c80a0a"}))
    rasterio.shutil.copy(raster, tmp_path / "inside.img", driver="HFA")
    (tmp_path / "inside.img.aux.xml").unlink(missing_ok=True)
    found = reading_of(tmp_path / "inside.img").legend
    assert {k: found.names[k] for k in (1, 2)} == {1: "Meadow", 2: "House"}
    assert {k: found.colors[k] for k in (1, 2)} == {1: "#0ac80a", 2: "#c80a0a"}


# ------------------------------------------------------------------------------------------------------------- styles

QGIS = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'><qgis>
<renderer-v2 type="categorizedSymbol" attr="DN"><categories>
<category value="111" label="Continuous urban" symbol="0"/><category type="double" value="2.0"
 label="Road" symbol="1"/><category value="" label="" symbol="1"/></categories><symbols>
<symbol name="0"><layer><Option type="Map">
<Option name="color" value="230,0,77,255,rgb:0.902,0,0.302,1"/></Option></layer></symbol><symbol name="1"><layer>
<prop k="color" v="1,2,3,255"/></layer></symbol></symbols></renderer-v2></qgis>"""


def test_categories_of_polygons_give_names_and_the_colours_of_their_symbols(tmp_path):
    found = QML.read(written(tmp_path, "l.qml", QGIS))
    assert found == Legend({111: "Continuous urban", 2: "Road"}, {111: "#e6004d", 2: "#010203"})


def test_unique_values_of_a_raster_are_read_and_ramps_are_not(tmp_path):
    entry = '<qgis><pipe><paletteEntry value="5" label="5" color="#AABBCC"/></pipe></qgis>'
    assert QML.read(written(tmp_path, "a.qml", entry)) == Legend({}, {5: "#aabbcc"})
    item = '<item value="1" label="low" color="#000001"/>'
    ramp = f'<qgis><colorrampshader colorRampType="{{}}">{item}</colorrampshader></qgis>'
    assert QML.read(written(tmp_path, "b.qml", ramp.format("EXACT"))).names == {1: "low"}
    assert QML.read(written(tmp_path, "c.qml", ramp.format("INTERPOLATED"))) == Legend()


def test_rules_of_any_version_of_sld_are_read(tmp_path):
    text = """<s:StyledLayerDescriptor xmlns:s="http://www.opengis.net/sld" xmlns:se="http://www.opengis.net/se"
    xmlns:ogc="http://www.opengis.net/ogc"><se:Rule><se:Name>n</se:Name><se:Description><se:Title>Meadow</se:Title>
    </se:Description><ogc:Filter><ogc:PropertyIsEqualTo><ogc:PropertyName>DN</ogc:PropertyName><ogc:Literal>3
    </ogc:Literal></ogc:PropertyIsEqualTo></ogc:Filter><se:PolygonSymbolizer><se:Fill><se:SvgParameter name="fill">
    #0AC80A</se:SvgParameter></se:Fill></se:PolygonSymbolizer></se:Rule></s:StyledLayerDescriptor>"""
    assert SLD.read(written(tmp_path, "a.sld", text)) == Legend({3: "Meadow"}, {3: "#0ac80a"})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 10 200 10", Legend({}, {1: "#0ac80a"})),
        ("1\t10\t200\t10\t255\tWet meadow", Legend({1: "Wet meadow"}, {1: "#0ac80a"})),
        ("1 10 200 10 Meadow", Legend({1: "Meadow"}, {1: "#0ac80a"})),
        ("111,230,000,077,255,111 - Urban, dense", Legend({111: "111 - Urban, dense"}, {111: "#e6004d"})),
        ("-1 0 0 0", Legend({}, {-1: "#000000"})),
        ("# remark\nINTERPOLATION:EXACT\nnv 0 0 0\n0.5 1 2 3\n", Legend()),
    ],
)
def test_lines_of_colour_maps(tmp_path, line, expected):
    assert CLR.read(written(tmp_path, "l.clr", line)) == expected


def test_a_line_without_a_colour_is_named(tmp_path):
    with pytest.raises(UnreadableLegend, match=r"l\.clr, line 2, is no value"):
        CLR.read(written(tmp_path, "l.clr", "1 2 3 4\n2 red\n"))


@pytest.mark.parametrize("text", ["code;class;colour\n3;Wald;#0AC80A\n", "Value,R,G,B,Name\n3,10,200,10,Wald\n"])
def test_tables_of_spreadsheets_are_read_and_others_are_none(tmp_path, text):
    assert CSV_TABLE.read(written(tmp_path, "l.csv", text)) == Legend({3: "Wald"}, {3: "#0ac80a"})
    assert CSV_TABLE.read(written(tmp_path, "n.csv", "date,name\n2024,Wald\n")) == Legend()


# ----------------------------------------------------------------------------------------------------- all sources


def test_what_one_source_leaves_out_another_one_adds(tmp_path, raster):
    with rasterio.open(raster, "r+") as dataset:
        dataset.write_colormap(1, {1: (1, 1, 1, 255), 2: (2, 2, 2, 255)})
    written(tmp_path, "classes.qml", '<qgis><paletteEntry value="1" label="Wiese" color="#0ac80a"/></qgis>')
    written(tmp_path, "classes.tif.clr", "1 9 9 9 255 Meadow\n2 9 9 9 255 House\n")
    found = reading_of(raster).legend
    assert found.names == {1: "Wiese", 2: "House"}
    assert {k: found.colors[k] for k in (1, 2)} == {1: "#0ac80a", 2: "#090909"}


def test_a_legend_that_cannot_be_read_is_said_and_the_others_count(tmp_path, raster):
    written(tmp_path, "classes.qml", "<qgis><not closed")
    written(tmp_path, "classes.clr", "1 9 9 9 255 Meadow\n")
    reading = reading_of(raster)
    assert reading.legend.names == {1: "Meadow"}
    assert "classes.qml is no XML" in reading.notices[0]


def test_names_are_one_line_without_control_characters(tmp_path, raster):
    written(tmp_path, "classes.qml", '<qgis><paletteEntry value="1" label=" a&#10; b\u200e " color="#000000"/></qgis>')
    assert reading_of(raster).legend.names == {1: "a b\\u200e"}


def test_a_named_file_comes_before_what_the_raster_says(tmp_path, raster):
    written(tmp_path, "classes.clr", "1 9 9 9 255 Meadow\n2 9 9 9 255 House\n")
    legend = written(tmp_path, "mine.qml", '<qgis><paletteEntry value="1" label="Wiese" color="#0ac80a"/></qgis>')
    assert with_file(reading_of(raster), legend).legend.names == {1: "Wiese", 2: "House"}


@pytest.mark.parametrize("name", ["missing.qml", "plain.tif", "empty.clr"])
def test_a_named_file_without_a_legend_is_refused(tmp_path, raster, name):
    write_raster(tmp_path / "plain.tif", np.array([[1, 2]], np.uint8))
    written(tmp_path, "empty.clr", "")
    with pytest.raises(SpecError, match=rf"{name}.*give a file that ends in"):
        with_file(reading_of(raster), tmp_path / name)
