"""Scenes are classified by ONNX models as by the bundles that they were made from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from support.branches import SETTINGS, SMALL, colours
from support.models import make_spec
from support.rasters import write_raster

from geoseg.commands.export_model import export_model
from geoseg.commands.import_model import import_model
from geoseg.commands.predict import PredictResult, predict
from geoseg.core.errors import ModelError
from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.spec import NormalizationSpec

PLAIN = {name: value for name, value in SETTINGS.items() if name != "precision"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bands = "red", "green", "blue"
    statistics = NormalizationSpec(mean=(120, 120, 120), std=(60, 60, 60))
    spec = make_spec(
        3, network=SMALL.model_copy(update={"multiple": 32}), bands=bands, normalization=statistics, resolution_m=0.5
    )
    torch.manual_seed(0)
    return save_model(build_network(spec), spec, tmp_path_factory.mktemp("model") / "m.safetensors")


def classes(result: PredictResult) -> NDArray[np.uint8]:
    with rasterio.open(result.paths["landcover"]) as dataset:
        ids: NDArray[np.uint8] = dataset.read(1)
    return ids


def test_an_onnx_model_finds_the_classes_of_its_bundle(bundle: Path, tmp_path: Path) -> None:
    scene, model = colours(tmp_path / "s.tif"), export_model(bundle, tmp_path / "m.onnx").paths[0]
    wanted = predict(scene, tmp_path / "bundle.tif", model=bundle, **SETTINGS)
    found = predict(scene, tmp_path / "onnx.tif", model=model, **PLAIN)
    assert found.precision == "fp32"
    assert (classes(found) == classes(wanted)).mean() > 0.9999
    assert len(np.unique(classes(found))) == 3
    assert found.confidence == pytest.approx(wanted.confidence, abs=1e-4)
    again = predict(scene, tmp_path / "onnx.tif", model=model, resume=True, **PLAIN)
    assert again.forwarded_px == 0


def test_windows_are_those_of_a_fixed_size(bundle: Path, tmp_path: Path) -> None:
    scene, model = colours(tmp_path / "s.tif"), export_model(bundle, tmp_path / "m.onnx", size=96).paths[0]
    settings = {name: value for name, value in PLAIN.items() if name not in ("tile", "overlap")}
    found = predict(scene, tmp_path / "onnx.tif", model=model, **settings)
    wanted = predict(scene, tmp_path / "bundle.tif", model=bundle, precision="fp32", tile=96, overlap=48, **settings)
    assert found.settings["tile"] == 96
    assert (classes(found) == classes(wanted)).mean() > 0.98  # smaller windows are padded


def reflectance_model(path: Path) -> Path:
    """A model with the side file of ukis-csmask, whose class is the brightest band."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, "height", "width"])
        for name in ("image", "scores")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["scores"])], "test", *([port] for port in ports)
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    statistics = {"img": [[0.0] * 3, [0.1] * 3], "band_names": ["blue", "green", "red"]}
    said = {"data": {"classes": 3, "dataset_statistics": statistics}}
    path.with_suffix(".json").write_text(json.dumps(said))
    return path


def test_a_model_of_reflectances_takes_whole_numbers_by_their_scale_or_asks_for_it(tmp_path: Path) -> None:
    model = reflectance_model(tmp_path / "m.onnx")
    values = np.random.default_rng(0).integers(1, 9000, (3, 96, 96)).astype(np.int16)
    bare, scaled = (write_raster(tmp_path / f"{name}.tif", values) for name in ("bare", "scaled"))
    for path in (bare, scaled):
        with rasterio.open(path, "r+") as raster:
            raster.descriptions = ("B02", "B03", "B04")
    with rasterio.open(scaled, "r+") as raster:
        raster.scales = (0.0001,) * 3
    settings = {"polygons": False, "preview": False, "device": "cpu"}
    with pytest.raises(ModelError, match=r"scene has int16: pass --rescale 0,10000 \(for reflectance x 10,000"):
        predict(bare, tmp_path / "bare", model=model, **settings)
    told = predict(bare, tmp_path / "told.tif", model=model, rescale=(0, 10000), **settings)
    found = predict(scaled, tmp_path / "found.tif", model=model, **settings)
    assert np.array_equal(classes(found), values.argmax(0))
    assert np.array_equal(classes(told), values.argmax(0))


def test_a_folder_comes_back_by_import_with_the_same_classes(bundle: Path, tmp_path: Path) -> None:
    export_model(bundle, tmp_path / "folder")
    said = tmp_path / "folder" / "import.yaml"
    back = import_model(tmp_path / "folder", tmp_path / "back.safetensors", spec=said).bundle
    scene = colours(tmp_path / "s.tif")
    rasters = [predict(scene, tmp_path / f"{one.stem}.tif", model=one, **SETTINGS) for one in (bundle, back)]
    assert np.array_equal(*map(classes, rasters))
