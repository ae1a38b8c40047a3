"""A model is kept from scenes that it does not know, and what differs is said; others pass, whatever is in them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from support.models import echo_model, make_spec
from support.rasters import write_raster

from geoseg.commands.predict import predict
from geoseg.commands.predict_many import predict_many
from geoseg.core.errors import ModelError
from geoseg.inference.fit import fitting_resolution, misfit_lines, resolution_misfit, statistics_misfit, values_misfit
from geoseg.models.header import read_spec
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands
from geoseg.spec import ModelCard, ModelSpec, NormalizationSpec, PredictSpec

QUICK: dict[str, Any] = {"polygons": False, "preview": False, "stac": False, "device": "cpu"}
RGB = ("red", "green", "blue")


def model_of(resolution_m: float | None = 0.6) -> ModelSpec:
    return make_spec(resolution_m=resolution_m)


def imagery(mean: float, std: float, seed: int = 0) -> np.ndarray:
    """Three bands of 8 bits with a texture, as woods or fields have."""
    values = np.random.default_rng(seed).normal(mean, std, (3, 300, 300))
    return np.clip(values, 1, 254).astype(np.uint8)


def misfit_of(path: Path, model: ModelSpec, **settings: Any) -> Any:
    with Scene.open(path) as scene:
        return values_misfit(SceneBands.select(scene, [1, 2, 3], **settings), model)


NORMAL = NormalizationSpec(mean=(130.0, 140.0, 110.0), std=(40.0, 35.0, 30.0))


@pytest.mark.parametrize(
    ("own", "wanted", "chosen"),
    [
        (0.6, "auto", "scene"), (0.9, "auto", "scene"), (0.4, "auto", "scene"), (None, "auto", "scene"),
        (0.95, "auto", "model"), (2.4, "auto", "model"), (0.1, "auto", "model"), (10.0, "auto", "scene"),
        (0.1, "scene", "scene"), (0.6, 2.0, 2.0),
    ],
)  # fmt: skip
def test_auto_is_the_models_resolution_where_the_scenes_is_another(own, wanted, chosen):
    assert fitting_resolution(own, model_of(), wanted) == chosen


@pytest.mark.parametrize(
    ("own", "wanted", "words"),
    [
        (0.6, "auto", None), (0.9, "auto", None), (0.2, "model", "averaged to 0.6 m"), (0.2, 0.6, "averaged"),
        (0.2, "auto", "averaged to 0.6 m for it; --resolution scene keeps"), (0.2, "scene", "pass --resolution model"),
        (2.0, "auto", "adds no detail"), (2.0, "scene", "pass --resolution model"), (None, "auto", None),
    ],
)  # fmt: skip
def test_a_mismatch_of_resolution_is_said(own, wanted, words):
    misfit = resolution_misfit(own, model_of(), wanted)
    assert (misfit is None) if words is None else (words in misfit.line and not misfit.is_far)


@pytest.mark.parametrize(
    ("own", "wanted"), [(10.0, "auto"), (10.0, "model"), (10.0, 2.0), (10.0, 0.6), (0.1, "scene"), (0.6, 3.0)]
)
def test_beyond_a_factor_of_four_a_scene_is_refused_unless_forced(own, wanted):
    misfit = resolution_misfit(own, model_of(), wanted)
    assert misfit.is_far
    with pytest.raises(ModelError, match=r"^[^\n]*--force[^\n]*$"):
        misfit_lines([None, misfit], is_forced=False)
    assert misfit_lines([None, misfit], is_forced=True) == [misfit.line]


def test_a_finer_scene_is_never_too_fine_for_auto():
    """Averaged, it is what the model was trained on, so that nothing is wrong with it."""
    misfit = resolution_misfit(0.02, model_of(), "auto")
    assert not misfit.is_far


@pytest.mark.parametrize("wanted", ["scene", "native"])
def test_native_is_another_word_for_the_scenes_own(wanted):
    assert PredictSpec(resolution=wanted).classify.resolution == "scene"


# ------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("mean", "std"),
    [(130, 40), (75, 25), (180, 10), (60, 45)],
)
def test_scenes_of_one_kind_of_land_pass_without_a_word(tmp_path, mean, std):
    path = write_raster(tmp_path / "s.tif", imagery(mean, std))
    model = make_spec(bands=RGB, normalization=NORMAL)
    misfit = misfit_of(path, model)
    assert misfit is None or not misfit.is_far
    if mean >= 100:
        assert misfit is None


def test_dark_imagery_gets_the_rescale_that_restores_it(tmp_path):
    """Halved values get a range of about half of the type's; with it, nothing is said."""
    path = write_raster(tmp_path / "s.tif", imagery(130, 40) // 2)
    model = make_spec(bands=RGB, normalization=NORMAL)
    misfit = misfit_of(path, model)
    assert not misfit.is_far
    low, high = (float(part) for part in misfit.line.partition("--rescale ")[2].split(","))
    assert low == 0
    assert high == pytest.approx(128, rel=0.15)
    assert misfit_of(path, model, rescale=(low, high)) is None


@pytest.mark.parametrize(("pixels", "is_said"), [(440, False), (2_000_000, True), ("many", True)])
def test_statistics_of_few_labelled_pixels_call_no_imagery_dark(tmp_path, pixels, is_said):
    path = write_raster(tmp_path / "s.tif", imagery(130, 40) // 2)
    card = ModelCard(training={"train_pixels": pixels})
    misfit = misfit_of(path, make_spec(bands=RGB, normalization=NORMAL, card=card))
    assert (misfit is not None) == is_said


@pytest.mark.parametrize(("dtype", "factor"), [("uint16", 1 / 40), ("uint16", 40.0)])
def test_values_in_another_unit_are_refused(tmp_path, dtype, factor):
    known = NormalizationSpec(mean=(1300.0,) * 3, std=(400.0,) * 3)
    values = (imagery(130, 40) * 10.0 * factor).astype(dtype)
    misfit = misfit_of(write_raster(tmp_path / "s.tif", values), make_spec(bands=RGB, dtype=dtype, normalization=known))
    assert misfit.is_far
    assert "--rescale" in misfit.line


@pytest.mark.parametrize("content", ["empty", "constant", "nodata"])
def test_scenes_without_values_are_not_compared(tmp_path, content):
    values = np.full((3, 300, 300), 0 if content == "empty" else 7, np.uint8)
    path = write_raster(tmp_path / "s.tif", values, **({"nodata": 7} if content == "nodata" else {}))
    assert misfit_of(path, make_spec(bands=RGB, normalization=NORMAL)) is None


def test_fill_without_a_tag_does_not_count_as_darkness(tmp_path):
    values = imagery(130, 40)
    values[:, :, 60:] = 0
    assert misfit_of(write_raster(tmp_path / "s.tif", values), make_spec(bands=RGB, normalization=NORMAL)) is None


def test_a_bundle_without_statistics_gets_no_check_and_says_so(tmp_path):
    path = write_raster(tmp_path / "s.tif", imagery(130, 40))
    began = ModelCard(training={"init_from": "other.safetensors"})
    for spec in (make_spec(bands=RGB), make_spec(bands=RGB, normalization=NORMAL, card=began)):
        misfit = misfit_of(path, spec)
        assert "no statistics" in misfit.line
        assert not misfit.is_far


def test_statistics_of_the_training_data_count_before_the_normalization(tmp_path):
    path = write_raster(tmp_path / "s.tif", imagery(130, 40))
    other = NormalizationSpec(mean=(9000.0,) * 3, std=(4000.0,) * 3)
    assert misfit_of(path, make_spec(bands=RGB, normalization=other)).is_far
    assert misfit_of(path, make_spec(bands=RGB, normalization=other, statistics=NORMAL)) is None


def test_statistics_of_labelled_rasters_are_compared_likewise():
    model = make_spec(bands=RGB, normalization=NORMAL)
    assert statistics_misfit(NORMAL, model) is None
    halved = NormalizationSpec(mean=(65.0, 70.0, 55.0), std=(20.0, 17.5, 15.0))
    assert "0.50 times as bright" in statistics_misfit(halved, model).line


def test_the_default_model_knows_its_imagery():
    spec = read_spec(None)
    assert statistics_misfit(spec.normalization, spec) is None


# ------------------------------------------------------------------------------------------------------------ predict


def test_a_scene_of_two_metres_is_seen_at_the_models_resolution(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40), transform=Affine(2, 0, 3e5, 0, -2, 4.3e6))
    result = predict(scene, tmp_path, model=echo_model(resolution_m=0.6), **QUICK)
    assert result.settings["resolution"] == "model"
    assert any("adds no detail" in line for line in result.notices)
    result = predict(scene, tmp_path, model=echo_model(resolution_m=0.6), resolution="scene", overwrite=True, **QUICK)
    assert any("pass --resolution model" in line for line in result.notices)


def test_a_refused_scene_does_not_stop_the_others(tmp_path, class_values):
    for name, size in (("a", 10.0), ("b", 0.6)):
        write_raster(tmp_path / f"{name}.tif", class_values(40, 40), transform=Affine(size, 0, 3e5, 0, -size, 4.3e6))
    many = predict_many(str(tmp_path / "[ab].tif"), tmp_path / "out", model=echo_model(resolution_m=0.6), **QUICK)
    (failure,), (result,) = many.failures, many.results
    assert "--force" in failure.error
    assert failure.scene.endswith("a.tif")
    assert result.scene.endswith("b.tif")
    forced = predict(tmp_path / "a.tif", tmp_path, model=echo_model(resolution_m=0.6), force=True, **QUICK)
    with rasterio.open(forced.paths["landcover"]) as raster:
        np.testing.assert_array_equal(raster.read(1), class_values(40, 40))
    assert any("classes would be wrong" in line for line in forced.notices)


def test_force_does_not_change_what_resume_finds_done(tmp_path, class_values):
    scene = write_raster(tmp_path / "s.tif", class_values(40, 40))
    predict(scene, tmp_path, model=echo_model(), **QUICK)
    told = predict(scene, tmp_path, model=echo_model(), resume=True, force=True, **QUICK)
    assert told.forwarded_px == 0


def test_no_rescale_is_suggested_where_the_resolution_forbids_the_model_anyhow(tmp_path):
    values = np.full((1, 60, 60), 900, np.uint16)
    scene = write_raster(tmp_path / "s.tif", values, transform=Affine(10, 0, 3e5, 0, -10, 4.3e6))
    with pytest.raises(ModelError, match="pixels are 10 m"):
        predict(scene, tmp_path, model=echo_model(resolution_m=0.6), **QUICK)
    with pytest.raises(ModelError, match="--rescale"):
        predict(scene, tmp_path, model=echo_model(resolution_m=0.6), force=True, **QUICK)
