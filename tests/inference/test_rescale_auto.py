"""`--rescale auto` brings a scene that is too dark or too bright to the model's brightness, once for all windows."""

import json
import re
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

from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.info import describe_scene
from geoseg.commands.plan import plan_prediction
from geoseg.commands.predict import predict
from geoseg.core.errors import ModelError, SpecError
from geoseg.core.events import SILENT
from geoseg.inference.job import prepare
from geoseg.inference.shards import Workers, make_shards
from geoseg.inference.work_folder import locked
from geoseg.models.model import Model
from geoseg.raster.brightness import learn_brightness, sample_squares
from geoseg.raster.imagery import describe_bands, learn_spread
from geoseg.raster.notices_tag import NOTICES_TAG
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.spec import BrightnessSpec, ImagerySpec, NormalizationSpec, PredictSpec, ScalingSpec

QUICK: dict[str, Any] = {"polygons": False, "preview": False, "device": "cpu", "precision": "fp32"}
RGB = ("red", "green", "blue")
STEP = 32
"""Width of the range of red that is a class."""


class Steps(torch.nn.Module):
    """Class = red in steps of 32."""

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        return 40 * torch.nn.functional.one_hot((image[:, 0] / STEP).long(), 8).permute(0, 3, 1, 2).float()


def model_of(**fields: Any) -> Model:
    return Model(make_spec(8, bands=RGB, **fields), Steps().eval())


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> BrightnessSpec:
    folder, places = tmp_path_factory.mktemp("known"), []
    for seed in range(1, 20):
        with Scene.open(write_raster(folder / f"{seed}.tif", imagery(px=256, seed=seed))) as scene:
            places.append(sample_squares(SceneBands.select(scene, [1, 2, 3])))
    found = learn_brightness(places, "uint8")
    assert found is not None
    return found


@pytest.fixture
def model(known) -> Model:
    return model_of(brightness=known)


@pytest.fixture
def dark(tmp_path) -> Path:
    return write_raster(tmp_path / "dark.tif", imagery(px=256, factor=0.6))


@pytest.fixture(scope="module")
def looks() -> ImagerySpec:
    """What the imagery of `known` looks like."""
    images = [imagery(px=256, seed=seed) for seed in range(1, 20)]
    vectors = np.array([describe_bands(image, np.ones(image.shape[1:], bool)) for image in images])
    bands = learn_spread(vectors, np.arange(len(images)))
    return ImagerySpec(values=((0.0, 255.0),) * 3, bands=bands)


def write_config(folder: Path, model: Model) -> Path:
    """A training config of town.tif and its labels."""
    config = {
        "name": "test",
        "data": {
            "scenes": [{"image": "town.tif", "label": "town_labels.tif", "split": "val"}],
            "bands": list(RGB),
        },
        "classes": [one.model_dump() for one in model.spec.classes],
        "network": {"architecture": "pointwise"},
    }
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def classes(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.3])
def test_a_scene_that_was_exposed_otherwise_is_rescaled_by_a_model_that_knows_its_imagery(
    tmp_path, known, looks, factor
):
    scene = write_raster(tmp_path / "scene.tif", imagery(px=256, seed=30, factor=factor))
    result = predict(scene, tmp_path / "out", model=model_of(brightness=known, imagery=looks), **QUICK)
    assert result.settings["rescale"] == [0, pytest.approx(factor * 255, rel=0.1)]


def test_a_scene_under_haze_is_left_as_it_is_and_the_results_say_so(tmp_path, known, looks):
    hazy = np.rint(0.5 * imagery(px=256, seed=30) + 70).astype(np.uint8)
    scene = write_raster(tmp_path / "scene.tif", hazy)
    seen = known.model_copy(update={"reach": 2.0, "scatter": 5.0})  # takes all colours for those that it knows
    without = predict(scene, tmp_path / "without", model=model_of(brightness=seen), **QUICK)
    assert without.settings["rescale"] is not None  # by brightness alone
    result = predict(scene, tmp_path / "out", model=model_of(brightness=seen, imagery=looks), **QUICK)
    assert result.settings["rescale"] is None
    (line,) = [line for line in result.notices if "as under haze" in line]
    assert "--match training" in line
    as_is = predict(scene, tmp_path / "as-is", model=model_of(imagery=looks), rescale=None, **QUICK)
    np.testing.assert_array_equal(classes(result.paths["landcover"]), classes(as_is.paths["landcover"]))
    assert not any("--rescale auto brings it" in notice or "dark imagery" in notice for notice in result.notices)


def test_a_dark_scene_is_brightened_and_the_results_say_so(tmp_path, dark, model):
    heard = Heard()
    result = predict(dark, tmp_path / "out", model=model, reporter=heard, **QUICK)
    low, high = result.settings["rescale"]
    assert (low, high) == (0, pytest.approx(0.6 * 255, rel=0.1))
    (line,) = [line for line in result.notices if "times as bright as the model's training imagery" in line]
    assert f"--rescale 0,{high:g}" in line
    assert line in heard.lines
    assert not any("dark imagery" in notice for notice in result.notices)
    with rasterio.open(result.paths["landcover"]) as dataset:
        assert line in json.loads(dataset.tags()[NOTICES_TAG])
    assert line in result.paths["item"].read_text()
    found = classes(result.paths["landcover"])
    given = predict(dark, tmp_path / "given", model=model, rescale=(low, high), **QUICK)
    np.testing.assert_array_equal(found, classes(given.paths["landcover"]))
    assert (found == imagery(px=256)[0] // STEP).mean() > 0.8


@pytest.mark.parametrize("rescale", ["none", None])
def test_none_leaves_values_as_they_are(tmp_path, dark, model, rescale):
    result = predict(dark, tmp_path / "out", model=model, rescale=rescale, **QUICK)
    assert result.settings["rescale"] is None
    np.testing.assert_array_equal(classes(result.paths["landcover"]), imagery(px=256, factor=0.6)[0] // STEP)


def test_a_scene_like_the_training_imagery_and_a_model_that_knows_none_change_nothing(tmp_path, dark, model):
    usual = write_raster(tmp_path / "usual.tif", imagery(px=256))
    for scene, one in ((usual, model), (dark, model_of())):
        result = predict(scene, tmp_path / "out", model=one, overwrite=True, **QUICK)
        assert result.settings["rescale"] is None
        assert not any("as bright as" in line for line in result.notices)


def test_values_that_are_converted_to_a_quantity_stay_as_they_are(tmp_path, known):
    scene = write_raster(tmp_path / "s.tif", imagery(px=256, factor=0.6))
    with rasterio.open(scene, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)
    scaling = ScalingSpec(scale=(1.0, 1.0, 1.0), offset=(0.0, 0.0, 0.0))
    model = model_of(brightness=known, scaling=scaling)
    assert predict(scene, tmp_path / "out", model=model, **QUICK).settings["rescale"] is None


def test_workers_get_the_figures_and_work_on_the_same_pixels(tmp_path, dark, known):
    bundle = save_bundle(tmp_path / "m.safetensors", bands=RGB, brightness=known)
    spec = PredictSpec().with_settings(tile=128, overlap=16, device="cpu")
    with Scene.open(dark) as scene, locked(tmp_path / "out.tif") as work:
        job = prepare(scene, bundle, spec, SILENT)
        work.begin(job.manifest)
        shards = make_shards(job, work, Workers(bundle, spec), 2)
        assert {shard.spec.classify.rescale for shard in shards} == {job.resolved.rescale}
        assert job.resolved.rescale not in (None, "auto")
        assert prepare(scene, bundle, shards[0].spec, SILENT).fingerprint == job.fingerprint


def test_a_resumed_run_takes_the_same_figures_given_or_not(tmp_path, dark, known):
    bundle = save_bundle(tmp_path / "m.safetensors", bands=RGB, brightness=known)
    first = predict(dark, tmp_path, model=bundle, **QUICK)
    for rescale in ("auto", first.settings["rescale"]):
        assert predict(dark, tmp_path, model=bundle, resume=True, rescale=rescale, **QUICK).forwarded_px == 0


def test_plan_and_info_say_it_beforehand(tmp_path, dark, known):
    bundle = save_bundle(tmp_path / "m.safetensors", bands=RGB, brightness=known)
    assert any("as bright as" in line for line in plan_prediction(dark, tmp_path, model=bundle).notices)
    assert any("as bright as" in line for line in describe_scene(str(dark), bundle)["fits"]["notices"])


def test_evaluate_brightens_each_raster_as_predict_does(tmp_path, model):
    write_raster(tmp_path / "town.tif", imagery(px=256, factor=0.6))
    write_raster(tmp_path / "town_labels.tif", imagery(px=256)[0] // STEP)
    config = write_config(tmp_path, model)
    brightened, plain = (evaluate_model(model, config, rescale=how, device="cpu") for how in ("auto", None))
    assert any("1 raster" in line and "as bright as" in line for line in brightened.notices)
    assert not any("as bright as" in line for line in plain.notices)
    assert brightened.scores.pixel_accuracy > 2 * plain.scores.pixel_accuracy


def test_evaluate_leaves_rasters_under_haze_as_predict_does_and_says_so(tmp_path, known, looks):
    hazy = np.rint(0.5 * imagery(px=256, seed=30) + 70).astype(np.uint8)
    write_raster(tmp_path / "town.tif", hazy)
    write_raster(tmp_path / "town_labels.tif", imagery(px=256)[0] // STEP)
    seen = known.model_copy(update={"reach": 2.0, "scatter": 5.0})
    model = model_of(brightness=seen, imagery=looks)
    config = write_config(tmp_path, model)
    left, plain = (evaluate_model(model, config, rescale=how, device="cpu") for how in ("auto", None))
    assert any("1 raster" in line and "left as they are" in line for line in left.notices)
    assert left.scores.pixel_accuracy == plain.scores.pixel_accuracy


def test_a_misspelt_rescale_is_refused(tmp_path, dark, model):
    with pytest.raises(SpecError, match="rescale"):
        predict(dark, tmp_path, model=model, rescale="aut", **QUICK)


def test_sixteen_bits_are_offered_the_range_that_makes_them_as_bright_as_the_training_imagery(tmp_path, known):
    values = imagery(px=256)
    statistics = NormalizationSpec(mean=tuple(values.mean(axis=(1, 2))), std=tuple(values.std(axis=(1, 2))))
    scene = write_raster(tmp_path / "wide.tif", values.astype(np.uint16) * 40)
    with pytest.raises(ModelError, match=r"--rescale 0,\d+ ") as found:
        predict(scene, tmp_path / "out", model=model_of(brightness=known, normalization=statistics), **QUICK)
    offered = re.search(r"--rescale 0,(\d+)", str(found.value))
    assert offered is not None
    assert float(offered[1]) == pytest.approx(255 * 40, rel=0.12)
