"""`--match` brings the values of a scene to those of a reference, once for all windows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from support.imagery import imagery
from support.models import make_spec, save_bundle
from support.rasters import write_raster
from support.reporters import Heard
from support.stopped import stopped_after

from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.commands.scene_tasks import PredictArguments
from geoseg.core.errors import GeosegError, SceneError, SpecError
from geoseg.core.events import SILENT
from geoseg.inference import job as job_module
from geoseg.inference.job import prepare
from geoseg.inference.shards import Workers, make_shards
from geoseg.inference.work_folder import locked
from geoseg.models.model import Model
from geoseg.raster.curves import Curves
from geoseg.raster.distributions import distributions_of
from geoseg.raster.imagery import values_of
from geoseg.raster.notices_tag import NOTICES_TAG
from geoseg.raster.scene import Scene
from geoseg.spec import ImagerySpec, PredictSpec, ScalingSpec

QUICK: dict[str, Any] = {
    "polygons": False,
    "preview": False,
    "device": "cpu",
    "precision": "fp32",
    "tile": 128,
    "overlap": 16,
}
RGB = ("red", "green", "blue")
STEP = 32
"""Width of the range of values that is a class."""
WAYS = pytest.mark.parametrize("way", ["histogram", "moments"])


class Steps(torch.nn.Module):
    """Class = green in steps of 32."""

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        index = (image[:, 1] + 1e-3).long().clamp(0, 255) // STEP
        return 40 * torch.nn.functional.one_hot(index, 8).permute(0, 3, 1, 2).float()


def model_of(**fields: Any) -> Model:
    return Model(make_spec(8, bands=RGB, **fields), Steps().eval())


def classes(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return imagery(px=256).clip(1, 255)


@pytest.fixture
def reference(tmp_path: Path, values: np.ndarray) -> Path:
    return write_raster(tmp_path / "reference.tif", values)


def predicted(scene: Path, **settings: Any) -> np.ndarray:
    """Classes of a scene."""
    model = settings.pop("model", None) or model_of()
    out = scene.parent / "out" / str(len(list(scene.parent.glob("out/*"))))
    return classes(predict(scene, out, model=model, **QUICK | settings).paths["landcover"])


@WAYS
def test_a_scene_that_is_its_own_reference_keeps_every_class(reference: Path, way: str) -> None:
    np.testing.assert_array_equal(
        predicted(reference, match=reference, match_by=way), predicted(reference, rescale=None)
    )


@pytest.mark.parametrize(
    ("way", "shifted"),
    [
        ("histogram", lambda v: (v * 0.6 + 40).round().astype(np.uint8)),
        ("histogram", lambda v: ((v / 255) ** 1.8 * 60_000).astype(np.uint16)),
        ("histogram", lambda v: ((v / 255) ** 0.5).astype(np.float32)),
        ("moments", lambda v: (v * 0.6 + 40).round().astype(np.uint8)),
        ("moments", lambda v: (v * 25.0 + 700).astype(np.uint16)),
        ("moments", lambda v: (v / 255).astype(np.float32)),
    ],
)
def test_gain_offset_and_gamma_are_undone_in_any_type(
    tmp_path: Path, values: np.ndarray, reference: Path, way: str, shifted: Any
) -> None:
    scene = write_raster(tmp_path / "scene.tif", shifted(values.astype(float)))
    found = predicted(scene, match=reference, match_by=way)
    assert (found == values[1] // STEP).mean() > 0.98


def test_a_colour_cast_is_removed_band_by_band_in_the_models_order(
    tmp_path: Path, values: np.ndarray, reference: Path
) -> None:
    cast = (values * np.array([0.9, 0.5, 0.7])[:, None, None]).round().astype(np.uint8)
    scene = write_raster(tmp_path / "bgr.tif", cast[::-1], descriptions=("blue", "green", "red"))
    assert (predicted(scene, match=reference) == values[1] // STEP).mean() > 0.9
    turned = write_raster(tmp_path / "turned.tif", values[[1, 2, 0]], descriptions=("green", "blue", "red"))
    assert (predicted(scene, match=turned) == values[1] // STEP).mean() > 0.9


def test_bands_by_number_hold_for_a_reference_with_as_many(tmp_path: Path, values: np.ndarray) -> None:
    scene = write_raster(tmp_path / "scene.tif", (values[::-1] // 2).astype(np.uint8))
    alike = write_raster(tmp_path / "alike.tif", values[::-1])
    assert (predicted(scene, match=alike, bands=(3, 2, 1)) == values[1] // STEP).mean() > 0.9


@WAYS
def test_pixels_without_data_count_in_neither_and_stay_without(
    tmp_path: Path, values: np.ndarray, reference: Path, way: str
) -> None:
    holed, mask = values // 2, np.full(values.shape[1:], 255, np.uint8)
    holed[:, 50:120, 30:200], mask[50:120, 30:200] = 255, 0
    other = values.copy()
    other[:, mask == 0] = 0
    masked = write_raster(tmp_path / "masked.tif", holed, mask=mask)
    own = write_raster(tmp_path / "own.tif", other, nodata=0)
    found = predicted(masked, match=own, match_by=way)
    assert (found[mask == 0] == 255).all()
    assert (found == values[1] // STEP)[mask > 0].mean() > 0.9


def test_fill_that_no_tag_declares_does_not_count(tmp_path: Path, values: np.ndarray, reference: Path) -> None:
    framed = (values // 2).clip(1, 255)
    framed[:, :, :80] = 0
    scene = write_raster(tmp_path / "framed.tif", framed)
    found = predicted(scene, match=reference, nodata="auto")
    assert (found[:, :80] == 255).all()
    assert (found == values[1] // STEP)[:, 80:].mean() > 0.8


def test_a_scene_without_any_data_is_classified_as_nothing(tmp_path: Path, reference: Path) -> None:
    scene = write_raster(tmp_path / "empty.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    assert (predicted(scene, match=reference) == 255).all()


def test_the_results_say_it(tmp_path: Path, values: np.ndarray, reference: Path) -> None:
    scene, heard = write_raster(tmp_path / "dark.tif", values // 2), Heard()
    result = predict(scene, tmp_path / "out", model=model_of(), match=reference, reporter=heard, **QUICK)
    (line,) = [line for line in result.notices if "are brought to those of reference.tif" in line]
    assert "mean and spread: mean red" in line
    assert line in heard.lines
    with rasterio.open(result.paths["landcover"]) as dataset:
        assert line in json.loads(dataset.tags()[NOTICES_TAG])
    assert line in json.loads(result.paths["item"].read_text())["properties"]["geoseg:notices"]
    assert result.settings["match"] == str(reference)
    assert result.settings["rescale"] is None
    plan = plan_prediction(scene, tmp_path, model=save_bundle(tmp_path / "m.safetensors", bands=RGB), match=reference)
    assert line in plan.notices


def test_off_it_leaves_settings_and_fingerprint_as_they_were(reference: Path) -> None:
    with Scene.open(reference) as scene:
        spec = PredictSpec().with_settings(device="cpu")
        one, other = (
            prepare(scene, model_of(), spec.with_settings(**more), SILENT) for more in ({}, {"match_by": "moments"})
        )
    assert one.fingerprint == other.fingerprint
    assert one.bands.change is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rescale": (0, 200)}, "rescale LOW,HIGH and match both"),
        ({"match_by": "histogramm"}, "did you mean 'histogram'"),
        ({"match": "none.tif"}, "--match: no scene at"),
        ({"match": "one.tif"}, "--match one.tif: it has 1 band .* the model takes red, green, blue: give"),
        ({"match": "wide.tif"}, "--match wide.tif: its values are uint16, the model takes uint8: give"),
        ({"match": "flat.tif"}, "--match flat.tif: red has no two different values: give"),
        ({"match": "empty.tif"}, "--match empty.tif: red has no two different values: give"),
    ],
)
def test_what_cannot_be_a_reference_is_refused_in_a_line(
    tmp_path: Path, values: np.ndarray, reference: Path, settings: dict[str, Any], message: str
) -> None:
    write_raster(tmp_path / "one.tif", values[0])
    write_raster(tmp_path / "wide.tif", values.astype(np.uint16))
    write_raster(tmp_path / "flat.tif", np.full_like(values, 9))
    write_raster(tmp_path / "empty.tif", np.zeros_like(values), nodata=0)
    given = {"match": reference} | settings
    if isinstance(given["match"], str):
        given["match"] = tmp_path / given["match"]
    with pytest.raises((SpecError, SceneError), match=message) as found:
        predict(reference, tmp_path / "out", model=model_of(), **QUICK | given)
    assert "\n" not in str(found.value)


def test_values_of_the_reference_are_converted_to_the_models_quantity(tmp_path: Path, values: np.ndarray) -> None:
    scaled = write_raster(tmp_path / "r.tif", values, scales=(2.0,) * 3, offsets=(0.0,) * 3)
    scene = write_raster(tmp_path / "s.tif", (values // 3).astype(np.uint8))
    unit = ScalingSpec(scale=(1.0,) * 3, offset=(0.0,) * 3)
    found = predicted(scene, match=scaled, model=model_of(scaling=unit))
    assert (found == (2 * values[1].astype(int)).clip(0, 255) // STEP).mean() > 0.85


def described(values: np.ndarray) -> ImagerySpec:
    """The values of an image as a bundle holds those of its training imagery."""
    (found,) = [distributions_of([(values, np.ones(values.shape[1:], bool))], 3, "uint8")]
    return ImagerySpec(values=tuple(map(values_of, found)))


@WAYS
def test_the_training_imagery_of_the_bundle_is_a_reference_like_any_other(
    tmp_path: Path, values: np.ndarray, reference: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training").mkdir()  # the word is no path
    scene = write_raster(tmp_path / "dark.tif", (values * 0.6).round().astype(np.uint8))
    model = model_of(imagery=described(values))
    by_bundle, by_file = (predicted(scene, match=given, match_by=way, model=model) for given in ("training", reference))
    assert (by_bundle == by_file).mean() > 0.97
    assert PredictArguments(None, {"match": "training"}).anywhere().options["match"] == "training"


def test_a_bundle_without_its_imagery_is_no_reference(reference: Path, values: np.ndarray) -> None:
    with pytest.raises(SpecError, match=r"--match training: the bundle of test holds no values .*: give a raster"):
        predicted(reference, match="training")
    flat = model_of(imagery=described(np.full_like(values, 9)))
    with pytest.raises(SpecError, match="--match training: red has one value in all of it: give"):
        predicted(reference, match="training", model=flat)


@WAYS
def test_a_resumed_run_ends_in_the_same_bytes(
    tmp_path: Path, values: np.ndarray, reference: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_raster(tmp_path / "dark.tif", values // 2)
    settings: dict[str, Any] = {"model": model_of(), "match": reference, "match_by": way} | QUICK
    whole = predict(scene, tmp_path / "whole", **settings).paths["landcover"].read_bytes()
    with stopped_after(1, monkeypatch):
        predict(scene, tmp_path / "out", **settings)
    other = write_raster(tmp_path / "other.tif", values // 3)
    for changed in ({"match": other}, {"match": None, "match_by": "moments"}):
        with pytest.raises(GeosegError, match="another scene, model or settings"):
            predict(scene, tmp_path / "out", resume=True, **settings | changed)
    found = predict(scene, tmp_path / "out", resume=True, **settings)
    assert found.paths["landcover"].read_bytes() == whole


def test_workers_get_the_curves_and_read_no_reference(
    tmp_path: Path, values: np.ndarray, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = save_bundle(tmp_path / "m.safetensors", bands=RGB)
    spec = PredictSpec().with_settings(tile=128, overlap=16, device="cpu", match=reference)
    scene = write_raster(tmp_path / "dark.tif", values // 2)
    with Scene.open(scene) as opened, locked(tmp_path / "out.tif") as work:
        job = prepare(opened, bundle, spec, SILENT)
        work.begin(job.manifest)
        (shard, *_) = make_shards(job, work, Workers(bundle, spec), 2)
        assert isinstance(shard.change, Curves)
        monkeypatch.delattr(job_module, "open_reference")
        assert prepare(opened, bundle, shard.spec, SILENT, change=shard.change).fingerprint == job.fingerprint


def test_several_processes_end_in_the_same_bytes(tmp_path: Path, values: np.ndarray, reference: Path) -> None:
    scene = write_raster(tmp_path / "dark.tif", values // 2)
    bundle = save_bundle(tmp_path / "m.safetensors", bands=RGB)
    one, two = (
        predict(scene, tmp_path / str(devices), model=bundle, match=reference, devices=devices, **QUICK)
        for devices in (None, "2")
    )
    assert one.paths["landcover"].read_bytes() == two.paths["landcover"].read_bytes()


def test_workers_elsewhere_get_a_path_that_does_not_depend_on_the_folder(
    reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reference.parent)
    for given, wanted in (("reference.tif", str(reference)), ("/vsicurl/http://x/y.tif", "/vsicurl/http://x/y.tif")):
        assert PredictArguments(None, {"match": given}).anywhere().options["match"] == wanted


def test_evaluate_matches_each_raster_as_predict_does(tmp_path: Path, values: np.ndarray, reference: Path) -> None:
    write_raster(tmp_path / "town.tif", values // 2)
    write_raster(tmp_path / "town_labels.tif", values[1] // STEP)
    model = model_of()
    config = {
        "name": "test",
        "data": {"scenes": [{"image": "town.tif", "label": "town_labels.tif", "split": "val"}], "bands": list(RGB)},
        "classes": [one.model_dump() for one in model.spec.classes],
        "network": {"architecture": "pointwise"},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    matched, plain = (
        evaluate_model(model, tmp_path / "c.yaml", device="cpu", rescale="auto", **more)
        for more in ({"match": reference}, {})
    )
    assert any("brought to those of reference.tif" in line for line in matched.notices)
    assert matched.scores.pixel_accuracy > 0.9 > plain.scores.pixel_accuracy
    with pytest.raises(SpecError, match="rescale"):
        evaluate_model(model, tmp_path / "c.yaml", device="cpu", rescale=(0, 200), match=reference)
