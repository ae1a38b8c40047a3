"""What STAC says of an asset's bands counts where the file says nothing."""

import json
import math

import numpy as np
import pytest
import rasterio
from support.models import echo_model, save_bundle
from support.rasters import write_raster

from geoseg.commands.predict_many import batch_of, plan_each, predict_many
from geoseg.raster.bands.tags import BandTag
from geoseg.raster.scene import Scene
from geoseg.scenes import find_scenes
from geoseg.scenes.asset_bands import asset_bands
from geoseg.spec import ScalingSpec

TERMS = {"scale": 0.0001, "offset": -0.1, "nodata": 0}


@pytest.mark.parametrize(
    ("asset", "expected"),
    [
        ({}, ()),
        ({"raster:bands": [TERMS]}, (BandTag("", 0.0001, -0.1, 0.0),)),
        (
            {"raster:bands": [TERMS, {}], "eo:bands": [{"name": "B04", "common_name": "red"}, {"name": "B8A"}]},
            (BandTag("red", 0.0001, -0.1, 0.0), BandTag("B8A")),
        ),
        (
            {
                "bands": [{"name": "B02", "raster:scale": 2, "raster:offset": 1}, {"eo:common_name": "nir"}],
                "nodata": "nan",
            },
            (BandTag("B02", 2.0, 1.0, math.nan), BandTag("nir", nodata=math.nan)),
        ),
        ({"raster:bands": [{}], "eo:bands": [{}, {}]}, ()),
        ({"raster:bands": "red"}, ()),
        ({"raster:bands": [None, {"scale": "x", "offset": True, "nodata": [1]}]}, (BandTag(), BandTag())),
        ({"raster:bands": [{}] * 5000}, ()),
    ],
)
def test_bands_of_an_asset(asset, expected):
    assert repr(asset_bands({}, asset)) == repr(expected)


def test_an_offset_that_is_in_the_values_already_is_not_taken_off_again():
    item = {"properties": {"earthsearch:boa_offset_applied": True}}
    assert asset_bands(item, {"raster:bands": [TERMS]}) == (BandTag("", 0.0001, 0.0, 0.0),)


def test_the_files_own_word_counts_first(tmp_path):
    tags = [BandTag("blue", 0.5, 1.0, 7.0), BandTag("red", 0.5, 1.0, 7.0)]
    values = np.zeros((2, 8, 8), np.uint16)
    with Scene.open(write_raster(tmp_path / "a.tif", values), tags=tags) as scene:
        info = scene.info
        assert (info.descriptions, info.nodata, info.mask) == (("blue", "red"), (7.0, 7.0), "nodata")
        assert info.scaling_of((1,)) == ScalingSpec(scale=(0.5,), offset=(1.0,))
    own = {"descriptions": ("x", "y"), "nodata": 3, "scales": (2.0, 2.0)}
    with Scene.open(write_raster(tmp_path / "b.tif", values, **own), tags=tags) as scene:
        assert (scene.info.descriptions, scene.info.nodata) == (("x", "y"), (3.0, 3.0))
        assert scene.info.scaling_of((1,)) == ScalingSpec(scale=(2.0,), offset=(0.0,))
    with Scene.open(write_raster(tmp_path / "c.tif", values[:1]), tags=tags) as scene:
        assert scene.info.descriptions == ("",)


@pytest.fixture
def item(tmp_path):
    """An Item whose raster has values 1000 above class ids, which only the Item tells; and these ids."""
    ids = np.kron(np.random.default_rng(0).integers(0, 4, (30, 30)), np.ones((10, 10))).astype(np.uint16)
    write_raster(tmp_path / "s.tif", np.where(np.eye(300, dtype=bool), 0, ids + 1000).astype(np.uint16))
    asset = {"href": "s.tif", "type": "image/tiff", "raster:bands": [TERMS]}
    (tmp_path / "item.json").write_text(
        json.dumps({"type": "Feature", "id": "scene", "properties": {}, "assets": {"data": asset}})
    )
    return tmp_path / "item.json", np.where(np.eye(300, dtype=bool), 255, ids)


def test_an_items_scale_and_nodata_reach_the_classes(tmp_path, item):
    model = echo_model(4, dtype="uint16", scaling=ScalingSpec(scale=(0.0001,), offset=(0.0,)))
    settings = {"model": model, "polygons": False, "preview": False, "precision": "fp32"}
    (plan,) = plan_each(batch_of(find_scenes(item[0]), tmp_path / "out", **settings))
    assert any("values are converted from value x 0.0001 - 0.1" in line for line in plan.notices)
    (result,) = predict_many(item[0], tmp_path / "out", **settings).results
    with rasterio.open(result.paths["landcover"]) as made:
        np.testing.assert_array_equal(made.read(1), item[1])


@pytest.mark.slow
def test_processes_that_share_a_scene_know_of_the_item(tmp_path, item):
    model = save_bundle(tmp_path / "m.safetensors", dtype="uint16", scaling=ScalingSpec(scale=(0.0001,), offset=(0.0,)))
    settings = {"model": model, "polygons": False, "preview": False, "precision": "fp32", "tile": 64, "device": "cpu"}
    made = []
    for devices in (None, "2"):
        outcomes = predict_many(item[0], tmp_path / f"out{devices}", devices=devices, **settings)
        with rasterio.open(outcomes.results[0].paths["landcover"]) as raster:
            made.append(raster.read(1))
    np.testing.assert_array_equal(*made)
