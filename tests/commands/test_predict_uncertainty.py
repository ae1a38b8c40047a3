"""Rasters of uncertainty are those of the probabilities that stand in the raster of scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from rio_cogeo import cog_validate
from support.models import make_spec, save_bundle
from support.rasters import write_raster

from geoseg.cli import main
from geoseg.commands.predict import predict
from geoseg.commands.predict_many import predict_many
from geoseg.core.errors import OutputError, SpecError
from geoseg.models.model import Model

SMALL: dict[str, Any] = {"tile": 64, "overlap": 16, "precision": "fp32", "polygons": False, "preview": False}
BANDS = ("red", "green", "blue")


class Bands(torch.nn.Module):
    """The logits of three classes are the bands; remembers how many pixels it has seen."""

    seen = 0

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        self.seen += image.shape[0] * image.shape[2] * image.shape[3]
        return image / 20


def model_of(**fields: Any) -> Model:
    return Model(make_spec(3, bands=BANDS, resolution_m=0.6, **fields), Bands())


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).integers(1, 255, (3, 150, 130), dtype=np.uint8)
    values[:, 30:60, 40:90] = 0
    return write_raster(tmp_path / "s.tif", values, nodata=0)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read()


def expected(by: str, scores: np.ndarray) -> np.ndarray:
    """Uncertainty in percent (h, w) of probabilities (K, h, w), from its definition."""
    p = scores.astype(np.float64)
    if by == "margin":
        best = np.sort(p, axis=0)
        return 100 * (1 - (best[-1] - best[-2]))
    return 100 * -(p * np.log(np.maximum(p, 1e-300))).sum(axis=0) / np.log(len(p))


@pytest.mark.parametrize(
    ("by", "temperature", "settings"),
    [
        ("entropy", 1, {}),
        ("entropy", 2.5, {"resolution": "model"}),
        ("entropy", 2.5, {"crf": True, "crf_radius": 2, "crf_iterations": 1}),
        ("margin", 2.5, {"tta": "flips"}),
    ],
)
def test_it_is_that_of_the_scores(
    tmp_path: Path, scene: Path, by: str, temperature: float, settings: dict[str, Any]
) -> None:
    model = model_of(temperature=temperature)
    files = {"scores": tmp_path / "p.tif", "uncertainty": tmp_path / "u.tif", "uncertainty_by": by}
    result = predict(scene, tmp_path / "out", model=model, **SMALL, **files, **settings)
    scores, (found,) = read(tmp_path / "p.tif"), read(result.paths["uncertainty"])
    hole = np.isnan(scores).any(axis=0)
    assert 0 < hole.sum() < hole.size / 2
    np.testing.assert_array_equal(found == 255, hole)
    exact = expected(by, scores)[~hole]
    assert np.abs(found[~hole] - exact).max() < 0.501  # rounded to whole percent, and the last digit of float32
    assert np.ptp(exact) > 30


def test_the_raster_says_what_it_is(tmp_path: Path, scene: Path) -> None:
    result = predict(scene, tmp_path / "out", model=model_of(), uncertainty=tmp_path / "u.tif", **SMALL)
    is_valid, errors, _ = cog_validate(tmp_path / "u.tif", quiet=True)
    assert is_valid, errors
    with rasterio.open(tmp_path / "u.tif") as raster, rasterio.open(scene) as original:
        assert (raster.dtypes, raster.nodata) == (("uint8",), 255)
        assert (raster.crs, raster.transform, raster.shape) == (original.crs, original.transform, original.shape)
        assert raster.descriptions == ("uncertainty by entropy in percent",)
        assert {"GEOSEG_UNCERTAINTY": "entropy", "GEOSEG_MODEL": "test"}.items() <= raster.tags().items()
    asset = json.loads(result.paths["item"].read_text())["assets"]["uncertainty"]
    assert (asset["unit"], asset["bands"][0]["description"]) == ("%", "uncertainty by entropy in percent")


def test_windows_do_not_show(tmp_path: Path, scene: Path) -> None:
    found = []
    for tile in (64, 256):
        path = tmp_path / f"{tile}.tif"
        predict(scene, tmp_path / str(tile), model=model_of(), uncertainty=path, **SMALL | {"tile": tile})
        found.append(read(path).astype(int))
    difference = np.abs(found[0] - found[1])
    assert difference.max() <= 1
    assert difference.mean() < 0.001  # where rounding falls the other way


def test_many_scenes_have_one_each_in_a_folder(tmp_path: Path, scene: Path) -> None:
    other = write_raster(tmp_path / "t.tif", np.full((3, 70, 80), 90, np.uint8))
    (tmp_path / "more").mkdir()
    found = predict_many(
        [scene, other], tmp_path / "out", model=model_of(), uncertainty=tmp_path / "more", stac=False, **SMALL
    )
    assert not found.failures
    assert sorted(path.name for path in (tmp_path / "more").iterdir()) == ["s_uncertainty.tif", "t_uncertainty.tif"]
    np.testing.assert_array_equal(read(tmp_path / "more" / "t_uncertainty.tif"), 100)
    with pytest.raises(OutputError, match=r"--uncertainty .*u\.tif is one file for 2 scenes: give a folder"):
        predict_many([scene, other], tmp_path / "out", model=model_of(), uncertainty=tmp_path / "u.tif", **SMALL)


@pytest.mark.parametrize(
    ("by", "line"),
    [
        ("disagreement", "uncertainty by disagreement takes several passes .* geoseg suggest --by disagreement"),
        ("entropie", "no measure of uncertainty is called 'entropie': did you mean 'entropy'"),
    ],
)
def test_a_measure_that_one_pass_does_not_give_is_refused_before_any_work(
    tmp_path: Path, scene: Path, by: str, line: str
) -> None:
    model = model_of()
    for run, scenes in ((predict, scene), (predict_many, [scene, scene])):
        with pytest.raises(SpecError, match=line):
            run(scenes, tmp_path / "out", model=model, uncertainty=tmp_path, uncertainty_by=by, **SMALL)
    assert model.module.seen == 0
    assert not (tmp_path / "out").exists()


def test_the_command_line_writes_it(tmp_path: Path, scene: Path) -> None:
    bundle = save_bundle(tmp_path / "m.safetensors", bands=BANDS)
    command = ["predict", str(scene), "-m", str(bundle), "-o", str(tmp_path / "out"), "--no-polygons", "--no-preview"]
    command += ["--uncertainty", str(tmp_path / "u.tif"), "--uncertainty-by", "margin"]
    result = CliRunner().invoke(main, [*command, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["paths"]["uncertainty"] == str(tmp_path / "u.tif")
    again = CliRunner().invoke(main, [*command, "--resume"])
    assert "done already" in again.stderr
    with rasterio.open(tmp_path / "u.tif") as raster:
        assert raster.tags()["GEOSEG_UNCERTAINTY"] == "margin"
