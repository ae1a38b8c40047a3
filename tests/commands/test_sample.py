"""Files of sampled places say what each stands for, go back as labels, and give areas without bias."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner
from rasterio.transform import from_origin
from support.rasters import TRANSFORM, UTM, UTM_DENSITY, write_raster

from geoseg.cli import main
from geoseg.commands.evaluate import evaluate
from geoseg.commands.sample import sample
from geoseg.core.errors import GeosegError
from geoseg.raster.legend import class_tags
from geoseg.spec import ClassSpec

CLASSES = [ClassSpec(id=k, name=name, color="#112233") for k, name in ((3, "grass"), (9, "water"), (4, "sand"))]
PIXEL_M2 = 0.36


def write_map(path: Path, ids: np.ndarray, **profile: Any) -> Path:
    write_raster(path, ids.astype(np.uint8), **{"nodata": 255} | profile)
    with rasterio.open(path, "r+") as file:
        file.update_tags(**class_tags(CLASSES))
    return path


def example(path: Path) -> tuple[Path, np.ndarray]:
    """A map of 60 % grass, 30 % water and 1 % sand, the rest without data."""
    ids = np.full((100, 200), 255)
    ids[:60], ids[60:90], ids[90] = 3, 9, 4
    return write_map(path, ids), ids


def test_a_stratified_sample_has_each_class_and_the_area_that_it_stands_for(tmp_path: Path) -> None:
    path, ids = example(tmp_path / "map.tif")
    result = sample(path, tmp_path / "points.gpkg", stratified=True, count=100, min_per_class=10)
    points = geopandas.read_file(tmp_path / "points.gpkg", layer="points")
    assert len(points) == result.places == 100
    assert points.crs == UTM
    assert points["class"].isna().all(), "nobody has looked yet"
    pixels = {"grass": 12_000, "water": 6000, "sand": 200}
    assert {one.name: one.places for one in result.strata} == {"grass": 60, "water": 30, "sand": 10}
    for name, own in points.groupby("stratum"):
        area = pixels[name] * PIXEL_M2 * UTM_DENSITY
        assert own["area_m2"].sum() == pytest.approx(area, rel=1e-3)
        assert own["inclusion"].to_numpy() == pytest.approx(len(own) / pixels[name], rel=1e-3)
    columns, rows = ~TRANSFORM @ (points.geometry.x.to_numpy(), points.geometry.y.to_numpy())
    named = {c.id: c.name for c in CLASSES}
    shown = [named[i] for i in ids[rows.astype(int), columns.astype(int)]]
    assert shown == list(points["stratum"])


def test_filled_in_points_are_labels_that_score_the_map(tmp_path: Path) -> None:
    path, _ = example(tmp_path / "map.tif")
    sample(path, tmp_path / "points.gpkg", stratified=True, count=60)
    points = geopandas.read_file(tmp_path / "points.gpkg", layer="points")
    points["class"] = points["stratum"]
    points.loc[0, "class"] = None  # one that nobody could name
    points.to_file(tmp_path / "points.gpkg", layer="points")
    scores = evaluate(path, tmp_path / "points.gpkg", column="class", boundary_px=0).scores
    assert scores.by_class["iou"]["grass"] > 0.95  # a point at a border labels pixels on both sides


def test_areas_by_the_sample_are_those_of_the_truth_and_not_of_the_map(tmp_path: Path) -> None:
    path, ids = example(tmp_path / "map.tif")
    truth = ids.copy()
    truth[:60, 150:] = 9  # a quarter of what the map calls grass is water
    estimates = []
    for seed in range(8):
        sample(path, tmp_path / "points.gpkg", stratified=True, count=200, seed=seed, overwrite=True)
        points = geopandas.read_file(tmp_path / "points.gpkg", layer="points")
        columns, rows = ~TRANSFORM @ (points.geometry.x.to_numpy(), points.geometry.y.to_numpy())
        is_water = truth[rows.astype(int), columns.astype(int)] == 9
        estimates.append(points["area_m2"][is_water].sum() / points["area_m2"].sum())
    assert np.mean(estimates) == pytest.approx((truth == 9).sum() / (truth != 255).sum(), abs=0.02)


def test_a_random_sample_of_scenes_leaves_out_what_holds_no_data(tmp_path: Path) -> None:
    values = np.full((3, 50, 60), 7, np.uint8)
    values[:, :, 30:] = 0
    one = write_raster(tmp_path / "one.tif", values, nodata=0)
    other = write_raster(
        tmp_path / "other.tif", values, nodata=0, crs="EPSG:4326", transform=from_origin(10, 60, 1e-5, 1e-5)
    )
    result = sample([one, other], tmp_path / "points.gpkg", count=80)
    points = geopandas.read_file(tmp_path / "points.gpkg", layer="points")
    assert points.crs == "EPSG:4326"
    assert "stratum" not in points
    here = points[points["scene"] == "other.tif"]
    assert 0 < len(here) < 80
    assert here.geometry.x.max() < 10 + 30e-5
    assert points["area_m2"].sum() == pytest.approx(result.strata[0].area_m2)


@pytest.mark.parametrize("stratified", [False, True])
def test_windows_are_places_to_be_labelled_as_a_whole(tmp_path: Path, stratified: bool) -> None:
    path, ids = example(tmp_path / "map.tif")
    settings: dict[str, Any] = {"side": 32, "count": 9}
    settings |= {"stratified": True, "min_per_class": 1} if stratified else {}
    sample(path, tmp_path / "places.gpkg", **settings)
    places = geopandas.read_file(tmp_path / "places.gpkg", layer="places")
    labels = geopandas.read_file(tmp_path / "places.gpkg", layer="labels")
    assert len(labels) == 0
    assert not places["done"].any()
    assert list(places["number"]) == list(range(1, 10))
    assert (places["inclusion"] <= 1).all()
    for place in places.itertuples():
        column, row = (round(x) for x in ~TRANSFORM @ (place.geometry.bounds[0], place.geometry.bounds[3]))
        assert (row % 32, column % 32) == (0, 0)
        held = (ids[row : row + 32, column : column + 32] != 255).sum() * PIXEL_M2 * UTM_DENSITY
        assert place.area_m2 * place.inclusion == pytest.approx(held, rel=2e-3)


def test_a_class_of_few_pixels_has_one_point_in_each_and_the_others_take_the_rest(tmp_path: Path) -> None:
    path, ids = example(tmp_path / "map.tif")
    ids[90] = 255
    ids[90, :4] = 4
    write_map(path, ids)
    result = sample(path, tmp_path / "points.gpkg", stratified=True, count=100, min_per_class=10)
    points = geopandas.read_file(tmp_path / "points.gpkg", layer="points")
    assert {one.name: (one.places, one.available) for one in result.strata} == {
        "grass": (64, 12_000),
        "sand": (4, 4),
        "water": (32, 6000),
    }
    assert (points.loc[points["stratum"] == "sand", "inclusion"] == 1).all()
    assert points["inclusion"].max() <= 1
    assert result.notices == ("sand has 4 pixels: all are drawn, at most one place in each",)


def test_a_raster_of_fewer_pixels_than_places_gives_each_of_them(tmp_path: Path) -> None:
    path = write_map(tmp_path / "map.tif", np.full((3, 5), 9))
    result = sample(path, tmp_path / "points.gpkg", count=40)
    points = geopandas.read_file(tmp_path / "points.gpkg", layer="points")
    assert len(points) == result.places == 15
    assert (points["inclusion"] == 1).all()
    assert result.notices == ("15 of 40 places: there are no more pixels that hold data",)


def test_windows_that_are_too_few_and_classes_without_a_window_are_reported(tmp_path: Path) -> None:
    path, _ = example(tmp_path / "map.tif")
    result = sample(path, tmp_path / "places.gpkg", stratified=True, count=50, side=32, min_per_class=2)
    assert result.places == sum(one.places for one in result.strata) == 21
    assert [line.split(":")[0] for line in result.notices] == [
        "no stratum",
        "grass has 14 windows of 32 px",
        "water has 7 windows of 32 px",
        "21 of 50 places",
    ]
    assert "no stratum: sand; a window is counted by the most frequent class of it" in result.notices[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"stratified": True, "count": 10}, "raise count, or lower min_per_class"),
        ({"count": 0}, "count"),
        ({"output": "points.shp"}, "does not end in .gpkg"),
        ({"profile": {"crs": None, "transform": Affine.identity()}}, "has no coordinate system"),
        ({"ids": np.full((9, 9), 255)}, "no pixel holds data"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    path, ids = example(tmp_path / "map.tif")
    if "profile" in settings or "ids" in settings:
        write_map(path, settings.pop("ids", ids), **settings.pop("profile", {}))
    with pytest.raises(GeosegError, match=said) as error:
        sample(path, tmp_path / settings.pop("output", "points.gpkg"), **settings)
    assert "\n" not in str(error.value)


def test_the_command_shows_the_strata(tmp_path: Path) -> None:
    path, _ = example(tmp_path / "map.tif")
    words = ["sample", str(path), "--stratified", "-n", "70", "-o", str(tmp_path / "p.gpkg")]
    shown = CliRunner().invoke(main, words)
    assert shown.exit_code == 0, shown.output
    assert "sand" in shown.output
    as_json = CliRunner().invoke(main, [*words, "--overwrite", "--json"])
    assert sum(one["places"] for one in json.loads(as_json.stdout)["strata"]) == 70
