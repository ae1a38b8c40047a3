"""Suspects of a model: planted errors come first, no label is judged by a model that learnt it, and all is shown."""

import json
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import yaml
from click.testing import CliRunner
from support.labelled_tiles import SMALL, write_config, write_tiles
from support.readers import ROOT
from support.reporters import Heard

from geoseg.cli import main
from geoseg.commands.evaluate_model import evaluate_model
from geoseg.commands.judges import fold_judges, folds_in
from geoseg.commands.train import train
from geoseg.core.errors import LabelError, OutputError, SpecError
from geoseg.core.events import SILENT
from geoseg.models.header import read_spec
from geoseg.spec import EvaluateSpec

CPU: dict[str, Any] = {"device": "cpu", "precision": "fp32"}
PLANTED = {"26": (slice(20, 80), slice(30, 110)), "29": (slice(100, 160), slice(60, 130))}
"""Tiles of the sample data whose labels are changed, and where."""


def alter(path: Path, place: tuple[slice, slice]) -> None:
    """Give the pixels of a place, whatever they are labelled as, the label water; if they are water, forest."""
    with rasterio.open(path, "r+") as file:
        ids = file.read(1)
        ids[place] = np.where(ids[place] == 5, 4, 5)
        file.write(ids, 1)


@pytest.fixture
def sample(tmp_path: Path) -> tuple[Path, dict[str, tuple[slice, slice]]]:
    """A CSV of the sample data's validation tiles, and the two of them that have a planted error, with its place."""
    rows = [line.split(",") for line in (ROOT / "sample_data" / "tiles.csv").read_text().split()[1:]]
    val = [(ROOT / "sample_data" / row[0], ROOT / "sample_data" / row[1]) for row in rows if row[2] == "val"]
    places = dict(zip((val[1][0].name, val[4][0].name), PLANTED.values(), strict=True))
    lines = ["image,label,split"]
    for image, label in val:
        copy = tmp_path / label.name
        copy.write_bytes(label.read_bytes())
        if image.name in places:
            alter(copy, places[image.name])
        lines.append(f"{image},{copy},val")
    (tmp_path / "tiles.csv").write_text("\n".join(lines))
    return tmp_path / "tiles.csv", places


def test_planted_errors_in_the_sample_tiles_are_among_the_first_and_are_in_the_report(sample, tmp_path):
    tiles, places = sample
    config = ROOT / "configs" / "landcover-naip-rgb.yaml"
    options = ["-m", "default", "--data", str(config), "--tiles", str(tiles), "--boundary-px", "0", "--device", "cpu"]
    paths = {"--suspects": tmp_path / "s.gpkg", "--report": tmp_path / "s.html"}
    done = CliRunner().invoke(main, ["evaluate", *options, *(str(x) for pair in paths.items() for x in pair)])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "s.gpkg") in done.output
    assert "suspect" in done.stderr
    frame = geopandas.read_file(tmp_path / "s.gpkg")
    planted = frame.head(3).query("label == 'water'")  # pasture that the model calls bare land may come between
    assert {*planted["image"]} == {*places}
    for row in planted.itertuples():
        with rasterio.open(ROOT / "sample_data" / "tiles" / "images" / row.image) as image:
            back = ~image.transform
        left, top = back @ (row.geometry.bounds[0], row.geometry.bounds[3])
        right, bottom = back @ (row.geometry.bounds[2], row.geometry.bounds[1])
        rows, cols = places[row.image]
        assert rows.start - 1 <= top < bottom <= rows.stop + 1
        assert cols.start - 1 <= left < right <= cols.stop + 1
    assert frame["score"].is_monotonic_decreasing
    page = (tmp_path / "s.html").read_text("utf-8")
    assert "Labels to look at" in page
    assert f"1. {frame['label'][0]} may be {frame['predicted'][0]}, {frame['image'][0]}" in page


@pytest.fixture
def folds(tmp_path: Path) -> Path:
    """A config of three folds beside its six tiles, in one of which a patch of grass is labelled water."""
    names = ["a", "b", "c", "d", "e", "f"]
    write_tiles(tmp_path, splits=" ".join(names))
    with rasterio.open(tmp_path / "c_labels.tif", "r+") as file:
        ids = file.read(1)
        ids[10:30, 2:14] = 9
        file.write(ids, 1)
    (tmp_path / "tiles.csv").write_text("\n".join(["image,label", *(f"{n}.tif,{n}_labels.tif" for n in names)]))
    return write_config(tmp_path, data=SMALL["data"] | {"split": {"by": "scene", "folds": 3}}, epochs=2)


def test_each_label_is_judged_by_the_fold_that_did_not_learn_it(folds, tmp_path):
    run = tmp_path / "run"
    trained = train(folds, run)
    assert folds_in(run) == 3
    assert folds_in(trained.bundle) == 0
    judges = list(fold_judges(run, None, None, EvaluateSpec(**CPU), SILENT))
    judged = [{r.name for mosaic in one.side.rasters for r in mosaic.rasters} for one in judges]
    assert sorted(name for names in judged for name in names) == [f"{n}.tif" for n in "abcdef"]
    for number, one in enumerate(judges, 1):
        fold = read_spec(run / f"fold_{number}")
        assert one.model.spec == fold
        assert one.spec.data.split.fold == number
    shown = ["Labels to look at" in (run / f"fold_{n}" / "report.html").read_text("utf-8") for n in (1, 2, 3)]
    assert shown == ["c.tif" in names for names in judged], "the report of the fold that did not learn the mistake"
    reporter = Heard()
    found = evaluate_model(run, None, suspects=tmp_path / "s.gpkg", reporter=reporter, **CPU)
    assert found.scores == trained.scores, "pooled over the folds, as in training"
    assert (found.images, found.suspect_count) == (6, 1)
    assert any("each label is judged by the one of 3 models that did not learn it" in line for line in reporter.lines)
    frame = geopandas.read_file(tmp_path / "s.gpkg")
    assert (frame["image"][0], frame["label"][0], frame["predicted"][0]) == ("c.tif", "water", "grass")
    assert frame["area_px"][0] == pytest.approx(240, abs=40)
    done = CliRunner().invoke(
        main, ["evaluate", "-m", str(run), "--suspects", str(tmp_path / "t.geojson"), "--json", "--device", "cpu"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["suspect_count"] == 1


def test_folds_are_not_judged_on_labels_that_have_changed_since(folds, tmp_path):
    run = tmp_path / "run"
    train(folds, run)
    with rasterio.open(tmp_path / "a_labels.tif", "r+") as file:
        file.write(np.full((40, 48), 255, np.uint8), 1)
    with pytest.raises(LabelError, match="learnt other labels than these"):
        evaluate_model(run, None, suspects=tmp_path / "s.gpkg", **CPU)
    with pytest.raises(SpecError, match="leave split out"):
        evaluate_model(run, None, suspects=tmp_path / "s.gpkg", split="train", **CPU)


def test_correcting_what_was_found_and_training_again_is_a_loop(folds, tmp_path):
    train(folds, tmp_path / "run")
    evaluate_model(tmp_path / "run", None, suspects=tmp_path / "s.gpkg", **CPU)
    frame = geopandas.read_file(tmp_path / "s.gpkg")
    frame["correction"] = "grass"
    frame.to_file(tmp_path / "s.gpkg")
    settings = yaml.safe_load(folds.read_text())
    settings["data"]["corrections"] = "s.gpkg"
    folds.write_text(yaml.safe_dump(settings))
    again = train(folds, tmp_path / "again")
    assert any("px get another class" in line for line in again.notices)
    assert evaluate_model(tmp_path / "again", None, suspects=tmp_path / "t.gpkg", **CPU).suspect_count == 0


def test_a_single_model_on_its_training_side_gets_a_notice_and_needs_a_config(tmp_path):
    write_tiles(tmp_path)
    config = write_config(tmp_path, epochs=1)
    run = train(config, tmp_path / "run")
    reporter = Heard()
    evaluate_model(run.bundle, config, split="train", suspects=tmp_path / "s.gpkg", reporter=reporter, **CPU)
    assert any("may be those that this model has learnt" in line for line in reporter.lines)
    with pytest.raises(SpecError, match="no config"):
        evaluate_model(run.bundle, None, suspects=tmp_path / "t.gpkg", **CPU)
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate_model(run.bundle, config, suspects=tmp_path / "s.gpkg", **CPU)


def test_suspects_are_of_models_only(tmp_path):
    done = CliRunner().invoke(
        main, ["evaluate", str(tmp_path / "map.tif"), "--labels", "l.tif", "--suspects", "s.gpkg"]
    )
    assert done.exit_code == 2
