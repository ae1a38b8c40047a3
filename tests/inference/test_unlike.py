"""A scene that looks unlike what its model learnt from is said to, by values, ground resolution and features."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from rasterio.transform import from_origin
from support.imagery import imagery
from support.models import Echo, make_spec
from support.rasters import write_raster
from support.reporters import Heard
from support.stopped import stopped_after

from geoseg.cli import main
from geoseg.commands.predict import PredictResult, predict
from geoseg.geo.grid import Grid, Window
from geoseg.inference.batches import Sample
from geoseg.inference.crops import most_crops, spread_crops
from geoseg.inference.unlike import UNLIKE
from geoseg.models.build import build_network
from geoseg.models.bundle import save_model
from geoseg.models.header import read_spec
from geoseg.models.model import Model
from geoseg.models.runner import Runner
from geoseg.raster.distributions import distributions_of
from geoseg.raster.imagery import describe_bands, learn_spread, values_of
from geoseg.raster.notices_tag import NOTICES_TAG
from geoseg.spec import ImagerySpec, NetworkSpec, NormalizationSpec

RGB = ("red", "green", "blue")
CROPS = 40
QUICK: dict[str, Any] = {
    "polygons": False,
    "preview": False,
    "device": "cpu",
    "precision": "fp32",
    "rescale": None,
    "force": True,
    "tile": 256,
    "overlap": 32,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network, and a description of the imagery that it is said to have learnt from."""
    torch.manual_seed(0)
    small = {"encoder_depth": 3, "decoder_channels": [16, 8, 8]}
    spec = make_spec(
        4,
        bands=RGB,
        network=NetworkSpec(architecture="unet", encoder="resnet18", arguments=small, multiple=8),
        normalization=NormalizationSpec(mean=(110, 120, 95), std=(40, 35, 20)),
        resolution_m=0.6,
    )
    network = build_network(spec).eval()
    crops = np.stack([imagery(px=128, seed=100 + seed) for seed in range(CROPS)])
    valid, places = np.ones((CROPS, 128, 128), bool), np.arange(CROPS)
    found = distributions_of(zip(crops, valid, strict=True), 3, "uint8")
    features = Runner(network, "cpu", "fp32").features(crops, valid).numpy().astype(float)
    seen = ImagerySpec(
        values=tuple(map(values_of, found)),
        resolution_m=(0.6, 0.6),
        bands=learn_spread(np.stack([describe_bands(*one) for one in zip(crops, valid, strict=True)]), places),
        features=learn_spread(features, places),
    )
    folder = tmp_path_factory.mktemp("model")
    return save_model(network, spec.model_copy(update={"imagery": seen}), folder / "m.safetensors")


def warning(result: PredictResult) -> str:
    """The notice that a scene looks unlike what the model learnt from; nothing if there is none."""
    return next((line for line in result.notices if line.startswith(UNLIKE)), "")


def predicted(folder: Path, values: np.ndarray, model: Path | Model, **settings: Any) -> PredictResult:
    folder.mkdir(exist_ok=True)
    scene = write_raster(folder / "scene.tif", values, **settings.pop("profile", {}))
    return predict(scene, folder / "out", model=model, **QUICK | settings)


@pytest.mark.parametrize("seed", range(4))
def test_a_scene_like_the_training_imagery_is_not_warned_of(tmp_path: Path, model: Path, seed: int) -> None:
    assert not warning(predicted(tmp_path, imagery(px=300, seed=seed), model, tile=128))


@pytest.mark.parametrize(
    ("changed", "profile", "says"),
    [
        (lambda v: v // 2, {}, "(red|green|blue) darker than 9[0-9]% of it"),
        (lambda v: (v * 0.5 + 127).astype(np.uint8), {}, "(red|green|blue) brighter than 9[0-9]% of it"),
        (lambda v: v[::-1], {}, "go together otherwise"),
        (lambda v: v, {"transform": from_origin(3e5, 4.3e6, 5, 5)}, "pixels of 5 m, the model knows 0.6 m"),
        (lambda v: np.roll(v, 1, axis=0)[:, ::1] // 3, {}, "the network's features are farther off"),
    ],
    ids=["dark", "bright", "swapped", "coarse", "features"],
)
def test_other_values_bands_and_resolutions_are_warned_of(
    tmp_path: Path, model: Path, changed: Callable[[Any], Any], profile: dict[str, Any], says: str
) -> None:
    said = warning(predicted(tmp_path, changed(imagery(px=300)), model, profile=profile, resolution="scene"))
    assert re.search(says, said), said
    assert said.endswith("expect poorer classes")


@pytest.mark.parametrize("way", ["bn", "entropy"])
@pytest.mark.parametrize("dark", [1, 3])
def test_an_adapted_network_is_judged_by_what_it_was(tmp_path: Path, model: Path, way: str, dark: int) -> None:
    """By the features of the network as it learnt, which the bundle holds."""
    values = imagery(px=300) // dark
    said = warning(predicted(tmp_path / "plain", values, model))
    assert bool(said) == (dark > 1)
    assert warning(predicted(tmp_path / "adapted", values, model, adapt=way, adapt_share=0.9)) == said


def test_the_warning_is_in_the_results_and_on_the_terminal_and_the_exit_code_is_0(tmp_path: Path, model: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", imagery(px=300) // 3)
    run = CliRunner().invoke(
        main, ["predict", str(scene), "-m", str(model), "-o", str(tmp_path / "out"), "--rescale", "none", "--force"]
    )
    assert run.exit_code == 0, run.output
    assert UNLIKE in run.output
    with rasterio.open(tmp_path / "out" / "scene_landcover.tif") as raster:
        (line,) = [one for one in json.loads(raster.tags()[NOTICES_TAG]) if one.startswith(UNLIKE)]
    (item,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json"))
    assert line in item["properties"]["geoseg:notices"]


def test_a_model_that_does_not_know_its_imagery_says_nothing(tmp_path: Path) -> None:
    plain = Model(make_spec(4, bands=RGB), Echo(4).eval())
    assert not warning(predicted(tmp_path, imagery(px=300) // 3, plain))


def test_a_module_without_features_is_compared_by_its_bands(tmp_path: Path, model: Path) -> None:
    echo = Model(read_spec(model), Echo(4).eval())
    said = warning(predicted(tmp_path, imagery(px=300) // 3, echo))
    assert "darker than" in said
    assert "features" not in said


def test_what_is_matched_to_the_training_imagery_has_its_values(tmp_path: Path, model: Path) -> None:
    dark = (imagery(px=512) * 0.5).astype(np.uint8)
    assert "darker" in warning(predicted(tmp_path / "a", dark, model))
    matched = predicted(tmp_path / "b", dark, model, match="training", match_by="histogram", rescale="auto")
    assert "darker" not in warning(matched)
    assert any("brought to those of the training imagery" in line for line in matched.notices)


def test_a_scene_without_data_is_compared_with_nothing(tmp_path: Path, model: Path) -> None:
    empty = np.zeros((3, 300, 300), np.uint8)
    assert not warning(predicted(tmp_path, empty, model, profile={"nodata": 0}))


def test_fill_around_a_like_scene_does_not_count(tmp_path: Path, model: Path) -> None:
    framed = imagery(px=600).clip(1, 255)
    framed[:, :, :270] = 0
    framed[:, 400:] = 0
    assert not warning(predicted(tmp_path, framed, model, profile={"nodata": 0}, tile=128))


def test_processes_and_a_resumed_run_say_the_same(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = write_raster(tmp_path / "scene.tif", imagery(px=500) // 2)
    settings = QUICK | {"tile": 128}
    whole = predict(scene, tmp_path / "whole", model=model, **settings)
    assert warning(whole)
    shared = predict(scene, tmp_path / "shared", model=model, devices="2", **settings)
    assert shared.notices == whole.notices
    with stopped_after(2, monkeypatch):
        predict(scene, tmp_path / "out", model=model, **settings)
    resumed = predict(scene, tmp_path / "out", model=model, resume=True, **settings)
    assert resumed.notices == whole.notices
    assert resumed.paths["landcover"].read_bytes() == whole.paths["landcover"].read_bytes()
    heard = Heard()
    done = predict(scene, tmp_path / "out", model=model, resume=True, reporter=heard, **settings)
    assert warning(done) == warning(whole)
    assert warning(whole) in heard.lines


@pytest.mark.parametrize("changed", [{"batch_size": 1}, {"batch_size": 5}, {"tta": "flips"}])
def test_neither_batches_nor_augmentations_change_what_is_said(
    tmp_path: Path, model: Path, changed: dict[str, Any]
) -> None:
    dark = imagery(px=500) // 2
    plain, other = (
        warning(predicted(tmp_path / str(number), dark, model, tile=128, **more))
        for number, more in enumerate(({}, changed))
    )
    assert plain == other


@pytest.mark.parametrize(("size", "tile"), [((1000, 1000), 1024), ((700, 1900), 512), ((90, 140), 256), ((64, 64), 64)])
def test_crops_lie_in_their_windows_and_hold_data(size: tuple[int, int], tile: int) -> None:
    grid = Grid(*size, tile=tile, overlap=tile // 8, multiple=8, border=8)
    for place in grid.places():
        window = place.window
        valid = np.ones((window.height, window.width), bool)
        valid[:, : window.width // 3] = False
        image = np.zeros((1, window.height, window.width), np.uint8)
        sample = Sample(place, Window(0, 0, window.height, window.width), image, valid, valid)
        crops = spread_crops(sample, 4)
        assert crops
        assert len(set(crops)) == len(crops)
        for crop in crops:
            assert crop == crop.clip(window.height, window.width)
            assert valid[crop.slices].mean() >= 0.5


@pytest.mark.parametrize(
    ("side", "tile", "crops"), [(900, 1024, 4), (9000, 1024, 1), (9000, 1536, 1), (10_000, 2048, 2)]
)
def test_crops_are_as_dense_in_windows_of_any_size(side: int, tile: int, crops: int) -> None:
    assert most_crops(Grid(side, side, tile, 32, 32, border=32)) == crops
