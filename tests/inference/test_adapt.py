"""`--adapt` adapts the network to a scene once, and predicts all of the scene with what was found."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from rasterio.transform import from_origin
from support.branches import FIELDS, SMALL
from support.imagery import imagery
from support.models import echo_model, make_spec, save_bundle
from support.rasters import write_raster
from support.reporters import Heard
from support.stopped import stopped_after
from torch import nn

from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.core.errors import GeosegError, ModelError, SpecError
from geoseg.core.events import SILENT
from geoseg.inference import adapted_job as adapted_job_module
from geoseg.inference.adaptations import ADAPTATIONS
from geoseg.inference.adapted import SIDE_PX, WindowSample
from geoseg.inference.adapted_job import adapt_job, adapted_job
from geoseg.inference.job import prepare
from geoseg.inference.work_folder import locked
from geoseg.models.model import Model
from geoseg.raster.notices_tag import NOTICES_TAG
from geoseg.raster.scene import Scene
from geoseg.spec import ClassifySpec, PredictSpec

QUICK: dict[str, Any] = {
    "polygons": False, "preview": False, "device": "cpu", "precision": "fp32", "tile": 128, "overlap": 16,
}  # fmt: skip
RGB = ("red", "green", "blue")
every = pytest.mark.parametrize("way", ADAPTATIONS.names)


class Small(nn.Module):
    """A network whose classes hang on the statistics of its normalisation."""

    def __init__(self, norm: Any = nn.BatchNorm2d):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), norm(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), norm(8), nn.ReLU()
        )
        self.head = nn.Conv2d(8, 4, 1)
        for layer in self.layers:
            layer.momentum = 1.0  # its statistics become those of the only batch
        with torch.no_grad():
            self(torch.from_numpy(imagery(px=256, seed=1))[None].float())
            self.head.weight.mul_(5)

    def forward(self, image: torch.Tensor, context: Any = None) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(image / 128 - 1))
        return logits


def model_of(norm: Any = nn.BatchNorm2d, **fields: Any) -> Model:
    return Model(make_spec(4, bands=RGB, **fields), Small(norm).eval())


def classes(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return imagery(px=256).clip(1, 255)


@pytest.fixture
def scene(tmp_path: Path, values: np.ndarray) -> Path:
    return write_raster(tmp_path / "scene.tif", (values // 2).clip(1))


def landcover(scene: Path, **settings: Any) -> Path:
    """The class raster of a scene."""
    model = settings.pop("model", None) or model_of()
    out = scene.parent / "out" / str(len(list(scene.parent.glob("out/*"))))
    return predict(scene, out, model=model, **QUICK | settings).paths["landcover"]


@every
def test_the_same_command_twice_gives_the_same_bytes_and_other_classes_than_without(scene: Path, way: str) -> None:
    one, two = (landcover(scene, adapt=way).read_bytes() for _ in range(2))
    assert one == two
    assert (classes(landcover(scene, adapt=way)) != classes(landcover(scene))).any()


@every
def test_share_0_gives_the_classes_and_scores_of_no_adaptation(scene: Path, way: str) -> None:
    def scores(**settings: Any) -> np.ndarray:
        path = scene.parent / "scores.tif"
        landcover(scene, scores=path, scores_type="float32", overwrite=True, **settings)
        with rasterio.open(path) as dataset:
            return dataset.read()

    np.testing.assert_array_equal(scores(adapt=way, adapt_share=0), scores())
    np.testing.assert_array_equal(classes(landcover(scene, adapt=way, adapt_share=0)), classes(landcover(scene)))


@every
def test_the_results_say_it(tmp_path: Path, scene: Path, way: str) -> None:
    heard = Heard()
    result = predict(scene, tmp_path / "o", model=model_of(), adapt=way, adapt_windows=7, reporter=heard, **QUICK)
    (line,) = [line for line in result.notices if f"of the scene that hold data (--adapt {way})" in line]
    assert ADAPTATIONS.get(way).describe(ADAPTATIONS.get(way).share) in line
    assert "at most 7 windows" in line
    assert heard.lines.count(line) == 1
    assert ("adapting", 7, 7) in heard.progressed
    with rasterio.open(result.paths["landcover"]) as dataset:
        assert line in json.loads(dataset.tags()[NOTICES_TAG])
    assert line in json.loads(result.paths["item"].read_text())["properties"]["geoseg:notices"]
    assert result.settings["adapt"] == way
    assert result.settings["adapt_share"] == ADAPTATIONS.get(way).share
    bundle = save_bundle(tmp_path / "m.safetensors", bands=RGB, network=SMALL)
    assert line in plan_prediction(scene, tmp_path, model=bundle, adapt=way, adapt_windows=7).notices


def test_each_setting_has_a_fingerprint_of_its_own(scene: Path) -> None:
    with Scene.open(scene) as opened:
        found = [
            prepare(opened, model_of(), PredictSpec().with_settings(device="cpu", **more), SILENT).fingerprint
            for more in ({}, {"adapt": "bn"}, {"adapt": "entropy"},
                         {"adapt": "bn", "adapt_share": 0.2}, {"adapt": "bn", "adapt_windows": 3})
        ]  # fmt: skip
    assert len(set(found)) == len(found)


@every
def test_pixels_without_data_do_not_count(tmp_path: Path, values: np.ndarray, way: str) -> None:
    """Whatever stands where there is no data, classes elsewhere are the same."""
    mask, found = np.full(values.shape[1:], 255, np.uint8), []
    mask[60:200, 40:230] = 0
    for number, value in enumerate((0, 250)):
        holed = values.copy()
        holed[:, mask == 0] = value
        found.append(classes(landcover(write_raster(tmp_path / f"{number}.tif", holed, mask=mask), adapt=way)))
    np.testing.assert_array_equal(*found)
    assert (found[0][mask == 0] == 255).all()


@every
def test_a_scene_without_any_data_and_a_tiny_one_are_classified(tmp_path: Path, values: np.ndarray, way: str) -> None:
    empty = write_raster(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    assert (classes(landcover(empty, adapt=way)) == 255).all()
    tiny = write_raster(tmp_path / "tiny.tif", values[:, :5, :3])
    heard = Heard()
    assert (classes(landcover(tiny, adapt=way, reporter=heard)) < 4).all()
    assert f"--adapt {way}: 15 px with data are little to adapt to" in heard.lines


@every
def test_a_scene_without_any_data_is_said_to_leave_the_network_as_it_is(tmp_path: Path, way: str) -> None:
    empty, heard = write_raster(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0), Heard()
    landcover(empty, adapt=way, reporter=heard)
    assert f"--adapt {way}: the scene has no pixel with data: the network stays as it is" in heard.lines
    (done,) = [line for line in heard.lines if line.startswith("the network is adapted")]
    assert done.startswith("the network is adapted to the pixels of the scene that hold data"), "which are none"


def traced() -> Model:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Model(make_spec(4, bands=RGB), torch.jit.trace(Small().eval(), torch.zeros(1, 3, 64, 64)))


@pytest.mark.parametrize(
    ("model", "settings", "error", "message"),
    [
        (lambda: model_of(lambda c: nn.GroupNorm(2, c)), {"adapt": "bn"}, ModelError, "take --adapt entropy"),
        (lambda: model_of(nn.Identity), {"adapt": "entropy"}, ModelError, "no normalisation layer"),
        (lambda: echo_model(4, bands=RGB), {"adapt": "bn"}, ModelError, "layers of model test cannot be reached"),
        (traced, {"adapt": "bn"}, ModelError, "layers of model test cannot be reached"),
        (lambda: model_of(tile=128, **FIELDS["context"]), {"adapt": "bn"}, SpecError, "pass --no-context, or leave"),
        (lambda: model_of(tile=128, **FIELDS["refine"]), {"adapt": "entropy"}, SpecError, "pass --no-context"),
        (model_of, {"adapt": "bm"}, SpecError, "there are bn, entropy"),
        (model_of, {"adapt_share": 0.5}, SpecError, "adapt_share changes nothing without adapt"),
    ],
)  # fmt: skip
def test_what_cannot_be_adapted_is_refused_in_a_line(
    tmp_path: Path,
    scene: Path,
    model: Callable[[], Model],
    settings: dict[str, Any],
    error: type[GeosegError],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as found:
        predict(scene, tmp_path / "out", model=model(), **QUICK | settings)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


def test_a_model_with_context_is_adapted_where_its_context_is_left_out(scene: Path) -> None:
    with_context = model_of(tile=128, **FIELDS["context"])
    found = classes(landcover(scene, model=with_context, adapt="bn", context=False))
    np.testing.assert_array_equal(found, classes(landcover(scene, adapt="bn")))


def test_values_are_matched_before_the_network_is_adapted(tmp_path: Path, values: np.ndarray, scene: Path) -> None:
    reference = write_raster(tmp_path / "reference.tif", values)
    both, plain = (classes(landcover(one, match=reference, adapt="bn")) for one in (scene, reference))
    assert (both == plain).mean() > 0.97


@every
def test_a_resumed_run_ends_in_the_same_bytes_and_adapts_once(
    tmp_path: Path, scene: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {"model": model_of(), "adapt": way} | QUICK
    whole = predict(scene, tmp_path / "whole", **settings).paths["landcover"].read_bytes()
    with stopped_after(1, monkeypatch):
        predict(scene, tmp_path / "out", **settings)
    for changed in ({"adapt": None}, {"adapt_share": 0.3}, {"adapt_windows": 2}):
        with pytest.raises(GeosegError, match="another scene, model or settings"):
            predict(scene, tmp_path / "out", resume=True, **settings | changed)
    monkeypatch.delattr(adapted_job_module, "adapt")  # it is in the work folder
    found = predict(scene, tmp_path / "out", resume=True, **settings)
    assert found.paths["landcover"].read_bytes() == whole
    assert any("are little to adapt to" in line for line in found.notices)


def test_workers_take_what_was_found_and_look_for_nothing(
    tmp_path: Path, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = PredictSpec().with_settings(tile=128, overlap=16, device="cpu", adapt="entropy")
    with Scene.open(scene) as opened, locked(tmp_path / "out.tif") as work:
        job = prepare(opened, model_of(), spec, SILENT)
        work.begin(job.manifest)
        with pytest.raises(GeosegError, match="was damaged while it was in use"):
            adapted_job(job, work)
        found = adapt_job(job, work, SILENT)
        monkeypatch.delattr(adapted_job_module, "adapt")
        again = adapted_job(prepare(opened, model_of(), spec, SILENT), work)
    for one, other in zip(*(made.runner.network.state_dict().values() for made in (found, again)), strict=True):
        assert torch.equal(one, other)


def test_several_processes_end_in_the_same_bytes(tmp_path: Path, scene: Path) -> None:
    bundle = save_bundle(tmp_path / "m.safetensors", bands=RGB, network=SMALL)
    one, two = (
        predict(scene, tmp_path / str(devices), model=bundle, adapt="bn", devices=devices, **QUICK)
        for devices in (None, "2")
    )
    assert one.paths["landcover"].read_bytes() == two.paths["landcover"].read_bytes()


def test_the_model_that_was_given_stays_as_it_is(scene: Path) -> None:
    model = model_of()
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    for way in ADAPTATIONS.names:
        landcover(scene, model=model, adapt=way)
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.module.parameters())


class Endless:
    """A raster of any size, with data in its upper left corner alone; remembers what is read."""

    def __init__(self, height: int, width: int, corner: int):
        self.height, self.width, self.corner, self.windows = height, width, corner, list[Any]()

    def read(self, window: Any) -> tuple[np.ndarray, np.ndarray]:
        self.windows.append(window)
        rows, cols = np.ogrid[window.row : window.row + window.height, window.col : window.col + window.width]
        valid = (rows < self.corner) & (cols < self.corner)
        return np.ones((3, window.height, window.width), np.uint8), valid


def test_of_a_large_scene_spread_windows_with_data_are_read_one_by_one() -> None:
    model, spec = make_spec(4, bands=RGB, tile=1024), ClassifySpec(adapt="bn", adapt_windows=40)
    raster = Endless(40_000, 30_000, 20_000)
    sample = WindowSample.over([raster], model, spec)
    assert sample.side <= SIDE_PX
    assert sample.count == 40
    first = next(sample.read())
    assert len(raster.windows) < 20
    assert first[1].any()
    raster.windows.clear()
    assert len(list(sample.read())) == 40
    within = [window for window in raster.windows if window.row < 20_000 and window.col < 20_000]
    assert len(within) == 40
    for at in ("row", "col"):
        places = [getattr(window, at) for window in within]
        assert min(places) < 4000 < 16_000 < max(places)


def test_windows_of_several_rasters_are_seen_each_once() -> None:
    rasters = [Endless(700, 300, 10_000), Endless(100, 900, 10_000), Endless(50, 40, 10_000)]
    sample = WindowSample.over(rasters, make_spec(4, bands=RGB), ClassifySpec(adapt="bn"))
    assert len(list(sample.read())) == sum(map(len, sample.grids)) == sum(len(one.windows) for one in rasters)
    assert all(len(set(one.windows)) == len(one.windows) for one in rasters)


def test_evaluate_adapts_to_all_rasters_together(tmp_path: Path, values: np.ndarray) -> None:
    scenes = []
    for number, part in enumerate((values[:, :128], values[:, 128:])):
        place = {"transform": from_origin(300_000 + 10_000 * number, 4_300_000, 0.6, 0.6)}
        write_raster(tmp_path / f"{number}.tif", part, **place)
        write_raster(tmp_path / f"{number}_labels.tif", part[1] // 64, **place)
        scenes.append({"image": f"{number}.tif", "label": f"{number}_labels.tif", "split": "val"})
    model = model_of()
    config = {
        "name": "test",
        "data": {"scenes": scenes, "bands": list(RGB)},
        "classes": [one.model_dump() for one in model.spec.classes],
        "network": {"architecture": "pointwise"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    plain, adapted, none = (
        evaluate_model(model, tmp_path / "c.yaml", device="cpu", **more)
        for more in ({}, {"adapt": "bn"}, {"adapt": "bn", "adapt_share": 0.0})
    )
    assert any("(--adapt bn)" in line and "2 rasters count as one scene" in line for line in adapted.notices)
    assert not any("adapt" in line for line in plain.notices)
    assert adapted.scores.as_dict() != plain.scores.as_dict() == none.scores.as_dict()
