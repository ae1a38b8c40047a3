"""The STAC Item that `predict` writes describes the files beside it as they are."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from support.models import echo_model, save_bundle
from support.rasters import write_raster
from support.stac import validate

from geoseg.commands.predict import predict

BANDS = 1
GRID = {"crs": "EPSG:32617", "transform": from_origin(450_000, 4_000_000, 0.6, 0.6)}


def item_of(tmp_path: Path, model: object, **settings: object) -> dict:
    scene = write_raster(tmp_path / "s.tif", np.zeros((BANDS, 40, 48), np.uint8), **GRID)
    result = predict(scene, tmp_path / "out", model=model, device="cpu", **settings)
    return json.loads(result.paths["item"].read_text())


@pytest.mark.parametrize("scores_type", ["uint8", "float32"])
def test_assets_say_what_their_files_are(tmp_path, scores_type):
    out = tmp_path / "out"
    wanted = {"scores": out / "p.tif", "confidence": out / "c.tif", "uncertainty": out / "u.tif"}
    item = item_of(tmp_path, echo_model(), **wanted, scores_type=scores_type)
    assert {"landcover", "polygons", "preview", *wanted} == item["assets"].keys()
    for asset in item["assets"].values():
        content = (out / asset["href"]).read_bytes()
        assert asset["file:size"] == len(content)
        assert asset["file:checksum"] == "1220" + hashlib.sha256(content).hexdigest()
    for kind in ("landcover", *wanted):
        asset = item["assets"][kind]
        with rasterio.open(out / asset["href"]) as raster:
            assert {asset["data_type"]} == set(raster.dtypes)
            nodata = float(asset["nodata"])
            assert raster.nodata == nodata or (math.isnan(nodata) and math.isnan(raster.nodata))
            assert len(asset["bands"]) == raster.count
            assert asset["proj:bbox"] == pytest.approx(list(raster.bounds))
            assert asset["proj:shape"] == list(raster.shape)
    validate(item)


def test_the_model_is_an_asset_whose_checksum_is_that_of_its_file(tmp_path):
    bundle = save_bundle(tmp_path / "m.safetensors")
    item = item_of(tmp_path, bundle, polygons=False, preview=False)
    model = item["assets"]["model"]
    assert (tmp_path / "out" / model["href"]).samefile(bundle)
    assert model["file:checksum"] == "1220" + hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert model["roles"] == ["mlm:model", "mlm:weights"]
    extensions = {place.split("/")[3] for place in item["stac_extensions"]}
    assert extensions == {"projection", "file", "classification", "processing", "eo", "mlm"}
    validate(item)


def test_a_model_in_memory_is_described_without_a_file(tmp_path):
    item = item_of(tmp_path, echo_model(), polygons=False, preview=False)
    assert "model" not in item["assets"]
    assert item["properties"]["mlm:name"] == "test"
    validate(item)
