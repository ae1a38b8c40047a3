"""A model on the ground of a training config: the figure is the one that the training run gives."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import yaml
from affine import Affine
from click.testing import CliRunner
from support.models import class_specs, echo_model, save_bundle
from support.rasters import TRANSFORM, write_raster
from support.reporters import Heard, Watching

from geoseg.cli import main
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.predict import predict
from geoseg.core.errors import GeosegError, ModelError, OutputError, SpecError
from geoseg.metrics.calibration.calibration import Calibration
from geoseg.metrics.counter import ScoreCounter
from geoseg.models.header import read_spec
from geoseg.models.model import Model
from geoseg.spec import load_train_spec
from geoseg.training.data.training_data import read_training_data

HEIGHT, WIDTH = 256, 384
CLASSES = [c.model_dump() for c in class_specs(4)]
SPEC: dict[str, Any] = {
    "name": "small",
    "classes": CLASSES,
    "network": {"architecture": "pointwise"},
    "augment": {"warp": 0, "gamma": 0, "brightness": 0, "contrast": 0, "band_mix": 0, "saturation": 0},
    "optimizer": {"learning_rate": 0.1},
    "epochs": 2,
    "windows_per_epoch": 32,
    "batch_size": 4,
    "window": 32,
    "tile": 64,
    "overlap": 16,
    "boundary_px": 2,
    "ema": 0.5,
    "precision": "fp32",
    "device": "cpu",
}
SPLIT = {"by": "blocks", "block_px": 96, "guard_px": 8, "val_share": 0.3}
CPU = {"device": "cpu", "precision": "fp32"}


def echo(classes: int = 4, **fields: Any) -> Model:
    """A model whose class is the value of its first band."""
    return echo_model(classes, **{"tile": 64, "overlap": 16} | fields)


def write_config(folder: Path, data: dict[str, Any], **changes: Any) -> Path:
    scene = {"image": "town.tif", "label": "town_labels.tif"}
    given = {"scenes": [scene], "split": SPLIT, "bands": ["value"], "resolution_m": 0.6} | data
    (folder / "config.yaml").write_text(yaml.safe_dump(SPEC | {"data": given} | changes))
    return folder / "config.yaml"


@pytest.fixture
def ids(class_values: Any) -> np.ndarray:
    """Labels of the town: class ids in blobs, some not labelled."""
    return np.where(class_values(HEIGHT, WIDTH, blob=9, seed=4) == 0, 255, class_values(HEIGHT, WIDTH, blob=13))


@pytest.fixture
def values(ids: np.ndarray) -> np.ndarray:
    """One band that shows the class but for a tenth of the pixels."""
    random = np.random.default_rng(0)
    wrong = random.integers(0, 4, ids.shape, dtype=np.uint8)
    return np.where((random.random(ids.shape) < 0.1) | (ids == 255), wrong, ids)[None]


@pytest.fixture
def config(tmp_path: Path, values: np.ndarray, ids: np.ndarray) -> Path:
    """A config of one band beside its scene."""
    write_raster(tmp_path / "town.tif", values)
    write_raster(tmp_path / "town_labels.tif", ids)
    return write_config(tmp_path, {})


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)], catch_exceptions=False)


# ------------------------------------------------------------------------------------------------------------ scores


def test_the_figure_is_that_of_the_training_run(tmp_path, ids):
    """Bands from which each class is told apart easily, so that the bundle's float16 weights predict the same; labels
    that are often wrong, so that every pixel that is scored or not shows in the figures."""
    from geoseg.commands.train import train

    random = np.random.default_rng(0)
    shown = random.permutation(4).astype(np.uint8)[np.where(ids == 255, 0, ids)]
    image = np.stack([np.where(shown == k, 200, 40) for k in range(4)]) + random.integers(0, 20, (4, *ids.shape))
    labels = np.where(random.random(ids.shape) < 0.2, np.roll(ids, 5, axis=0), ids)
    image[:, 50:60, 100:200] = 0
    write_raster(tmp_path / "town.tif", image.astype(np.uint8), nodata=0)
    write_raster(tmp_path / "town_labels.tif", labels)
    config = write_config(tmp_path, {"bands": ["red", "green", "blue", "nir"]})
    trained = train(config, tmp_path / "run")
    found = evaluate_model(trained.bundle, config, **CPU)
    assert 0.3 < trained.scores.miou < 0.9
    assert found.scores == trained.scores
    assert found.scores.boundary_px == 2
    assert (found.images, found.windows > 10, found.device, found.precision) == (1, True, "cpu", "fp32")
    as_trained = evaluate_model(trained.bundle, trained.config)
    assert as_trained.scores == trained.scores
    assert as_trained.calibration == trained.calibration["val"]
    spec = read_spec(trained.bundle)
    assert spec.card.scores["confusion"] == [list(row) for row in found.scores.confusion]
    assert Calibration.from_dict(spec.card.calibration["val"]) == as_trained.calibration
    assert spec.temperature == as_trained.calibration.temperature != 1
    fitted, plain = as_trained.calibration.figures, as_trained.calibration.plain
    assert fitted.overall["log_loss"] < plain.overall["log_loss"]
    assert fitted.ece < plain.ece
    assert "temperature of" in trained.report.read_text("utf-8")


def test_the_card_of_a_bundle_has_the_scores_of_an_evaluation_without_options(tmp_path, ids):
    """Bands that tell the classes apart so badly that weights in 16 bits predict other classes here and there."""
    from geoseg.commands.train import train

    random = np.random.default_rng(0)
    image = np.where(ids == 255, 0, ids)[None] * 9 + random.integers(0, 90, (4, *ids.shape))
    write_raster(tmp_path / "town.tif", image.astype(np.uint8))
    write_raster(tmp_path / "town_labels.tif", ids)
    config = write_config(tmp_path, {"bands": ["red", "green", "blue", "nir"]}, precision="bf16")
    trained = train(config, tmp_path / "run")
    card = read_spec(trained.bundle).card
    assert card.scores == trained.scores.as_dict() == evaluate_model(trained.bundle, config).scores.as_dict()
    assert card.epoch_rule == trained.epoch_rule
    assert card.epoch_rule.endswith("of 2, that with the highest validation mIoU, of equal ones the last")
    assert card.epoch_rule in trained.report.read_text("utf-8")
    (row,) = csv.DictReader((tmp_path / "run" / "scores.csv").open())
    assert (row["split"], row["miou"]) == ("val", str(round(trained.scores.miou, 4)))


def test_either_side_is_scored_on_its_own_pixels(config, values, ids):
    ground = read_training_data(load_train_spec(config))
    val, train = (evaluate_model(echo(), config, split=split, **CPU) for split in ("val", "train"))
    assert (val.split, train.split) == ("val", "train")
    for found, side in ((val, ground.val), (train, ground.train)):
        assert np.sum(found.scores.confusion, axis=1).tolist() == side.class_counts.tolist()
    assert val.scores.pixels + train.scores.pixels < (ids != 255).sum(), "a guard band lies between them"


def test_scores_are_those_of_whole_arrays(tmp_path, values, ids):
    """One scene to learn from, one to score on; the model's windows do not show in the confusion."""
    scenes = []
    for number, split in enumerate(("train", "val")):
        place = {"transform": TRANSFORM @ Affine.translation(5000 * number, 0)}
        write_raster(tmp_path / f"{split}.tif", np.roll(values, number, axis=0), **place)
        write_raster(tmp_path / f"{split}_l.tif", np.roll(ids, 10 * number, axis=0), **place)
        scenes.append({"image": f"{split}.tif", "label": f"{split}_l.tif", "split": split})
    config = write_config(tmp_path, {"scenes": scenes, "split": {}})
    found = evaluate_model(echo(), config, boundary_px=0, **CPU).scores
    counter = ScoreCounter(4)
    counter.update(torch.from_numpy(values), torch.from_numpy(np.roll(ids, 10, axis=0))[None])
    assert found == counter.scores([c["name"] for c in CLASSES])
    assert (found.boundary_px, found.boundary_miou) == (None, None)


class Unsteady(torch.nn.Module):
    """Class = value of the first band, but every window sees some of them otherwise: it goes by the place in it."""

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        index = image[:, 0].round().long().clamp(0, 3)
        logits = 2 * torch.nn.functional.one_hot(index, 4).permute(0, 3, 1, 2).float()
        wave = torch.linspace(0, 20, image.shape[3]).sin() * torch.linspace(0, 30, image.shape[2]).cos()[:, None]
        return logits + wave * torch.tensor([3.0, -3.0, 2.0, -2.0])[:, None, None]


@pytest.mark.parametrize("resolution", ["scene", 1.2, 0.4])
def test_a_model_has_the_scores_of_the_map_that_it_draws(tmp_path, values, ids, resolution):
    """Windows disagree in their overlap, so that the blending of their seams shows."""
    from geoseg.commands.evaluate import evaluate
    from geoseg.commands.predict import predict

    labels = np.where(np.arange(WIDTH) % 60 < 9, ids, 255)  # some labels lie in seams alone
    write_raster(tmp_path / "town.tif", values)
    write_raster(tmp_path / "town_labels.tif", labels)
    scenes = [{"image": "town.tif", "label": "town_labels.tif", "split": "val"}]
    config = write_config(tmp_path, {"scenes": scenes, "split": {}})
    model = Model(echo().spec, Unsteady())
    settings = {"resolution": resolution, "tile": 64, "overlap": 32, "boundary_px": 0}
    found = evaluate_model(model, config, **CPU, **settings).scores
    settings.pop("boundary_px")
    drawn = predict(tmp_path / "town.tif", tmp_path / "out", model=model, polygons=False, **CPU, **settings)
    of_map = evaluate(drawn.paths["landcover"], tmp_path / "town_labels.tif", boundary_px=0).scores
    assert found.confusion == of_map.confusion
    assert 0.3 < found.miou < 0.95


@pytest.mark.parametrize(("asked", "used"), [(None, 2), (1, 1), (7, 7)])
def test_boundaries_reach_as_far_as_the_config_says(config, asked, used):
    assert evaluate_model(echo(), config, boundary_px=asked, **CPU).scores.boundary_px == used


def test_other_tiles_may_be_given(config, tmp_path, ids):
    (tmp_path / "other").mkdir()
    lines = ["image,label,split"]
    for number, split in enumerate(("train", "val")):
        place = {"transform": TRANSFORM @ Affine.translation(5000 * number, 0)}
        write_raster(tmp_path / "other" / f"{split}.tif", np.where(ids == 255, 0, ids), **place)
        write_raster(tmp_path / "other" / f"{split}_l.tif", ids, **place)
        lines.append(f"{split}.tif,{split}_l.tif,{split}")
    (tmp_path / "other" / "tiles.csv").write_text("\n".join(lines))
    config = write_config(tmp_path, {"split": {}})
    found = evaluate_model(echo(), config, data=tmp_path / "other" / "tiles.csv", **CPU)
    assert (found.scores.miou, found.scores.pixels) == (1, (ids != 255).sum())
    assert found.data == str(tmp_path / "other" / "tiles.csv")


# ----------------------------------------------------------------------------------------- settings of classification


def blocky(tmp_path: Path, ids: np.ndarray) -> Path:
    """A config of a scene whose pixels are equal two by two, as are its labels."""
    coarse = np.kron(np.where(ids == 255, 0, ids)[::2, ::2], np.ones((2, 2), np.uint8))
    write_raster(tmp_path / "town.tif", coarse)
    write_raster(tmp_path / "town_labels.tif", coarse)
    return write_config(tmp_path, {})


@pytest.mark.parametrize("resolution", ["model", 1.2, 2.4])
def test_a_model_is_scored_on_the_labels_own_pixels_at_any_resolution(tmp_path, ids, resolution):
    config = blocky(tmp_path, ids)
    found = evaluate_model(echo(resolution_m=1.2), config, resolution=resolution, **CPU)
    assert found.scores.pixels == evaluate_model(echo(), config, **CPU).scores.pixels
    if resolution == 2.4:
        assert 0.3 < found.scores.miou < 0.9, "classes are not to be averaged"
    else:
        assert found.scores.miou == 1


@pytest.mark.parametrize(
    "settings", [{"tta": "flips"}, {"tta": "d4", "tta_scales": [1, 1]}, {"tile": 96, "overlap": 8}]
)
def test_a_model_that_sees_single_pixels_has_the_same_scores_in_other_views(config, settings):
    found, known = (evaluate_model(echo(), config, **some, **CPU).scores for some in (settings, {}))
    assert found.confusion == known.confusion


def test_a_crf_is_scored_as_it_decides_a_scene(tmp_path, config, ids):
    crf = {"crf": True, "crf_smoothness": 100.0, "crf_radius": 2, "crf_iterations": 2}
    quick = {"polygons": False, "preview": False, "stac": False}
    found = predict(tmp_path / "town.tif", tmp_path / "out", model=echo(), **quick, **crf, **CPU)
    with rasterio.open(found.paths["landcover"]) as raster:
        write_raster(tmp_path / "out" / "town.tif", raster.read())
    write_raster(tmp_path / "out" / "town_labels.tif", ids)
    of_map = evaluate_model(echo(), write_config(tmp_path / "out", {}), **CPU).scores
    for settings in ({}, {"tile": 96, "overlap": 8}):
        assert evaluate_model(echo(), config, **crf, **settings, **CPU).scores.confusion == of_map.confusion
    assert of_map.miou > evaluate_model(echo(), config, **CPU).scores.miou


def test_other_scales_are_measured(config):
    assert (
        evaluate_model(echo(), config, tta_scales=[0.5], **CPU).scores != evaluate_model(echo(), config, **CPU).scores
    )


def test_values_may_be_rescaled_and_bands_and_nodata_given(tmp_path, values, ids):
    write_raster(tmp_path / "town.tif", np.concatenate([np.zeros_like(values), values]).astype(np.uint16) * 100)
    write_raster(tmp_path / "town_labels.tif", ids)
    config = write_config(tmp_path, {"dtype": "uint16"})
    with pytest.raises(ModelError, match="was trained on uint8 values"):
        evaluate_model(echo(), config, **CPU)
    given = {"rescale": (0, 25500), "bands": [2]} | CPU
    found = evaluate_model(echo(), config, **given).scores
    assert found.miou > 0.5
    without = evaluate_model(echo(), config, nodata=100, **given).scores
    assert without.pixels < found.pixels, "pixels of the value 100 are class 1, and hold no data"
    assert without.recall["class 1"] is None or without.pixels < found.pixels * 0.9
    with pytest.raises(SpecError, match=r"bands = \[1, 2\]: the model wants value"):
        evaluate_model(echo(), config, **given | {"bands": [1, 2]})


def test_only_an_area_of_interest_is_scored(config):
    left, top = TRANSFORM.c, TRANSFORM.f
    half = left, top - 0.6 * HEIGHT, left + 0.3 * WIDTH, top
    whole, part = (evaluate_model(echo(), config, bbox=bbox, **CPU).scores for bbox in (None, half))
    other = evaluate_model(echo(), config, bbox=(half[2], half[1], half[2] + 0.3 * WIDTH, top), **CPU).scores
    assert 0 < part.pixels < whole.pixels
    assert np.array_equal(np.add(part.confusion, other.confusion), whole.confusion)
    with pytest.raises(GeosegError, match=r"lies off town\.tif"):
        evaluate_model(echo(), config, bbox=(0, 0, 1, 1), **CPU)


# ------------------------------------------------------------------------------------------------ a config that fits


def test_nothing_need_be_there_to_learn_from(tmp_path, values, ids):
    some = np.where(ids == 3, 255, ids)
    write_raster(tmp_path / "town.tif", values, nodata=None)
    write_raster(tmp_path / "town_labels.tif", some)
    (tmp_path / "test.csv").write_text("image,label,split\ntown.tif,town_labels.tif,val\n")
    config = write_config(tmp_path, {"split": {"by": "column"}})
    result = evaluate_model(echo(), config, data=tmp_path / "test.csv", **CPU)
    assert result.scores.pixels == (some != 255).sum()
    assert result.scores.recall["class 3"] is None


@pytest.mark.parametrize(
    ("data", "profile"),
    [
        ({"bands": ["nir", "red", "green", "value"], "band_indexes": [2, 3, 4, 1]}, {}),
        ({"bands": ["nir", "red", "green", "value"]}, {"descriptions": ("value", "nir", "red", "green")}),
        ({"bands": ["value", "nir", "red", "green"]}, {}),
    ],
    ids=["as told", "by name", "by position"],
)
@pytest.mark.parametrize("wanted", [("value",), ("value", "green"), ("value", "nir", "red", "green")])
def test_a_model_takes_its_bands_by_name(tmp_path, values, ids, data, profile, wanted):
    noise = np.random.default_rng(1).integers(4, 255, (3, *ids.shape), dtype=np.uint8)
    write_raster(tmp_path / "town.tif", np.concatenate([values, noise]), **profile)
    write_raster(tmp_path / "town_labels.tif", ids)
    model = echo(bands=wanted)
    expected = evaluate_model(
        model, write_config(tmp_path, {"bands": wanted, "band_indexes": [1, 2, 3, 4][: len(wanted)]})
    )
    assert evaluate_model(model, write_config(tmp_path, data)).scores.miou == expected.scores.miou > 0.5


def test_bands_by_position_are_counted_in_the_config_not_in_the_model(tmp_path, values, ids):
    """The file marks its first three bands as red, green and blue, as many writers do, but the config knows better."""
    noise = np.random.default_rng(1).integers(4, 255, (3, *ids.shape), dtype=np.uint8)
    write_raster(tmp_path / "town.tif", np.insert(noise, 1, values[0], axis=0), photometric="RGB")
    write_raster(tmp_path / "town_labels.tif", ids)
    config = write_config(tmp_path, {"bands": ["nir", "red", "green", "blue"]})
    assert evaluate_model(echo(bands=("red", "green", "blue")), config, **CPU).scores.miou > 0.5


def test_bands_that_stand_elsewhere_from_image_to_image_are_refused(tmp_path, values, ids):
    scenes = []
    for name, order in (("one", ("value", "nir")), ("two", ("nir", "value"))):
        write_raster(tmp_path / f"{name}.tif", np.repeat(values, 2, axis=0), descriptions=order)
        write_raster(tmp_path / f"{name}_l.tif", ids)
        scenes.append({"image": f"{name}.tif", "label": f"{name}_l.tif"})
    config = write_config(tmp_path, {"scenes": scenes, "bands": ["value", "nir"]})
    with pytest.raises(
        SpecError, match=r"stand at \[1\] in .*one\.tif but at \[2\] in .*two\.tif: score such images apart"
    ):
        evaluate_model(echo(), config, **CPU)


def test_classes_in_another_order_are_the_same_classes(config, tmp_path):
    expected = evaluate_model(echo(), config, **CPU).scores
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"classes": CLASSES[::-1]}))
    assert evaluate_model(echo(), config, **CPU).scores == expected


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"classes": [{"id": 0, "name": "grass", "color": "#000000"}, *CLASSES[1:]]},
            r"model test has the classes 0 class 0, 1 class 1, .*, the config has 0 grass, 1 class 1, .*: give both",
        ),
        ({"classes": CLASSES[:3]}, "the config has 0 class 0, 1 class 1, 2 class 2: give both the same"),
        ({"data": {"bands": ["nir"]}}, "model test wants the bands value, the config has nir: choose a model"),
        ({"data": {"dtype": "uint16"}}, "was trained on uint8 values, the config's are uint16: choose a model"),
    ],
)
def test_a_config_that_does_not_fit_is_one_clear_line(config, changes, says):
    given = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(given | changes | {"data": given["data"] | changes.get("data", {})}))
    with pytest.raises(ModelError, match=says) as caught:
        evaluate_model(echo(), config, **CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"split": "tests"}, "split = 'tests': give one of val, train, test"),
        ({"boundary_px": -1}, "boundary_px = -1: it must be greater than or equal to 0"),
        ({"device": "abacus"}, "device = 'abacus'"),
        ({"precision": "fp8"}, "precision = 'fp8'"),
        ({"report": "report.pdf"}, "does not end in .html"),
    ],
)
def test_settings_that_make_no_sense_are_refused(config, settings, says):
    with pytest.raises(GeosegError, match=says):
        evaluate_model(echo(), config, **settings)


def test_a_model_far_from_its_resolution_is_told(config):
    told: list[str] = []
    found = evaluate_model(echo(resolution_m=2.0), config, reporter=Watching(lines=told), **CPU)
    assert told == list(found.notices)
    said = "the scene's pixels are 0.6 m, the model knows 2 m: the scene is averaged to 2 m for it; --resolution scene"
    assert any(line.startswith(said) for line in told)
    native = evaluate_model(echo(resolution_m=2.0), config, resolution="scene", **CPU)
    assert any("and sees 0.6 m: poor classes, pass --resolution model" in line for line in native.notices)
    assert native.scores.miou != found.scores.miou
    like = evaluate_model(echo(resolution_m=0.6), config, **CPU)
    assert not any("pixels are" in line for line in like.notices)


def test_progress_reaches_its_end(config):
    told: list[tuple[str, int, int]] = []
    evaluate_model(echo(), config, reporter=Heard(lambda *state: told.append(state)), **CPU)
    last = {stage: (done, total) for stage, done, total in told}
    assert last["reading"] == (HEIGHT * WIDTH, HEIGHT * WIDTH)
    assert last["scoring"][0] == last["scoring"][1] > 0


# ------------------------------------------------------------------------------------------------- report and command


def test_a_report_shows_the_worst_and_the_best_windows(config, tmp_path):
    found = evaluate_model(echo(), config, report=tmp_path / "page.html", **CPU)
    page = (tmp_path / "page.html").read_text("utf-8")
    for shown in (
        "test on validation rasters",
        f"{found.scores.miou:.3f}",
        "Worst windows",
        "town.tif, row",
        "split: val",
    ):
        assert shown in page
    with pytest.raises(OutputError, match=r"page\.html exists: pass --overwrite"):
        evaluate_model(echo(), config, report=tmp_path / "page.html", **CPU)
    evaluate_model(echo(), config, split="train", report=tmp_path / "page.html", overwrite=True, **CPU)
    assert "test on training rasters" in (tmp_path / "page.html").read_text("utf-8")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle with random weights that fits the config."""
    return save_bundle(tmp_path / "m.safetensors")


def test_the_command_reports(config, bundle, tmp_path):
    result = run("-m", bundle, "--data", config, "--device", "cpu", "--report", tmp_path / "page.html")
    assert result.exit_code == 0
    for said in ("mIoU", "class 3", "pixels of 1 image in", "on cpu", "page.html"):
        assert said in result.stdout
    arguments = "--model", bundle, "--data", config, "--split", "train", "--precision", "fp32"
    report = json.loads(run(*arguments, "--boundary-px", 0, "--json").stdout)
    assert (report["model"], report["split"], report["precision"], report["report"]) == ("test", "train", "fp32", None)
    assert report["scores"]["boundary_miou"] is None
    assert run(*arguments, "-q").output == ""


def test_floors_hold_for_models_too(config, bundle):
    arguments = "--model", bundle, "--data", config, "-q", "--fail-under"
    assert run(*arguments, "miou=0").exit_code == 0
    missed = run(*arguments, "iou.class 1=1")
    assert (missed.exit_code, missed.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give either a PREDICTION.tif with its --labels, or a --model with its --data"),
        (["p.tif", "--labels", "l.tif", "--model", "m"], "give either"),
        (["--data", "c.yaml"], "give either"),
        (["p.tif", "--labels", "l.tif", "--data", "c.yaml"], "--data does not go with a PREDICTION.tif"),
        (["p.tif", "--labels", "l.tif", "--report", "r.html"], "--report does not go with a PREDICTION.tif"),
        (["p.tif"], "a PREDICTION.tif needs its --labels"),
        (["--model", "m"], "a --model needs its --data"),
        (["--model", "m", "--data", "c.yaml", "--column", "k"], "--column does not go with a --model"),
        (["--model", "m", "--data", "c.yaml", "--split", "tests"], "'tests' is not one of"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, says):
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "missing.safetensors", "--data", "{config}"], "no model at missing.safetensors"),
        (["--model", "{bundle}", "--data", "missing.yaml"], "cannot read settings from missing.yaml"),
        (["--model", "{bundle}", "--data", "{config}", "--tiles", "missing.csv"], "cannot read the list of tiles"),
        (["--model", "default", "--data", "{config}"], "has the classes 0 background, 1 building"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_1(config, bundle, arguments, says):
    result = run(*(text.format(config=config, bundle=bundle) for text in arguments))
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (1, 1, "")
    assert says in result.stderr
