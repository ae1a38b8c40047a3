"""The sidecar says what is in the raster, and changes nothing else of it."""

from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
from support.rasters import write_raster

from geoseg.core.errors import OutputError
from geoseg.outputs.attribute_table import aux_xml, write_aux
from geoseg.spec import ClassSpec

CLASSES = [
    ClassSpec(id=0, name="Wald & <Wiese>", color="#1f7a3c"),
    ClassSpec(id=3, name="road", color="#6E6E6E"),
    ClassSpec(id=200, name="water", color="#2b7fd0"),
]
PIXELS = {0: 3, 200: 1, 255: 4}


def table_of(text: str) -> tuple[list[tuple], list[list[str]]]:
    table = ElementTree.fromstring(text).find("PAMRasterBand[@band='1']/GDALRasterAttributeTable")
    columns = [
        (f.findtext("Name"), f.find("Type").get("typeAsString"), f.find("Usage").get("usageAsString"))
        for f in table.findall("FieldDefn")
    ]
    return columns, [[cell.text for cell in row] for row in table.findall("Row")]


def statistics_of(text: str) -> dict[str, str]:
    return {m.get("key"): m.text for m in ElementTree.fromstring(text).findall("PAMRasterBand[@band='1']/Metadata/MDI")}


def test_table_has_a_row_per_class():
    columns, rows = table_of(aux_xml(CLASSES, PIXELS, {0: 7500, 200: 2500}))
    assert columns == [
        ("Value", "Integer", "MinMax"),
        ("Count", "Integer", "PixelCount"),
        ("Class", "String", "Name"),
        ("Red", "Integer", "Red"),
        ("Green", "Integer", "Green"),
        ("Blue", "Integer", "Blue"),
        ("Alpha", "Integer", "Alpha"),
        ("Area_ha", "Real", "Generic"),
    ]
    assert rows == [
        ["0", "3", "Wald & <Wiese>", "31", "122", "60", "255", "0.75"],
        ["3", "0", "road", "110", "110", "110", "255", "0"],
        ["200", "1", "water", "43", "127", "208", "255", "0.25"],
    ]


def test_no_area_without_a_pixel_size():
    columns, rows = table_of(aux_xml(CLASSES, PIXELS, None))
    assert [name for name, _, _ in columns][-1] == "Alpha"
    assert {len(row) for row in rows} == {len(columns)}


@pytest.mark.parametrize(("count", "kind"), [(2**31 - 1, "Integer"), (2**31, "Real")])
def test_counts_beyond_32_bits_are_real(count, kind):
    columns, rows = table_of(aux_xml(CLASSES, {3: count}, None))
    assert columns[1][1] == kind
    assert rows[1][1] == str(count)


def test_statistics_are_those_of_the_values():
    values = np.repeat([0, 200], [3, 1])
    statistics = statistics_of(aux_xml(CLASSES, PIXELS, None))
    assert statistics["STATISTICS_MINIMUM"] == "0"
    assert statistics["STATISTICS_MAXIMUM"] == "200"
    assert float(statistics["STATISTICS_MEAN"]) == pytest.approx(values.mean())
    assert float(statistics["STATISTICS_STDDEV"]) == pytest.approx(values.std())
    assert statistics["STATISTICS_VALID_PERCENT"] == "50"


@pytest.mark.parametrize("pixels", [{}, {255: 8}, {0: 0}])
def test_no_statistics_of_nothing(pixels):
    assert statistics_of(aux_xml(CLASSES, pixels, None)) == {}


@pytest.fixture
def raster(tmp_path):
    path = write_raster(tmp_path / "x.tif", np.array([[0, 0, 0, 200], [255] * 4], np.uint8), nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {c.id: (1, 2, 3, 255) for c in CLASSES})
        dataset.set_band_description(1, "class")
        dataset.update_tags(CLASS_0="Wald")
    return path


def look(path) -> list:
    with rasterio.open(path) as d:
        values, valid = d.read(1).tolist(), d.read_masks(1).tolist()
        return [values, valid, d.colormap(1), d.nodata, d.descriptions, d.tags(), d.profile]


def test_raster_stays_as_it_is(raster):
    before = look(raster)
    assert write_aux(raster, CLASSES, PIXELS, {0: 1.08, 200: 0.36}) == raster.with_name("x.tif.aux.xml")
    assert look(raster) == before
    with rasterio.open(raster) as dataset:
        assert dataset.tags(1)["STATISTICS_MAXIMUM"] == "200"
        assert dataset.tags(1)["STATISTICS_MEAN"] == "50"
    assert sorted(path.name for path in raster.parent.iterdir()) == ["x.tif", "x.tif.aux.xml"]


def test_what_gdal_wrote_stays(raster):
    beside = raster.with_name("x.tif.aux.xml")
    beside.write_text(
        "<PAMDataset><SRS>kept</SRS><PAMRasterBand band='2'><Description>b</Description></PAMRasterBand>"
        "<PAMRasterBand band='1'><Metadata domain='D'><MDI key='a'>1</MDI></Metadata>"
        "<Metadata><MDI key='mine'>2</MDI><MDI key='STATISTICS_MEAN'>9</MDI></Metadata>"
        "<GDALRasterAttributeTable/></PAMRasterBand></PAMDataset>"
    )
    write_aux(raster, CLASSES, PIXELS, None)
    text = beside.read_text()
    root = ElementTree.fromstring(text)
    assert root.findtext("SRS") == "kept"
    assert root.findtext("PAMRasterBand[@band='2']/Description") == "b"
    assert len(root.findall(".//GDALRasterAttributeTable")) == 1
    assert [m.text for m in root.findall(".//MDI[@key='STATISTICS_MEAN']")] == ["50"]
    assert statistics_of(text)["mine"] == "2"
    write_aux(raster, CLASSES, PIXELS, None)
    assert beside.read_text() == text


@pytest.mark.parametrize("text", ["no XML", "<other/>"])
def test_a_sidecar_that_is_none(raster, text):
    raster.with_name("x.tif.aux.xml").write_text(text)
    with pytest.raises(OutputError, match="delete it"):
        write_aux(raster, CLASSES, PIXELS, None)
