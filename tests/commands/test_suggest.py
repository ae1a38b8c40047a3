"""Places to label: ranked, spread, exact to the pixel, not labelled until they are done, and worth their labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import shapely
import torch
from click.testing import CliRunner
from rasterio.transform import from_origin
from support.labelled_tiles import COLORS, write_config, write_tiles
from support.models import make_spec, save_bundle
from support.rasters import TRANSFORM, UTM, write_raster
from support.reporters import Heard

from geoseg.cli import main
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.init import init
from geoseg.commands.suggest import SuggestResult, suggest
from geoseg.commands.train import train
from geoseg.core.errors import GeosegError, LabelError, OutputError, SceneError
from geoseg.data.labelled_areas import open_labelled_areas
from geoseg.geo.georef import grid_of
from geoseg.geo.grid import Window
from geoseg.models.model import Model
from geoseg.spec import load_train_spec

CPU: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


class Slope(torch.nn.Module):
    """Class 1 from 50 on, unsure around it; the third class never."""

    seen = 0

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        self.seen += image.shape[0]
        rise = (image[:, :1].float() - 50) / 5
        return torch.cat([-rise, rise, torch.full_like(rise, -30)], dim=1)


class Skewed(Slope):
    """The same, but what lies in the left half of a window is turned round."""

    def forward(self, image: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        logits = super().forward(image)
        half = logits.shape[-1] // 2
        logits[..., :half] = logits[..., :half].flip(1).roll(1, dims=1)[:, [0, 1, 2]]
        return logits


def model_of(module: torch.nn.Module | None = None, **fields: Any) -> Model:
    return Model(make_spec(3, **fields), (module or Slope()).eval())


def write_scene(path: Path, blocks: np.ndarray, side: int = 32, **profile: Any) -> Path:
    """A scene of squares, each of one value."""
    return write_raster(path, np.kron(blocks, np.ones((side, side))).astype(np.uint8), **profile)


def run(scenes: Any, output: Path, module: torch.nn.Module | None = None, **settings: Any) -> SuggestResult:
    model = settings.pop("model", None) or model_of(module)
    return suggest(scenes, output, model=model, **{"side": 32, "count": 3} | CPU | settings)


def layers(path: Path) -> tuple[Any, Any]:
    return geopandas.read_file(path, layer="places"), geopandas.read_file(path, layer="labels")


SQUARES = np.array([[10, 48, 90, 10], [90, 10, 90, 53], [10, 90, 10, 90]])
"""Two squares near 50, of which the first is the less sure one."""


@pytest.mark.parametrize("by", ["entropy", "margin"])
def test_the_places_are_the_least_sure_windows_on_whole_pixels(tmp_path: Path, by: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", SQUARES)
    result = run(scene, tmp_path / "places.gpkg", count=2, by=by)
    assert [(one.row, one.column, one.height, one.width) for one in result.places] == [
        (0, 32, 32, 32),
        (32, 96, 32, 32),
    ]
    places, labels = layers(tmp_path / "places.gpkg")
    assert list(places["rank"]) == [1, 2]
    assert not places["done"].any()
    assert places["done"].dtype == bool
    assert list(places["scene"]) == ["scene.tif"] * 2
    assert places.crs == labels.crs == UTM
    for place, (row, column) in zip(places.geometry, [(0, 32), (32, 96)], strict=True):
        left, top = TRANSFORM @ (column, row)
        right, bottom = TRANSFORM @ (column + 32, row + 32)
        np.testing.assert_allclose(place.bounds, (left, bottom, right, top), rtol=0, atol=1e-6)
    assert result.places[0].class_shares == {"class 0": 1.0, "class 1": 0.0, "class 2": 0.0}
    assert list(labels["class"]) == ["class 0", "class 1"]
    assert list(places["classes"]) == ["class 0 100%", "class 1 100%"]


def test_the_labels_are_a_coverage_of_their_places_and_those_of_the_prediction(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    scene = write_raster(tmp_path / "scene.tif", random.integers(30, 70, (100, 130)).astype(np.uint8))
    run(scene, tmp_path / "places.gpkg", count=5, min_area="1px")
    places, labels = layers(tmp_path / "places.gpkg")
    assert labels.is_valid.all()
    with rasterio.open(scene) as opened:
        values, back = opened.read(1), ~opened.transform
    for place in places.itertuples():
        inside = labels[labels["place"] == place.rank]
        assert inside.area.sum() == pytest.approx(place.geometry.area)
        assert shapely.union_all(inside.geometry).equals_exact(place.geometry, 1e-6, normalize=True) or (
            shapely.union_all(inside.geometry).symmetric_difference(place.geometry).area < 1e-6
        )
        left, top = (round(x) for x in back @ (place.geometry.bounds[0], place.geometry.bounds[3]))
        window = values[top : top + 32, left : left + 32]
        ones = inside[inside["class"] == "class 1"].area.sum() / place.geometry.area
        assert ones == pytest.approx((window > 50).mean() if (window != 50).all() else ones)


def test_specks_are_merged_unless_all_are_wanted(tmp_path: Path) -> None:
    values = np.full((64, 64), 10, np.uint8)
    values[5, 5], values[20:30, 20:30] = 90, 90
    scene = write_raster(tmp_path / "scene.tif", values)
    merged = run(scene, tmp_path / "a.gpkg", side=64, count=1)
    kept = run(scene, tmp_path / "b.gpkg", side=64, count=1, min_area="1px")
    assert (merged.labels, kept.labels) == (2, 3)


def test_windows_without_data_or_labelled_already_are_left_out(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", SQUARES, nodata=48)
    result = run(scene, tmp_path / "a.gpkg", count=12)
    assert (0, 32) not in [(one.row, one.column) for one in result.places]
    left, top = TRANSFORM @ (96, 32)
    drawn = geopandas.GeoDataFrame(geometry=[shapely.box(left, top - 32 * 0.6, left + 32 * 0.6, top)], crs=UTM)
    drawn.to_crs("EPSG:4326").buffer(1e-6).to_file(tmp_path / "drawn.gpkg")
    drawn_out = run(scene, tmp_path / "b.gpkg", count=12, exclude=[tmp_path / "drawn.gpkg"])
    assert {(one.row, one.column) for one in result.places} - {(32, 96)} == {
        (one.row, one.column) for one in drawn_out.places
    }
    labels = np.full((96, 128), 255, np.uint8)
    labels[32:64, 96:] = 2
    raster = write_raster(tmp_path / "labels.tif", labels)
    by_raster = run(scene, tmp_path / "c.gpkg", count=12, exclude=[raster])
    assert {(one.row, one.column) for one in by_raster.places} == {(one.row, one.column) for one in drawn_out.places}
    with pytest.raises(OutputError, match="no window of 32 px is left"):
        run(scene, tmp_path / "d.gpkg", exclude=[write_raster(tmp_path / "all.tif", np.zeros((96, 128), np.uint8))])


def test_points_and_lines_are_labels_as_wide_as_they_are_read_for_training(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", SQUARES)
    at = [TRANSFORM @ (column, row) for column, row in ((110.5, 40.5), (50.5, 10.5))]
    points = geopandas.GeoDataFrame({"class": ["grass", None]}, geometry=[shapely.Point(xy) for xy in at], crs=UTM)
    points.to_crs("EPSG:4326").to_file(tmp_path / "points.gpkg")
    run(scene, tmp_path / "a.gpkg", count=12, exclude=[tmp_path / "points.gpkg"])
    with (
        rasterio.open(scene) as opened,
        open_labelled_areas([tmp_path / "points.gpkg"], grid_of(opened), scene) as found,
    ):
        mask = found.mask(Window(0, 0, 96, 128))
    assert np.argwhere(mask).mean(axis=0).tolist() == [40, 110], "the point without a class labels nothing"
    assert mask.sum() == 9
    rows = [shapely.LineString([TRANSFORM @ (96, row + 0.5), TRANSFORM @ (128, row + 0.5)]) for row in range(33, 64, 3)]
    geopandas.GeoDataFrame(geometry=rows, crs=UTM).to_file(tmp_path / "lines.gpkg")
    result = run(scene, tmp_path / "b.gpkg", count=12, exclude=[tmp_path / "lines.gpkg"])
    assert (32, 96) not in [(one.row, one.column) for one in result.places]
    assert len(result.places) == 11


def test_a_notice_about_one_of_several_scenes_names_it(tmp_path: Path) -> None:
    scenes = [write_scene(tmp_path / f"{name}.tif", SQUARES) for name in ("one", "other")]
    alone, both = run(scenes[0], tmp_path / "a.gpkg"), run(scenes, tmp_path / "b.gpkg")
    assert alone.notices
    assert not any(line.startswith("one.tif: ") for line in alone.notices)
    assert set(both.notices) == {f"{name}.tif: {line}" for name in ("one", "other") for line in alone.notices}


def test_of_an_earlier_file_of_places_only_what_is_done_is_left_out(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", SQUARES)
    run(scene, tmp_path / "first.gpkg", count=2)
    with pytest.raises(LabelError, match=r"no place of .*first.gpkg is done"):
        run(scene, tmp_path / "second.gpkg", count=2, exclude=[tmp_path / "first.gpkg"])
    places, _ = layers(tmp_path / "first.gpkg")
    places.loc[0, "done"] = True
    places.to_file(tmp_path / "first.gpkg", layer="places")
    second = run(scene, tmp_path / "second.gpkg", count=2, exclude=[tmp_path / "first.gpkg"])
    assert (second.places[0].row, second.places[0].column) == (32, 96)
    assert (0, 32) not in [(one.row, one.column) for one in second.places]


def test_what_somebody_has_labelled_is_never_replaced(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", SQUARES)
    run(scene, tmp_path / "p.gpkg")
    run(scene, tmp_path / "p.gpkg", overwrite=True)
    with pytest.raises(OutputError, match="exists: pass --overwrite"):
        run(scene, tmp_path / "p.gpkg", resume=True)
    places, _ = layers(tmp_path / "p.gpkg")
    places.loc[1, "done"] = True
    places.to_file(tmp_path / "p.gpkg", layer="places")
    with pytest.raises(OutputError, match="holds 1 place that somebody has labelled"):
        run(scene, tmp_path / "p.gpkg", overwrite=True)


def test_several_scenes_share_one_list_and_one_system(tmp_path: Path) -> None:
    one = write_scene(tmp_path / "one.tif", np.array([[10, 46]]))
    other = write_scene(
        tmp_path / "other.tif", np.array([[49, 90]]), transform=from_origin(310_000, 4_300_000, 0.6, 0.6)
    )
    far = write_scene(
        tmp_path / "far.tif",
        np.array([[90, 52]]),
        crs="EPSG:32618",
        transform=from_origin(300_000, 4_300_000, 0.6, 0.6),
    )
    same = run([one, other], tmp_path / "same.gpkg", count=2)
    assert [Path(place.scene).name for place in same.places] == ["other.tif", "one.tif"]
    assert layers(tmp_path / "same.gpkg")[0].crs == UTM
    heard = Heard()
    mixed = run([one, other, far], tmp_path / "mixed.gpkg", count=3, reporter=heard)
    assert [Path(place.scene).name for place in mixed.places] == ["other.tif", "far.tif", "one.tif"]
    places, labels = layers(tmp_path / "mixed.gpkg")
    assert places.crs == labels.crs == "EPSG:4326"
    assert any("several coordinate systems" in line for line in heard.lines)
    left, top = from_origin(300_000, 4_300_000, 0.6, 0.6) @ (32, 0)
    back = places.to_crs("EPSG:32618").geometry[1]
    np.testing.assert_allclose(back.bounds, (left, top - 19.2, left + 19.2, top), rtol=0, atol=1e-3)


def test_disagreement_ranks_what_looks_otherwise_from_another_side(tmp_path: Path) -> None:
    blocks = np.full((4, 4), 90)
    blocks[:, 1] = 10
    scene = write_scene(tmp_path / "scene.tif", blocks)
    assert all(one.uncertainty == 0 for one in run(scene, tmp_path / "a.gpkg", by="disagreement").places)
    skewed = run(scene, tmp_path / "b.gpkg", Skewed(), by="disagreement", tile=128, overlap=0)
    assert max(one.uncertainty for one in skewed.places) == pytest.approx(2 / 3)


def test_a_stopped_search_goes_on_where_it_was(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif", np.tile(SQUARES, (4, 1)))
    whole = run(scene, tmp_path / "whole.gpkg", tile=64, overlap=16)

    class Stop(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "predicting" and 3 * total < 4 * done < 4 * total:  # some tile rows are on the disk by then
            raise Stop

    with pytest.raises(Stop):
        run(scene, tmp_path / "p.gpkg", tile=64, overlap=16, reporter=Heard(stop))
    assert not (tmp_path / "p.gpkg").exists()
    module = Slope()
    heard = Heard()
    resumed = run(scene, tmp_path / "p.gpkg", module, tile=64, overlap=16, resume=True, reporter=heard)
    assert any(line.startswith("going on with an unfinished run") for line in heard.lines)
    assert resumed.places == whole.places
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p.gpkg", "scene.tif", "whole.gpkg"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"by": "entropie"}, "did you mean 'entropy'"),
        ({"crf": True}, "leave it out"),
        ({"devices": "2"}, "single device"),
        ({"output": "places.shp"}, r"does not end in \.gpkg"),
        ({"exclude": ["none.gpkg"]}, "cannot read"),
        ({"min_valid": 2.0}, "min_valid"),
    ],
)
def test_what_makes_no_sense_is_one_clear_line(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    scene = write_scene(tmp_path / "scene.tif", SQUARES)
    with pytest.raises(GeosegError, match=said) as error:
        run(scene, tmp_path / settings.pop("output", "places.gpkg"), **settings)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "places.gpkg").exists()


def test_a_scene_without_coordinates_is_refused(tmp_path: Path) -> None:
    scene = write_raster(tmp_path / "scene.tif", np.zeros((64, 64), np.uint8), crs=None)
    with pytest.raises(SceneError, match="has no coordinate system"):
        run(scene, tmp_path / "places.gpkg")


# ----------------------------------------------------------------------------------------------------------- the loop


def dry_scene(folder: Path) -> tuple[Path, np.ndarray]:
    """A scene of grass, water and dry grass, which is nearly as blue as it is green; and the truth (h, w)."""
    rng = np.random.default_rng(3)
    kinds = np.kron(np.array([[0, 1, 0, 2], [1, 0, 2, 1], [0, 1, 1, 0]]), np.ones((32, 32), int))
    colors = np.concatenate([COLORS, [[130, 120, 125]]])
    image = np.moveaxis(colors[kinds], 2, 0) + rng.integers(0, 30, (3, *kinds.shape))
    place = {"crs": "EPSG:32631", "transform": from_origin(5000, 0, 0.5, 0.5)}
    scene = write_raster(folder / "scene.tif", image.astype(np.uint8), **place)
    truth = np.array([3, 9, 3], np.uint8)[kinds]
    write_raster(folder / "truth.tif", truth, **place)
    return scene, truth


def correct(path: Path, truth: np.ndarray, scene: Path) -> None:
    """Do as an analyst would: give each polygon the class that most of it is, and tick the places."""
    places, labels = layers(path)
    with rasterio.open(scene) as opened:
        back = ~opened.transform
    for i, shape in enumerate(labels.geometry):
        x, y = back @ (shape.representative_point().x, shape.representative_point().y)
        labels.loc[i, "class"] = {3: "grass", 9: "water"}[int(truth[int(y), int(x)])]
    places["done"] = True
    places.to_file(path, layer="places")
    labels.to_file(path, layer="labels")


def test_corrected_places_teach_a_model_what_it_did_not_know(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    config = write_config(tmp_path)
    train(config, tmp_path / "first")
    scene, truth = dry_scene(tmp_path)
    places = tmp_path / "places.gpkg"
    found = suggest(scene, places, model=tmp_path / "first", side=32, count=2, **CPU)
    assert {(one.row, one.column) for one in found.places} == {(0, 96), (32, 64)}, "the dry grass is what is new"

    with (tmp_path / "tiles.csv").open("a") as rows:
        rows.write("\nscene.tif,places.gpkg,train")
    with pytest.raises(LabelError, match=r"no place of .*places.gpkg is done"):
        train(config, tmp_path / "untaught", init_from=tmp_path / "first")
    correct(places, truth, scene)
    train(config, tmp_path / "second", init_from=tmp_path / "first", epochs=10)

    (tmp_path / "truth.csv").write_text("image,label,split\nscene.tif,truth.tif,val")
    before, after = (
        evaluate_model(tmp_path / run, config, data=tmp_path / "truth.csv", split="val", **CPU).scores.overall["miou"]
        for run in ("first", "second")
    )
    assert before < 0.75
    assert after > before + 0.15


def test_a_config_for_corrected_places_is_written_and_goes_on_from_the_model(tmp_path: Path) -> None:
    write_tiles(tmp_path)
    train(write_config(tmp_path), tmp_path / "first")
    scene, truth = dry_scene(tmp_path)
    suggest(scene, tmp_path / "places.gpkg", model=tmp_path / "first", side=32, count=8, **CPU)
    with pytest.raises(LabelError, match="is done"):
        init(scene, tmp_path / "places.gpkg", tmp_path / "next.yaml", init_from=tmp_path / "first")
    correct(tmp_path / "places.gpkg", truth, scene)
    result = init(scene, tmp_path / "places.gpkg", tmp_path / "next.yaml", init_from=tmp_path / "first")
    assert result.classes == ("grass", "water")
    assert result.split == "polygons"
    assert [c.id for c in load_train_spec(tmp_path / "next.yaml").classes] == [3, 9], "the ids of the model"
    done = train(tmp_path / "next.yaml", tmp_path / "next", epochs=1, device="cpu")
    assert done.scores is not None


def test_the_command_says_how_to_go_on(tmp_path: Path) -> None:
    scene = write_raster(
        tmp_path / "scene.tif", np.random.default_rng(0).integers(0, 255, (3, 64, 64)).astype(np.uint8)
    )
    bundle = save_bundle(tmp_path / "m.safetensors", bands=("red", "green", "blue"))
    common = [
        "suggest",
        str(scene),
        "-m",
        str(bundle),
        "-o",
        str(tmp_path / "p.gpkg"),
        "--side",
        "32",
        "--device",
        "cpu",
    ]
    said = CliRunner().invoke(main, [*common, "--count", "2"])
    assert said.exit_code == 0, said.output
    assert f"geoseg init {scene} {tmp_path / 'p.gpkg'} --init-from {bundle} -o next.yaml" in said.output
    again = CliRunner().invoke(main, [*common, "--count", "2"])
    assert again.exit_code == 1
    assert "exists: pass --overwrite" in again.output
    as_json = CliRunner().invoke(main, [*common, "--count", "9", "--overwrite", "--json"])
    values = json.loads(as_json.stdout)
    assert len(values["places"]) == values["windows"] == 4
    assert set(pandas.DataFrame(values["places"])["height"]) == {32}
