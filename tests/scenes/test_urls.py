"""Scenes that are no plain files: over HTTP (from this machine) and inside an archive."""

import zipfile

import numpy as np
import pytest
import rasterio
from support.models import echo_model
from support.rasters import write_raster

from geoseg.commands.predict import predict
from geoseg.core.errors import SceneError

QUICK = {"polygons": False, "preview": False}


def test_a_scene_behind_a_url(tmp_path, class_values, server):
    values = class_values(300, 400)
    write_raster(tmp_path / "far.tif", values, tiled=True, blockxsize=128, blockysize=128, compress="deflate")
    result = predict(f"{server}/far.tif?token=1", tmp_path / "out", model=echo_model(), **QUICK)
    assert result.paths["landcover"].name == "far_landcover.tif"
    with rasterio.open(result.paths["landcover"]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)


def test_a_url_that_leads_nowhere_is_one_line(tmp_path, server):
    with pytest.raises(SceneError, match="cannot be opened as a raster") as error:
        predict(f"{server}/nothing.tif", tmp_path / "out", model=echo_model(), **QUICK)
    assert "\n" not in str(error.value)


def test_a_scene_inside_an_archive(tmp_path, class_values):
    values = class_values(60, 70)
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.write(write_raster(tmp_path / "inner.tif", values), "inner.tif")
    result = predict(f"/vsizip/{tmp_path}/s.zip/inner.tif", tmp_path / "out", model=echo_model(), **QUICK)
    with rasterio.open(result.paths["landcover"]) as dataset:
        np.testing.assert_array_equal(dataset.read(1), values)
