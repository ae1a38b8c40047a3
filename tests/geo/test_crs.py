"""Horizontal coordinate systems are equal however they are written; names are short."""

import pytest
from pyproj import CRS
from rasterio.crs import CRS as RasterioCRS

from geoseg.geo.crs import (
    crs_code,
    crs_name,
    crs_number,
    horizontal,
    horizontal_difference,
    map_crs,
    same_horizontal_crs,
)

UTM33 = "EPSG:32633"
ESRI = CRS(UTM33).to_wkt("WKT1_ESRI")
UNNAMED = RasterioCRS.from_epsg(32633).to_wkt().replace("WGS 84 / UTM zone 33N", "unnamed")
OSGB36 = (
    "+proj=tmerc +lat_0=49 +lon_0=-2 +k=0.9996012717 +x_0=400000 +y_0=-100000 +ellps=airy "
    "+towgs84=446.448,-125.157,542.06,0.15,0.247,0.842,-20.489 +units=m"
)
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (UTM33, ESRI),
        (UTM33, UNNAMED.replace(',AUTHORITY["EPSG","32633"]', "")),
        (UTM33, "EPSG:32633+5773"),
        (UTM33, "+proj=utm +zone=33 +datum=WGS84 +units=m"),
        (UTM33, "+proj=utm +zone=33 +ellps=WGS84 +towgs84=0,0,0,0,0,0,0 +units=m"),
        (UTM33, "+proj=tmerc +lat_0=0 +lon_0=15 +k=0.9996 +x_0=500000 +y_0=0 +datum=WGS84 +units=m"),
        ("EPSG:4326", "OGC:CRS84"),
        ("EPSG:4326", "EPSG:4979"),
        ("EPSG:27700", OSGB36),
        ("EPSG:27700", "EPSG:7405"),
        ("EPSG:3857", "ESRI:102100"),
        ("EPSG:3035", CRS("EPSG:3035").to_wkt("WKT1_ESRI")),
        ("EPSG:3067", CRS("EPSG:3067").to_wkt("WKT1_ESRI")),
        ("EPSG:25833", "+proj=utm +zone=33 +ellps=GRS80 +towgs84=0,0,0,0,0,0,0 +units=m"),
        ("EPSG:2263", "EPSG:2263+5703"),
        (LOCAL, LOCAL.replace('"metre",1', '"metre",1.0')),
        (None, None),
    ],
)
def test_a_horizontal_system_written_in_other_words_is_the_same(one: str | None, other: str | None) -> None:
    assert horizontal_difference(one, other) is None
    assert horizontal_difference(other, one) is None


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (UTM33, "EPSG:25833", "datum World Geodetic System 1984 against European Terrestrial Reference System 1989"),
        ("EPSG:4269", "EPSG:4326", "datum North American Datum 1983 against World Geodetic System 1984"),
        (UTM33, "+proj=utm +zone=33 +ellps=WGS84 +towgs84=5,0,0", "towgs84=5,0,0"),
        (UTM33, "+proj=utm +zone=33 +ellps=GRS80 +towgs84=0,0,0", "ellipsoid WGS 84 against GRS 1980"),
        (UTM33, "EPSG:32634", "projection UTM zone 33N against UTM zone 34N"),
        (UTM33, "EPSG:4326", "a projection against longitude and latitude"),
        (UTM33, "+proj=utm +zone=33 +datum=WGS84 +units=us-ft", "unit metre against US survey foot"),
        ("EPSG:2263", "+proj=lcc +lat_0=40.1666666666667 +lon_0=-74 +lat_1=41.0333333333333 +lat_2=40.6666666666667 "
         "+x_0=300000 +y_0=0 +datum=NAD83 +units=ft", "unit US survey foot against foot"),
        ("EPSG:4807", "EPSG:4275", "prime meridian Paris against Greenwich"),
        (UTM33, "+proj=utm +zone=33 +south +datum=WGS84", "projection"),
        (UTM33, LOCAL, "a projection against a local system"),
        (LOCAL, LOCAL.replace('"metre",1', '"foot",0.3048'), "unit metre against foot"),
        (UTM33, None, "no coordinate system"),
    ],
)  # fmt: skip
def test_what_makes_systems_differ_is_said_in_a_few_words(one: str, other: str | None, difference: str) -> None:
    found = horizontal_difference(one, other)
    assert found is not None
    assert difference in found
    assert len(found) < 140
    assert not same_horizontal_crs(other, one)


def test_systems_are_counted_by_what_is_horizontal() -> None:
    systems: list[str] = []
    assert [crs_number(crs, systems) for crs in (UTM33, "EPSG:25833", ESRI, "EPSG:32633+5773")] == [0, 1, 0, 0]
    assert systems == [UTM33, "EPSG:25833"]


@pytest.mark.parametrize(
    ("crs", "name"),
    [
        (RasterioCRS.from_epsg(32633), UTM33),
        (RasterioCRS.from_string("EPSG:32633+5773"), "WGS 84 / UTM zone 33N + EGM96 height"),
        (ESRI, UTM33),
        ("+proj=utm +zone=33 +ellps=WGS84", "an unnamed system (Transverse Mercator)"),
        (RasterioCRS.from_wkt(LOCAL), "site grid"),
        (LOCAL.replace("site", "x" * 999), "x" * 57 + "..."),
        ("nonsense", "an unreadable CRS"),
        (None, "no CRS"),
    ],
)
def test_names_are_short(crs: object, name: str) -> None:
    assert crs_name(crs) == name


def test_heights_and_shifts_are_no_part_of_a_horizontal_system() -> None:
    assert horizontal(CRS("EPSG:7405")) == CRS("EPSG:27700")
    assert horizontal(CRS(OSGB36)).is_bound is False


@pytest.mark.parametrize(
    ("crs", "code", "flat"),
    [("EPSG:5972", "EPSG:5972", 25832), ("EPSG:7415", "EPSG:7415", 28992), ("EPSG:4979", "EPSG:4979", 4326)],
)
@pytest.mark.parametrize("read", [RasterioCRS.from_user_input, CRS, str])
def test_a_map_has_the_code_of_the_horizontal_part_and_the_file_that_of_the_whole(crs, code, flat, read):
    assert crs_code(read(crs)) == code
    assert map_crs(read(crs)).to_epsg() == flat


def test_a_code_that_stands_for_something_else_than_the_file_says_is_not_believed():
    wkt = RasterioCRS.from_epsg(5972).to_wkt()
    assert '"central_meridian",9' in wkt
    moved = map_crs(RasterioCRS.from_wkt(wkt.replace('"central_meridian",9', '"central_meridian",10')))
    assert moved.to_epsg() is None
    assert "10" in moved.to_proj4()


def test_flat_systems_stay_as_they_are():
    assert map_crs(UTM33).to_epsg() == 32633
    assert map_crs(OSGB36).is_bound
    assert map_crs(None) is None
    assert map_crs("EPSG:0") is None
