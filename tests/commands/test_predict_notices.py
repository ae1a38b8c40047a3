"""What a user was notified of stands in the results, too: in tags, on the picture, in the Item."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from PIL import Image
from support.models import echo_model, save_bundle
from support.rasters import write_raster

from geoseg.cli import main
from geoseg.commands.predict import PredictResult, predict
from geoseg.commands.vectorize import vectorize

COARSE = Affine(2, 0, 3e5, 0, -2, 4.3e6)


@pytest.fixture
def result(tmp_path: Path, class_values: Any) -> PredictResult:
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40), transform=COARSE)
    rasters = {"confidence": tmp_path / "c.tif", "scores": tmp_path / "p.tif"}
    return predict(scene, tmp_path, model=echo_model(resolution_m=0.6), device="cpu", **rasters)


def test_all_rasters_have_the_notices_as_a_tag(result):
    assert any("adds no detail" in notice for notice in result.notices)
    for kind in ("landcover", "confidence", "scores"):
        with rasterio.open(result.paths[kind]) as raster:
            assert json.loads(raster.tags()["GEOSEG_NOTICES"]) == list(result.notices)
            assert raster.tags()["GEOSEG_MODEL"] == "test"


def test_the_pictures_text_has_them(result):
    with Image.open(result.paths["preview"]) as picture:
        assert json.loads(picture.text["geoseg:notices"]) == list(result.notices)
        assert "adds no detail" in picture.text["Comment"]


def test_the_item_has_them(result):
    properties = json.loads(result.paths["item"].read_text())["properties"]
    assert properties["geoseg:notices"] == list(result.notices)
    assert properties["geoseg:confidence"] == pytest.approx(result.confidence, abs=1e-4)


def test_the_polygons_have_them_also_when_they_are_made_later(tmp_path, result):
    later = tmp_path / "later.gpkg"
    vectorize(result.paths["landcover"], later)
    for path in (result.paths["polygons"], later):
        metadata = pyogrio.read_info(path, layer=path.stem)["layer_metadata"]
        assert json.loads(metadata["GEOSEG_NOTICES"]) == list(result.notices)


def test_the_picture_grows_by_the_lines_of_its_notices(tmp_path, class_values, result):
    scene = write_raster(tmp_path / "t.tif", class_values(40, 40))
    other = predict(scene, tmp_path, model=echo_model(resolution_m=0.6), device="cpu")
    with Image.open(result.paths["preview"]) as noted, Image.open(other.paths["preview"]) as plain:
        assert noted.height > plain.height


def test_the_mean_confidence_is_that_of_the_pixels_with_data(tmp_path, class_values):
    values = class_values(70, 80)
    values[10:20, 10:20] = 99
    scene = write_raster(tmp_path / "s.tif", values, nodata=99)
    found = predict(scene, tmp_path, model=echo_model(), confidence=tmp_path / "c.tif", device="cpu", tile=32)
    with rasterio.open(found.paths["confidence"]) as raster:
        percent = raster.read(1)
    assert found.confidence == pytest.approx(percent[percent != 255].mean() / 100)
    plain = {"polygons": False, "preview": False, "stac": False, "device": "cpu"}
    alone = predict(scene, tmp_path / "alone", model=echo_model(), tile=32, **plain)
    assert alone.confidence == found.confidence
    done = predict(scene, tmp_path / "alone", model=echo_model(), tile=32, resume=True, **plain)
    assert (done.forwarded_px, done.confidence) == (0, pytest.approx(found.confidence, abs=1e-4))


def test_without_any_data_there_is_no_confidence(tmp_path):
    scene = write_raster(tmp_path / "s.tif", np.full((40, 40), 7, np.uint8), nodata=7)
    assert predict(scene, tmp_path, model=echo_model(), device="cpu").confidence is None


def test_the_summary_and_the_exit_code_of_many_scenes(tmp_path, class_values):
    bundle = save_bundle(tmp_path / "m.safetensors", resolution_m=0.6)
    (tmp_path / "in").mkdir()
    write_raster(tmp_path / "in" / "a.tif", class_values(40, 40))
    write_raster(tmp_path / "in" / "b.tif", class_values(40, 40), transform=Affine(20, 0, 3e5, 0, -20, 4.3e6))
    command = ["predict", str(tmp_path / "in"), "-m", str(bundle), "-o", str(tmp_path / "out")]
    ran = CliRunner().invoke(main, command, catch_exceptions=False)
    assert ran.exit_code == 1
    assert "mean confidence" in ran.stdout
    assert "--force" in ran.stderr
    assert (tmp_path / "out" / "a_landcover.tif").exists()
    assert not (tmp_path / "out" / "b_landcover.tif").exists()
    forced = CliRunner().invoke(main, [*command, "--force", "--overwrite"], catch_exceptions=False)
    assert forced.exit_code == 0


def test_a_turned_scene_is_shown_north_up(tmp_path, class_values):
    """The nodata around a raster that is turned by a quarter shows on no side of its picture."""
    values = class_values(100, 60)
    turned = write_raster(tmp_path / "s.tif", values, transform=Affine(0, 0.6, 3e5, 0.6, 0, 4.3e6))
    picture = predict(turned, tmp_path, model=echo_model(), device="cpu", polygons=False).paths["preview"]
    straight = write_raster(tmp_path / "t.tif", values.T[::-1], transform=Affine(0.6, 0, 3e5, 0, -0.6, 4.3e6 + 36))
    other = predict(straight, tmp_path, model=echo_model(), device="cpu", polygons=False).paths["preview"]
    with Image.open(picture) as one, Image.open(other) as two:
        assert one.size == two.size
        height = one.height // 3
        left = np.asarray(one.convert("RGB"))[height // 2 : height, 30:-30]
        np.testing.assert_array_equal(left, np.asarray(two.convert("RGB"))[height // 2 : height, 30:-30])
