"""Addresses of scenes of several files."""

import pytest

from geoseg.core.composites import each_part, join_composite, matching, split_composite
from geoseg.core.naming import scene_name
from geoseg.core.redaction import public_form


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("RED.tif+GREEN.tif+BLUE.tif", ["RED.tif", "GREEN.tif", "BLUE.tif"]),
        ("red=a.tif+green=b.jp2", ["red=a.tif", "green=b.jp2"]),
        ("red=a.tif+", ["red=a.tif"]),
        ("my+folder/r.tif+my+folder/g.tif", ["my+folder/r.tif", "my+folder/g.tif"]),
        ("red=envi/red+green=envi/green", ["red=envi/red", "green=envi/green"]),
        ("https://h/r.tif+https://h/g.tif", ["https://h/r.tif", "https://h/g.tif"]),
        ("https://h/r.tif?s=a+b+https://h/g.tif?s=c+d", ["https://h/r.tif?s=a+b", "https://h/g.tif?s=c+d"]),
        ("/vsizip/a.zip/r.tif+/vsicurl/https://h/g.tif", ["/vsizip/a.zip/r.tif", "/vsicurl/https://h/g.tif"]),
        ("red=https:/h/r.tif?s=1+green=https:/h/g.tif", ["red=https:/h/r.tif?s=1", "green=https:/h/g.tif"]),
        ('NETCDF:"a.nc":red+NETCDF:"a.nc":green', ['NETCDF:"a.nc":red', 'NETCDF:"a.nc":green']),
        ("/data/2018-10-13, L1C, B04.tiff+/data/2018-10-13, L1C, B03.tiff",
         ["/data/2018-10-13, L1C, B04.tiff", "/data/2018-10-13, L1C, B03.tiff"]),
    ],
)  # fmt: skip
def test_an_address_is_split_into_its_parts(address, expected):
    parts = split_composite(address)
    assert [f"{part.name}={part.path}" if part.name else part.path for part in parts] == expected


@pytest.mark.parametrize(
    "address",
    ["scene.tif", "a+b.tif", "my+folder/scene.tif", "https://h/a+b.tif", "https://h/a.tif?sig=x+y", "year=2020/a.tif",
     "PG:host=localhost dbname=a", "/vsicurl?url=https://h/a.tif&x=1", "+", "a+b"],
)  # fmt: skip
def test_a_plus_or_an_equals_sign_alone_makes_no_composite(address):
    assert split_composite(address) == ()


def test_a_file_that_exists_is_itself_whatever_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.tif+b.tif").touch()
    (tmp_path / "c.tif+d").touch()
    assert split_composite("a.tif+b.tif") == ()
    assert split_composite("c.tif+d") == ()


def test_folders_of_a_hive_are_no_names_of_bands():
    parts = split_composite("year=2020/red.tif+year=2020/green.tif")
    assert [part.path for part in parts] == ["year=2020/red.tif", "year=2020/green.tif"]


def test_joined_parts_are_split_again():
    parts = [("red", "https://h/a+b.tif"), ("", "folder/c.tif")]
    assert [part.path for part in split_composite(join_composite(parts))] == ["https://h/a%2Bb.tif", "folder/c.tif"]
    assert split_composite(join_composite([("red", "a.tif")])) == (("red", "a.tif"),)


def test_a_change_reaches_each_path_and_no_name():
    assert each_part("red=a.tif+b.tif", str.upper) == "red=A.TIF+B.TIF"
    assert each_part("a+b.tif", str.upper) == "A+B.TIF"


def test_secrets_of_no_part_are_shown():
    shown = public_form("https://me:pw@h/r.tif?sig=abcdef+https://h/g.tif?token=ghijkl")
    assert shown == "https://h/r.tif+https://h/g.tif"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("d/T32_2024_B04_10m.tif+d/T32_2024_B03_10m.tif", "T32_2024"),
        ("RED.tif+GREEN.tif+BLUE.tif", "RED_GREEN_BLUE"),
        ("red/scene.tif+green/scene.tif", "scene"),
        ("red=x/a.tif+", "a"),
        ("S2_B4.tif+S2_B8.tif", "S2"),
    ],
)
def test_a_scene_is_named_after_what_its_files_have_in_common(address, name):
    assert scene_name(address) == name


def test_wildcards_of_the_first_part_fill_those_of_the_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in "ab":
        (tmp_path / place).mkdir()
        (tmp_path / place / "r.tif").touch()
    assert matching("red=[ab]/r.tif+green=?/g.tif+dem.tif") == [
        ("red=a/r.tif+green=a/g.tif+dem.tif", "a/r.tif"),
        ("red=b/r.tif+green=b/g.tif+dem.tif", "b/r.tif"),
    ]
    assert matching("a/r.tif+b/r.tif") == [("a/r.tif+b/r.tif", "a/r.tif")]
    assert matching("c*/r.tif+c*/g.tif") == []
