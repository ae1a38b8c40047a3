"""What values stand for: told by files and models, converted from one to the other, never changed in silence."""

import math

import numpy as np
import pytest
import rasterio
from support.models import echo_model, save_bundle
from support.rasters import write_raster

from geoseg.commands.info import describe
from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.core.errors import SpecError
from geoseg.geo.grid import Window
from geoseg.models.header import read_spec
from geoseg.raster.scaling import conversion, describe_scaling, file_scaling, scaling_notice
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.spec import ModelSpec, ScalingSpec, parse_spec

OLD = ScalingSpec(scale=(0.0001,), offset=(0.0,))
NEW = ScalingSpec(scale=(0.0001,), offset=(-0.1,))
QUICK = {"polygons": False, "preview": False, "precision": "fp32"}


@pytest.mark.parametrize(
    ("scales", "offsets", "expected"),
    [
        ((1.0, 1.0), (0.0, 0.0), None),
        ((0.0001,), (-0.1,), NEW),
        ((0.0,), (-0.1,), None),
        ((math.nan,), (0.0,), None),
        ((1e300,), (0.0,), None),
        ((1e-300,), (0.0,), None),
        ((1.0,), (math.inf,), None),
        ((1.0, 1.0), (0.0, 5.0), ScalingSpec(scale=(1, 1), offset=(0, 5))),
    ],
)
def test_what_a_file_says(scales, offsets, expected):
    assert file_scaling(scales, offsets) == expected


def test_values_become_those_that_stand_for_the_same():
    change = conversion(NEW, OLD)
    np.testing.assert_array_equal(change.apply(np.array([[[1000, 4000]]], np.uint16)), [[[0, 3000]]])
    percent = ScalingSpec(scale=(0.01,), offset=(0.0,))
    np.testing.assert_allclose(conversion(OLD, percent).apply(np.array([[[2500]]], np.int16)), [[[25]]])
    assert conversion(OLD, ScalingSpec(scale=(1e-4 * (1 + 1e-12),), offset=(0.0,))) is None
    assert conversion(None, OLD) is conversion(OLD, None) is None


@pytest.mark.parametrize(
    ("own", "wanted", "is_rescaled", "says"),
    [
        (None, None, False, None),
        (OLD, OLD, False, None),
        (NEW, OLD, False, "converted from value x 0.0001 - 0.1 to the model's value x 0.0001"),
        (NEW, None, False, "the model does not say what its values stand for: they are taken as they are"),
        (None, OLD, False, "the scene has no scale and offset: its values are taken as they are"),
        (NEW, OLD, True, "not applied: --rescale"),
    ],
)
def test_a_difference_is_told(own, wanted, is_rescaled, says):
    line = scaling_notice(own, wanted, is_rescaled=is_rescaled)
    assert line is None if says is None else says in line


def test_bands_of_their_own_are_each_described():
    assert describe_scaling(ScalingSpec(scale=(2, 2, 3), offset=(0, 0, 1))) == "value x 2, value x 3 + 1"


def scene_of(path, ids, *, shift=0, **profile):
    """A scene whose values less 1000 per unit of shift are class ids."""
    return write_raster(path, (ids + 1000 * shift).astype(np.uint16), **profile)


@pytest.fixture
def model():
    return echo_model(4, dtype="uint16", scaling=OLD)


@pytest.mark.parametrize("size", [64, 300])
def test_a_scene_in_other_terms_gives_the_same_classes(tmp_path, class_values, model, size):
    ids = class_values(size, size)
    holes = np.where(np.arange(size)[:, None] < 5, 7, ids.astype(np.uint16) + 1000).astype(np.uint16)
    write_raster(tmp_path / "b.tif", holes, scales=(0.0001,), offsets=(-0.1,), nodata=7)
    result = predict(tmp_path / "b.tif", tmp_path, model=model, tile=64, **QUICK)
    with rasterio.open(tmp_path / "b_landcover.tif") as made:
        np.testing.assert_array_equal(made.read(1), np.where(np.arange(size)[:, None] < 5, 255, ids))
    assert [line for line in result.notices if "values are converted" in line]


def test_rescale_wins_over_tags(tmp_path, model):
    path = scene_of(tmp_path / "b.tif", np.full((64, 64), 3), scales=(0.0001,), offsets=(-0.1,))
    plan = plan_prediction(path, tmp_path, model=model, rescale=(0, 65535))
    assert [line for line in plan.notices if "--rescale" in line and "not applied" in line]
    with Scene.open(path) as scene:
        scene = SceneBands.select(scene, (1,), rescale=(0, 65535), dtype="uint16", scaling=OLD)
        assert scene.read(Window(0, 0, 2, 2))[0].tolist() == [[[3, 3], [3, 3]]]


def test_8_bit_values_that_are_converted_are_read_as_float(tmp_path):
    path = write_raster(tmp_path / "s.tif", np.uint8([[0, 10, 255]]), scales=(0.5,), offsets=(1.0,), nodata=255)
    with Scene.open(path) as scene:
        scene = SceneBands.select(scene, (1,), scaling=ScalingSpec(scale=(1.0,), offset=(0.0,)))
        image, valid = scene.read(Window(0, 0, 1, 3))
        assert (scene.value_type, image.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(image[0][valid], [1, 6])


def test_info_shows_scale_and_offset_of_scenes_and_models(tmp_path):
    bundle = save_bundle(tmp_path / "m.safetensors", dtype="uint16", scaling=OLD)
    path = scene_of(tmp_path / "b.tif", np.zeros((8, 8)), scales=(0.0001,), offsets=(-0.1,))
    told = describe(path, bundle)
    assert (told["bands"][0]["scale"], told["bands"][0]["offset"]) == (0.0001, -0.1)
    assert any("values are converted" in line for line in told["fits"]["notices"])
    assert "scale" not in describe(write_raster(tmp_path / "p.tif", np.zeros((8, 8), np.uint16)), bundle)["bands"][0]
    assert describe(bundle)["scaling"] == {"scale": [0.0001], "offset": [0.0]}
    assert read_spec(save_bundle(tmp_path / "old.safetensors")).scaling is None


@pytest.mark.parametrize("scaling", [{"scale": [1, 1], "offset": [0, 0]}, {"scale": [0], "offset": [0]}])
def test_a_bundle_with_an_impossible_scaling_is_refused(tmp_path, scaling):
    values = read_spec(save_bundle(tmp_path / "m.safetensors")).model_dump(mode="json")
    with pytest.raises(SpecError, match="scale"):
        parse_spec(ModelSpec, values | {"scaling": scaling}, source="m")
