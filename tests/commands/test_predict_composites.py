"""Predictions of scenes of several files: the same as those of one file with all bands."""

import json
import os

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from support.executors import Apart
from support.models import echo_model, save_bundle
from support.rasters import write_raster
from support.servers import serving_apart

from geoseg.cli import main
from geoseg.commands.info import describe
from geoseg.commands.predict import predict
from geoseg.commands.predict_many import predict_many
from geoseg.core.errors import ModelError, OutputError, SceneError
from geoseg.inference.fingerprint import fingerprint
from geoseg.scenes import open_scene
from geoseg.scenes.products.sentinel2 import write_example as sentinel2
from geoseg.spec import ClassifySpec

QUICK = {"polygons": False, "preview": False, "stac": False, "device": "cpu"}
GRID = {"transform": from_origin(300_000, 4_300_000, 10, 10)}


def classes(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.fixture
def bands(tmp_path):
    """Files red.tif, green.tif and blue.tif, and rgb.tif with the same bands."""
    values = np.random.default_rng(0).integers(0, 4, (3, 90, 130), np.uint8)
    for name, one in zip(("red", "green", "blue"), values, strict=True):
        write_raster(tmp_path / f"{name}.tif", one, **GRID)
    write_raster(tmp_path / "rgb.tif", values, descriptions=("red", "green", "blue"), **GRID)
    return tmp_path


def run(arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def address(folder, *names):
    return "+".join(str(folder / f"{name}.tif") for name in names)


def test_a_scene_of_three_files_gets_the_classes_of_one_file(bands):
    model = echo_model(bands=("green", "red", "blue"))
    one = predict(bands / "rgb.tif", bands / "one", model=model, tile=64, **QUICK)
    many = predict(address(bands, "blue", "red", "green"), bands / "many", model=model, tile=64, **QUICK)
    np.testing.assert_array_equal(classes(many.paths["landcover"]), classes(one.paths["landcover"]))
    assert many.paths["landcover"].name == "blue_red_green_landcover.tif"
    assert many.scene == address(bands, "blue", "red", "green")
    assert many.settings["bands"] == [3, 2, 1]
    assert any("bands by name" in line for line in many.notices)


def test_names_in_the_address_decide_over_those_of_files(bands):
    swapped = f"green={bands / 'red.tif'}+red={bands / 'green.tif'}+blue={bands / 'blue.tif'}"
    model = echo_model(bands=("red", "green", "blue"))
    result = predict(swapped, bands / "out", model=model, **QUICK)
    np.testing.assert_array_equal(classes(result.paths["landcover"]), classes(bands / "green.tif"))


def test_an_area_limits_a_scene_of_several_files(bands):
    box = 300_200, 4_299_400, 300_700, 4_299_900
    result = predict(
        address(bands, "red", "green", "blue"), bands / "out", model=echo_model(bands=("red",)), bbox=box, **QUICK
    )
    np.testing.assert_array_equal(classes(result.paths["landcover"]), classes(bands / "red.tif")[10:60, 20:70])


def test_workers_share_a_scene_of_several_files(bands):
    bundle = save_bundle(bands / "m.safetensors", bands=("red", "green", "blue"))
    scene = address(bands, "red", "green", "blue")
    alone = predict(scene, bands / "alone", model=bundle, tile=32, overlap=0, **QUICK)
    shared = predict(scene, bands / "shared", model=bundle, tile=32, overlap=0, scheduler=Apart(), **QUICK)
    np.testing.assert_array_equal(classes(shared.paths["landcover"]), classes(alone.paths["landcover"]))


def test_work_is_resumed_with_the_same_files_in_the_same_order_alone(bands):
    model = echo_model(bands=("red",))

    def digest(scene):
        with open_scene(scene) as opened:
            return fingerprint(opened, model, ClassifySpec(), "cpu")

    scene = address(bands, "red", "green", "blue")
    first = digest(scene)
    assert digest(scene) == first
    assert digest(address(bands, "green", "red", "blue")) != first
    assert digest(address(bands, "red", "green")) != first
    assert digest(f"nir={bands / 'red.tif'}+green={bands / 'green.tif'}+blue={bands / 'blue.tif'}") != first
    for name in ("red", "green", "blue"):
        before = digest(scene)
        os.utime(bands / f"{name}.tif", ns=(1, 1))
        assert digest(scene) != before


def test_bands_that_no_name_tells_apart_are_refused(bands):
    for name in ("a_red", "b_red"):
        (bands / f"{name}.tif").write_bytes((bands / "red.tif").read_bytes())
    with pytest.raises(ModelError, match="not certain which bands"):
        predict(
            address(bands, "a_red", "b_red", "green"),
            bands / "out",
            model=echo_model(bands=("red", "green")),
            **QUICK,
        )
    with pytest.raises(ModelError, match="model expects 3 bands"):
        predict(
            address(bands, "red", "green"), bands / "out", model=echo_model(bands=("red", "green", "blue")), **QUICK
        )


def test_of_one_band_that_is_not_enough_the_way_to_name_several_is_given(bands):
    with pytest.raises(ModelError, match=r"name a file for each band \(RED.tif\+GREEN.tif\+BLUE.tif\), or choose"):
        predict(bands / "red.tif", bands / "out", model=echo_model(bands=("red", "green", "blue")), **QUICK)


def test_a_result_never_replaces_a_band(bands):
    with pytest.raises(OutputError, match="is the scene itself"):
        predict(
            address(bands, "red", "green"),
            bands / "green.tif",
            model=echo_model(bands=("red",)),
            overwrite=True,
            **QUICK,
        )


def test_the_item_of_a_prediction_is_derived_from_each_file(bands):
    options = QUICK | {"stac": True}
    result = predict(address(bands, "red", "green"), bands / "out", model=echo_model(bands=("red",)), **options)
    links = json.loads(result.paths["item"].read_text())["links"]
    assert [link["href"] for link in links] == ["../red.tif", "../green.tif"]


def test_a_product_is_converted_to_the_scaling_of_the_model(tmp_path):
    """The same reflectance before and after baseline 04.00 gets the same classes."""
    from geoseg.spec import ScalingSpec

    model = echo_model(200, bands=("red",), dtype="uint16", scaling=ScalingSpec(scale=(1e-2,), offset=(0.0,)))
    result = predict(sentinel2(tmp_path), tmp_path / "out", model=model, **QUICK)
    found = classes(result.paths["landcover"])
    assert (found[:6] == 255).all()
    assert found[6, 0] == round((1400 - 1000) / 100)
    assert result.scene.endswith(".SAFE")


def test_info_shows_the_bands_of_several_files(bands):
    model = save_bundle(bands / "m.safetensors", bands=("red", "green", "blue"), resolution_m=10)
    found = describe(address(bands, "red", "green", "blue"), model)
    assert [band["description"] for band in found["bands"]] == ["red", "green", "blue"]
    assert found["fits"]["bands"] == {"red": 1, "green": 2, "blue": 3}
    assert describe(sentinel2(bands))["band_count"] == 12


def test_the_command_line_takes_several_files_and_assets(bands, capsys):
    bundle = str(save_bundle(bands / "m.safetensors", bands=("red", "green", "blue")))
    common = ["-m", bundle, "--no-polygons", "--no-preview", "--no-stac", "--device", "cpu", "--json"]
    run(["predict", address(bands, "red", "green", "blue"), "-o", str(bands / "a"), *common])
    one = json.loads(capsys.readouterr().out)
    assets = {key: {"href": f"{key}.tif", "type": "image/tiff"} for key in ("red", "green", "blue")}
    item = {"type": "Feature", "stac_version": "1.1.0", "id": "scene", "properties": {}, "assets": assets}
    (bands / "item.json").write_text(json.dumps(item))
    arguments = ["predict", str(bands / "item.json"), "--asset", "blue,green,red", "-o", str(bands / "b"), *common]
    run(arguments)
    (other,) = json.loads(capsys.readouterr().out)
    np.testing.assert_array_equal(classes(other["paths"]["landcover"]), classes(one["paths"]["landcover"]))


def test_files_on_a_server_are_read_like_those_here(bands):
    model = echo_model(bands=("green",))
    with serving_apart(bands) as server:
        assets = {key: {"href": f"{key}.tif", "type": "image/tiff"} for key in ("red", "green")}
        item = {"type": "Feature", "stac_version": "1.1.0", "id": "scene", "properties": {}, "assets": assets}
        (bands / "item.json").write_text(json.dumps(item))
        many = predict_many(f"{server}/item.json", bands / "a", model=model, asset="red,green", **QUICK)
        (result,) = many.results
        np.testing.assert_array_equal(classes(result.paths["landcover"]), classes(bands / "green.tif"))
        remote = predict(
            f"{server}/red.tif?sig=secret+{server}/green.tif?sig=secret", bands / "b", model=model, **QUICK
        )
        np.testing.assert_array_equal(classes(remote.paths["landcover"]), classes(bands / "green.tif"))
        assert "secret" not in remote.scene


def test_a_missing_file_is_one_line(bands):
    with pytest.raises(SceneError, match=r"no scene at .*nir\.tif: check the path") as caught:
        predict(address(bands, "red", "nir"), bands / "out", model=echo_model(bands=("red",)), **QUICK)
    assert "\n" not in str(caught.value)
