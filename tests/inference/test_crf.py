"""A dense CRF in a prediction: after the windows are blended, whatever they are, whoever forwards them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.executors import Apart
from support.models import echo_model, save_bundle
from support.rasters import write_raster

from geoseg.commands.predict import predict
from geoseg.core.errors import OutputError, SpecError
from geoseg.geo.grid import Window
from geoseg.inference.crf import Crf
from geoseg.inference.mean_field import mean_field
from geoseg.models.model import Model
from geoseg.spec import ClassifySpec
from geoseg.spec.crf import CrfSpec

SETTINGS: dict[str, Any] = {
    "crf_iterations": 2, "crf_radius": 2, "crf_appearance": 60.0, "crf_smoothness": 20.0,
}  # fmt: skip
"""Strong weights: the logits of an echo model are far apart."""
QUICK: dict[str, Any] = {"polygons": False, "preview": False, "stac": False, "precision": "fp32", "overlap": 16}


def pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Two halves of values 0 and 1 with specks of the other, and a hole without data."""
    rng = np.random.default_rng(0)
    values = np.zeros((1, 230, 150), np.uint8)
    values[:, :, 75:] = 1
    values ^= rng.random(values.shape) < 0.05
    values[:, 60:140, 40:70] = 200
    return write_raster(tmp_path / "s.tif", values, nodata=200)


@pytest.fixture
def model() -> Model:
    return echo_model(2)


def run(scene: Path, folder: Path, model: Model | Path, **settings: Any) -> dict[str, np.ndarray]:
    folder.mkdir(exist_ok=True)
    wanted = {"scores": folder / "scores.tif", "confidence": folder / "confidence.tif"}
    result = predict(scene, folder, model=model, **{"tile": 64} | QUICK | wanted | settings)
    return {kind: pixels(result.paths[kind]) for kind in ("landcover", "scores", "confidence")}


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for kind, values in expected.items():
        np.testing.assert_array_equal(found[kind], values)


@dataclass
class Array:
    """A raster in memory."""

    values: np.ndarray
    valid: np.ndarray
    bands = (1, 2)
    has_wide_blocks = False

    @property
    def height(self) -> int:
        return self.valid.shape[0]

    @property
    def width(self) -> int:
        return self.valid.shape[1]

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        return self.values[:, *window.slices].copy(), self.valid[window.slices].copy()


@pytest.mark.parametrize("block_px", [32, 50, 512])
def test_blocks_have_the_logits_of_one_block_over_all_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, block_px: int
) -> None:
    monkeypatch.setattr("geoseg.inference.crf.BLOCK_PX", block_px)
    monkeypatch.setattr("geoseg.inference.crf._SLAB_PX", 6000)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 90, 130)).astype(np.float32)
    raster = Array(rng.normal(size=(2, 90, 130)).astype(np.float32), rng.random((90, 130)) > 0.1)
    spec = CrfSpec(crf=True, crf_iterations=3, crf_radius=3)
    crf, halo = Crf(spec, (1.0, 1.0), 1.0), spec.crf_halo
    found = np.zeros_like(logits)
    for block in crf.blocks(raster, lambda window: logits[:, *window.slices]):
        found[:, *block.window.slices] = block.logits
    around = ((halo, halo), (halo, halo))
    image = np.pad(raster.values * np.float32(1 / spec.crf_appearance_values), ((0, 0), *around))
    expected = mean_field(np.pad(logits, ((0, 0), *around)), image, np.pad(raster.valid, around), spec, 1.0)
    np.testing.assert_array_equal(found[:, raster.valid], expected[:, raster.valid])


def test_specks_go_and_what_is_known_of_classes_goes_with_them(tmp_path: Path, scene: Path, model: Model) -> None:
    plain = run(scene, tmp_path / "plain", model)
    found = run(scene, tmp_path / "crf", model, crf=True, **SETTINGS | {"crf_appearance": 0, "crf_smoothness": 100})
    assert (found["landcover"] == 255).sum() == (plain["landcover"] == 255).sum() > 0
    truth = np.repeat((np.arange(150) >= 75)[None], 230, axis=0)
    valid = found["landcover"][0] != 255
    before, after = ((values["landcover"][0] != truth)[valid].mean() for values in (plain, found))
    assert before > 0.04
    assert after < 0.005
    chosen = found["scores"].max(axis=0)[valid]
    np.testing.assert_allclose(found["confidence"][0][valid], np.round(100 * chosen), atol=1)
    np.testing.assert_array_equal(np.isnan(found["scores"][0]), ~valid)


@pytest.mark.parametrize("settings", [{"crf_iterations": 0}, {"crf_appearance": 0, "crf_smoothness": 0}])
def test_without_iterations_or_weights_nothing_changes(
    tmp_path: Path, scene: Path, model: Model, settings: dict[str, Any]
) -> None:
    assert_same(run(scene, tmp_path / "crf", model, crf=True, **settings), run(scene, tmp_path / "plain", model))


def test_windows_of_any_size_and_workers_find_the_same_pixels(tmp_path: Path, scene: Path) -> None:
    bundle, strong = save_bundle(tmp_path / "m.safetensors", classes=3), {"crf": True, "crf_smoothness": 50.0}
    expected = run(scene, tmp_path / "one", bundle, **strong)
    assert (expected["landcover"] != run(scene, tmp_path / "plain", bundle)["landcover"]).any()
    assert_same(run(scene, tmp_path / "two", bundle, **strong, scheduler=Apart()), expected)
    wide = run(scene, tmp_path / "wide", bundle, **strong, tile=128)
    np.testing.assert_array_equal(wide["landcover"], expected["landcover"])
    np.testing.assert_allclose(wide["scores"], expected["scores"], atol=1e-5)


class Stopped(Exception):
    pass


def test_a_run_that_was_stopped_in_the_crf_goes_on_to_the_same_pixels(
    tmp_path: Path, scene: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run(scene, tmp_path / "whole", model, crf=True, **SETTINGS)

    def stop(*_: object) -> None:
        raise Stopped

    monkeypatch.setattr("geoseg.inference.apply_crf.paint", stop)
    with pytest.raises(Stopped):
        run(scene, tmp_path / "resumed", model, crf=True, **SETTINGS)
    monkeypatch.undo()
    with pytest.raises(OutputError, match="settings that decide pixels"):
        run(scene, tmp_path / "resumed", model, crf=True, resume=True, **SETTINGS | {"crf_radius": 3})
    assert_same(run(scene, tmp_path / "resumed", model, crf=True, resume=True, **SETTINGS), expected)
    assert not list((tmp_path / "resumed").glob(".*"))


def test_a_setting_of_the_crf_without_it_is_refused(tmp_path: Path, scene: Path, model: Model) -> None:
    with pytest.raises(SpecError, match="crf_radius changes nothing without crf: set crf too"):
        run(scene, tmp_path, model, crf_radius=3)


def test_the_halo_is_as_wide_as_messages_travel() -> None:
    assert ClassifySpec(crf=True, crf_iterations=4, crf_radius=3).crf_halo == 12
    assert ClassifySpec().crf_halo == 0
