"""Names of scenes and files as people and browsers make them, made to fit what they become names of."""

import json
import os
import shutil
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from support.models import class_specs, echo_model
from support.rasters import UTM, write_raster

import geoseg
from geoseg.core.errors import OutputError, SceneError
from geoseg.core.naming import LONGEST_NAME, layer_name, scene_name, shortened, visible
from geoseg.core.safe_paths import plain_path
from geoseg.geo.georef import PixelGrid
from geoseg.outputs.styles import raster_sld, shared_qml, vector_sld
from geoseg.raster.class_codes import ByteCodes
from geoseg.raster.strips import Strip
from geoseg.vector.check import check_polygons
from geoseg.vector.formats import FORMATS, format_of
from geoseg.vector.layer import PolygonLayer
from geoseg.vector.trace import trace
from geoseg.vector.write import write_polygons

NAMES = [
    "(1) ortho", "[north]", "#7", "~b", "+x", "'q'", "_ok", "1st", "-dash", "=x", "gpkg_x", "GPKG_y", "a;b", "a\nb",
    'a"b', "100%", "50%20x", "%41", "🙂", "é", "x.", "x ..", "  sp", "tab\there", "sqlite_x", "rtree_a", "a`b",
    "a|b", "<x>", "x>y", "*", "?", "a?b=c", "{}", "a,b", "a:b", "C:x", "@x", "!x", "a!b", "^x", "a\\b", "\x1b[31mred",
    "$HOME", "a&b", "file:a", "NETCDF:x", "select", ".hidden", "..x", "\u202e", "é" * 110, "x" * 230,
]  # fmt: skip


@pytest.fixture(scope="module")
def layer():
    ids = np.array([[0, 0, 1], [2, 2, 1]], np.uint8)
    return PolygonLayer(trace([Strip(0, ids)], ids.shape[1]), Affine(1, 0, 0, 0, -1, 0), UTM)


@pytest.mark.parametrize("extension", FORMATS.names)
def test_polygons_are_written_under_any_name(tmp_path, layer, extension):
    for name in NAMES:
        path = tmp_path / f"{name}{extension}"
        write_polygons(layer, path)
        assert path.exists()
        with plain_path(path) as plain:
            assert extension == ".parquet" or pyogrio.read_info(plain)["features"] >= len(layer)  # once in each tile
    assert sum(name.endswith(extension) for name in os.listdir(tmp_path)) == len(NAMES)


def test_polygons_go_into_a_folder_of_any_name(tmp_path, layer):
    for name in NAMES:
        path = tmp_path / name / "out.gpkg"
        write_polygons(layer, path)
        assert format_of(path).count(path) == len(layer)


@pytest.mark.parametrize("name", NAMES)
def test_layers_have_names_that_geopackages_take(name):
    fitting = layer_name(name)
    assert fitting[0].isalnum() or fitting[0] == "_"
    assert not fitting.lower().startswith(("gpkg", "sqlite_"))
    assert layer_name(fitting) == fitting


@pytest.mark.parametrize("name", ["#7;b", "a!b", "x" * 245, "gpkg_\x1b[31m"])
def test_a_scene_of_any_name_gives_all_results(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(0, 4, (20, 30), dtype=np.uint8)
    write_raster(tmp_path / "plain.tif", values)
    shutil.move("plain.tif", f"{name}.tif")
    result = geoseg.predict(f"{name}.tif", "out", model=echo_model(4))
    with rasterio.open(result.paths["landcover"]) as raster:
        assert np.array_equal(raster.read(1), values)
    again = geoseg.predict(f"{name}.tif", "out", model=echo_model(4), resume=True)
    assert again.polygons == result.polygons
    item = json.loads(result.paths["item"].read_text("utf-8"))
    for asset in item["assets"].values():
        assert not set(asset["href"]) & set("#?\x1b\n ;!") - set(";!")
    for kind in ("style", "sld"):
        ElementTree.parse(result.paths[kind])
    assert all(len(os.fsencode(path)) <= 255 for path in os.listdir("out"))


def test_results_with_names_that_no_file_can_have_are_refused_before_any_work(tmp_path):
    scene = write_raster(tmp_path / "scene.tif", np.zeros((20, 30), np.uint8))
    for output, says in (
        (f"{'x' * 300}.tif", "longer than"),
        (f"{'x' * 250}.tif", "longer than"),
        ("\udcff.tif", "UTF-8"),
    ):
        with pytest.raises(OutputError, match=says):
            geoseg.predict(scene, tmp_path / output, model=echo_model(4))
    assert os.listdir(tmp_path) == ["scene.tif"]


def test_a_scene_whose_name_is_no_text_says_so():
    with pytest.raises(SceneError, match="UTF-8: rename it"):
        geoseg.predict("\udcff.tif", model=echo_model(4))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.c.tif", "b.c"),
        ("https://me:pw@h/d/scene.tif?sig=a/b.c", "scene"),
        ("/vsicurl?header.Authorization=Bearer%20S&url=https%3A%2F%2Fh%2Fscene.tif%3Fsig%3DS", "scene"),
        ("WMS:https://h/wms?LAYERS=a&apikey=S", "wms"),
        ("<GDAL_WMS><Service></Service></GDAL_WMS>", "GDAL_WMS"),
        ("http://[::1", "[_1"),
        ("a\nb\x1b.tif", "a_b_"),
        ("https://h/", "h"),
        ("PG:host=h password=S", "PG_host=h"),
    ],
)
def test_names_of_scenes(path, name):
    assert scene_name(path) == name


def test_names_that_are_too_long_are_shortened_and_differ():
    long = [shortened("é" * 200 + end) for end in "ab"]
    assert long[0] != long[1]
    assert all(len(name.encode()) <= LONGEST_NAME for name in long)
    assert shortened("short") == "short"


def test_control_characters_are_seen():
    assert visible("a\x1b[31m\n\u202e\udcff\x9b") == r"a\x1b[31m\n\u202e\xff\x9b"
    assert visible("a\nb", keep="\n") == "a\nb"
    assert visible("é🙂") == "é🙂"


def test_styles_are_xml_whatever_classes_are_called():
    classes = [c.model_copy(update={"name": "\x1b[31m\x00 & <a>\ud800"}) for c in class_specs(2)]
    for text in (shared_qml(classes), raster_sld(classes, "\x1b"), vector_sld(classes, "\x1b")):
        ElementTree.fromstring(text.encode("utf-8"))


def test_check_finds_polygons_under_any_name(tmp_path, layer):
    ids = np.array([[0, 0, 1], [2, 2, 1]], np.uint8)
    grid = PixelGrid(2, 3, Affine(1, 0, 0, 0, -1, 0), None)
    for name in ("a;b!c.gpkg", "gpkg_x.gpkg", "#1.shp"):
        write_polygons(layer, tmp_path / name)
        assert check_polygons(tmp_path / name, iter([Strip(0, ids)]), grid, ByteCodes(255)).differing_pixels == 0
