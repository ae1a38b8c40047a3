"""Scenes are classified by ONNX models as by the bundles that they were made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from support.branches import SETTINGS, SMALL, colours
from support.models import make_spec

from geoseg.commands.export_model import export_model
from geoseg.commands.import_model import import_model
from geoseg.commands.predict import PredictResult, predict
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


def test_a_folder_comes_back_by_import_with_the_same_classes(bundle: Path, tmp_path: Path) -> None:
    export_model(bundle, tmp_path / "folder")
    said = tmp_path / "folder" / "import.yaml"
    back = import_model(tmp_path / "folder", tmp_path / "back.safetensors", spec=said).bundle
    scene = colours(tmp_path / "s.tif")
    rasters = [predict(scene, tmp_path / f"{one.stem}.tif", model=one, **SETTINGS) for one in (bundle, back)]
    assert np.array_equal(*map(classes, rasters))
