"""From an embedding and a few labels to a map, by the commands that a user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image
from support.embeddings import write_embedding
from support.rasters import write_raster
from support.reporters import Heard

from geoseg.commands.init import init
from geoseg.commands.predict import predict
from geoseg.commands.preview import caption_of
from geoseg.commands.train import train

CLASSES = np.random.default_rng(3).integers(0, 4, (8, 8)).repeat(16, 0).repeat(16, 1)
QUICK = {
    "optimizer": {"learning_rate": 0.05}, "window": 32, "windows_per_epoch": 64, "epochs": 3, "ema": 0.5,
    "device": "cpu",
}  # fmt: skip


def labelled(folder: Path, **changes: Any) -> Path:
    """An embedding with labels for a twentieth of its pixels; the config that `init` writes for it, made short."""
    write_embedding(folder / "e.tif", CLASSES, **changes)
    few = np.where(np.random.default_rng(1).random(CLASSES.shape) < 0.05, CLASSES, 255).astype(np.uint8)
    write_raster(folder / "labels.tif", few, nodata=255)
    config = folder / "c.yaml"
    init(folder / "e.tif", folder / "labels.tif", config)
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(settings | QUICK))
    return config


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"nodata": None},
        {"dtype": "float32", "named": False},
        {"axes": 16, "named": False},
    ],
    ids=["64 named axes of bytes", "no value of nodata", "fractions without names", "16 axes"],
)
def test_an_embedding_is_learnt_and_mapped(tmp_path, changes):
    config, heard = labelled(tmp_path, **changes), Heard()
    written = yaml.safe_load(config.read_text())
    assert written["network"] == {"architecture": "pointwise"}
    assert written["data"]["dtype"] == changes.get("dtype", "int8")
    run = train(config, tmp_path / "run", reporter=heard)
    assert any("axes of an embedding" in line and "colours are not varied" in line for line in heard.lines)

    other = CLASSES[::-1, ::-1]
    scene = write_embedding(tmp_path / "other.tif", other, seed=5, **changes)
    result = predict(scene, tmp_path / "out", model=run.bundle, device="cpu", polygons=False, rescale="auto", tile=64)
    with rasterio.open(result.paths["landcover"]) as raster:
        found = raster.read(1)
    held = np.ones(found.shape, bool)
    held[:8, :8] = False
    assert (found[held] == other[held]).mean() > 0.9
    is_marked = changes.get("nodata", 0) is not None
    assert (found[~held] == 255).all() == is_marked
    assert not any("bright" in line or "dark" in line for line in result.notices)
    with Image.open(result.paths["preview"]) as picture:
        assert picture.width > 0


def test_the_picture_says_which_axes_it_shows(monkeypatch, tmp_path):
    captions = []

    def kept(*arguments: Any) -> Any:
        captions.append(caption_of(*arguments))
        return captions[-1]

    monkeypatch.setattr("geoseg.commands.preview.caption_of", kept)
    run = train(labelled(tmp_path), tmp_path / "run")
    predict(tmp_path / "e.tif", tmp_path / "out", model=run.bundle, device="cpu", polygons=False)
    assert "picture of A00, A01, A02" in captions[0].facts


def test_tiled_reading_of_many_bands_does_not_depend_on_the_windows(tmp_path):
    run = train(labelled(tmp_path), tmp_path / "run")
    plain = {"polygons": False, "preview": False, "stac": False, "device": "cpu", "precision": "fp32"}
    found = []
    for tile in (32, 128):
        result = predict(tmp_path / "e.tif", tmp_path / str(tile), model=run.bundle, tile=tile, overlap=0, **plain)
        with rasterio.open(result.paths["landcover"]) as raster:
            found.append(raster.read(1))
    np.testing.assert_array_equal(*found)
