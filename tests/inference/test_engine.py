"""Which engine computes a network: it is given with the result, kept when work is resumed, refused where it lacks."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.branches import class_values, colours, small_model
from support.executors import Apart
from support.reporters import Heard
from support.stopped import stopped_after

from geoseg.commands.predict import predict
from geoseg.core.errors import GeosegError
from geoseg.models.backends import BACKENDS
from geoseg.models.bundle import load_model
from geoseg.models.model import Model
from geoseg.models.onnx_engine import cache

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

PLAIN: dict[str, Any] = {"polygons": False, "preview": False, "device": "cpu", "stac": False}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("cache") / "engines"
    monkeypatch.setattr(cache, "cache_folder", lambda: folder)


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return Path(colours(tmp_path / "s.tif"))


def test_the_engine_is_given_with_the_result_and_finds_the_same_classes(
    tmp_path: Path, scene: Path, model: Model
) -> None:
    wanted = predict(scene, tmp_path / "torch", model=model, precision="fp32", **PLAIN)
    found = predict(scene, tmp_path / "onnx", model=model, engine="onnx", **PLAIN)
    assert (wanted.settings["engine"], found.settings["engine"]) == ("torch", "onnx")
    assert found.precision == "fp32"
    assert list(cache.cache_folder().iterdir())
    assert (class_values(found) != class_values(wanted)).mean() <= 1e-4
    with rasterio.open(found.paths["landcover"]) as raster:
        assert json.loads(raster.tags()["GEOSEG_SETTINGS"])["engine"] == "onnx"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "bf16"}, "precision bf16: ONNX Runtime computes in fp32"),
        ({"compile": True}, "leave out --compile"),
        ({"device": "mps"}, "engine onnx runs on the CPU"),
    ],
)
def test_what_does_not_go_with_the_engine_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path, scene: Path, model: Model
) -> None:
    with pytest.raises(GeosegError, match=message):
        predict(scene, tmp_path, model=model, engine="onnx", **PLAIN | settings)


@pytest.mark.parametrize("lacking", ["onnx", "onnxruntime"])
def test_a_missing_library_is_an_error_in_a_line(
    lacking: str, tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def fail(name: str, *rest: Any) -> Any:
        if name == lacking:
            raise ImportError(name)
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(GeosegError, match=r"install it with: pip install 'geoseg\[onnx\]'"):
        predict(scene, tmp_path, model=model, engine="onnx", **PLAIN)


def test_a_file_of_the_runtime_has_that_engine_and_no_other(tmp_path: Path, scene: Path) -> None:
    model = load_model(BACKENDS.get(".onnx").example(tmp_path))
    spec = model.spec.model_copy(update={"bands": ("red", "green", "blue")})
    assert len(model.spec.bands) == 3
    model = Model(spec, model.module)
    with pytest.raises(GeosegError, match=r"engine torch: .* is a file of ONNX Runtime: leave --engine out"):
        predict(scene, tmp_path / "out", model=model, engine="torch", **PLAIN)
    for engine in ("auto", "onnx"):
        found = predict(scene, tmp_path / engine, model=model, engine=engine, resolution="scene", **PLAIN)
        assert found.settings["engine"] == "onnx"


@pytest.mark.parametrize("later", ["auto", "onnx"])
def test_work_that_is_resumed_keeps_its_engine_to_the_same_bytes(
    later: str, tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(scene, tmp_path / "whole", model=model, engine="onnx", **PLAIN)
    with stopped_after(1, monkeypatch):
        predict(scene, tmp_path / "out", model=model, engine="onnx", **PLAIN)
    heard = Heard()
    settings = PLAIN | {"engine": later, "resume": True}
    found = predict(scene, tmp_path / "out", model=model, reporter=heard, **settings)
    assert any("going on with an unfinished run: 1 tile row" in line for line in heard.lines)
    assert found.settings["engine"] == "onnx"
    assert found.paths["landcover"].read_bytes() == whole.paths["landcover"].read_bytes()


def test_workers_in_other_processes_have_the_same_engine(tmp_path: Path, scene: Path, model: Model) -> None:
    alone = predict(scene, tmp_path / "one", model=model, engine="onnx", **PLAIN)
    shared = predict(scene, tmp_path / "two", model=model, engine="onnx", scheduler=Apart(), **PLAIN)
    np.testing.assert_array_equal(class_values(shared), class_values(alone))
    assert shared.settings["engine"] == "onnx"


def test_a_network_adapted_to_its_scene_is_exported_as_adapted(tmp_path: Path, scene: Path, model: Model) -> None:
    settings = PLAIN | {"adapt": "bn", "force": True}
    wanted = predict(scene, tmp_path / "torch", model=model, precision="fp32", engine="torch", **settings)
    found = predict(scene, tmp_path / "onnx", model=model, engine="onnx", **settings)
    plain = predict(scene, tmp_path / "plain", model=model, engine="onnx", **PLAIN)
    assert (class_values(found) != class_values(wanted)).mean() <= 1e-4
    assert (class_values(found) != class_values(plain)).any()
