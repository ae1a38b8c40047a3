"""Licence and credits of a model reach whoever opens one of its results alone, and what is made of these."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import rasterio
from click.testing import CliRunner
from PIL import Image
from support.models import echo_model, save_bundle
from support.rasters import write_raster
from support.reporters import Heard
from support.stac import validate

from geoseg.cli import main
from geoseg.commands.predict import PredictResult, predict
from geoseg.commands.vectorize import vectorize
from geoseg.spec import ModelCard

CARD = ModelCard(licence="CC BY 4.0", credits="Forstamt Wälder\n<& Söhne>")
CREDITS = "Forstamt Wälder <& Söhne>"
STATEMENT = f"made with the model test; licence of its weights: CC BY 4.0; credits: {CREDITS}"
TAGS = {"GEOSEG_LICENCE": "CC BY 4.0", "GEOSEG_CREDITS": CREDITS, "TIFFTAG_COPYRIGHT": STATEMENT}
DESCRIBED = (".geojson", ".fgb", ".pmtiles", ".mbtiles")
RESTRICTION = "licence of the model test: CC-BY-NC-4.0; what is made with it is for non-commercial use only"
UNKNOWN = "nothing says under which licence the weights of the model test are"


def predicted(folder: Path, values: np.ndarray, card: ModelCard = CARD, **settings: Any) -> PredictResult:
    scene = write_raster(folder / "s.tif", values)
    return predict(scene, folder / "out", model=echo_model(card=card), device="cpu", **settings)


@pytest.fixture
def result(tmp_path: Path, class_values: Any) -> PredictResult:
    rasters = {kind: tmp_path / f"{kind}.tif" for kind in ("confidence", "scores", "uncertainty")}
    return predicted(tmp_path, class_values(40, 40), instances=("class 1",), **rasters)


def tags_of(path: Path) -> dict[str, str]:
    with rasterio.open(path) as raster:
        return {name: text for name, text in raster.tags().items() if name in TAGS}


def test_all_rasters_have_them_as_tags(result):
    for kind in ("landcover", "confidence", "scores", "uncertainty", "instances"):
        assert tags_of(result.paths[kind]) == TAGS, kind


def test_copyright_is_the_field_of_tiff_that_other_programs_read(result):
    with Image.open(result.paths["landcover"]) as image:
        assert image.tag_v2[33432] in (STATEMENT, STATEMENT.encode().decode("latin-1"))


def test_a_geopackage_has_them_also_when_it_is_made_later(tmp_path, result):
    later = tmp_path / "later.gpkg"
    vectorize(result.paths["landcover"], later, instances=("class 1",))
    for path in (result.paths["polygons"], later):
        metadata = pyogrio.read_info(path, layer=path.stem)["layer_metadata"]
        assert metadata.items() >= TAGS.items()
        with sqlite3.connect(path) as base:
            (described,) = base.execute("SELECT description FROM gpkg_contents").fetchone()
        assert described.splitlines()[-1] == STATEMENT
    assert tags_of(tmp_path / "later_instances.tif") == TAGS


@pytest.mark.parametrize("extension", DESCRIBED)
def test_formats_without_metadata_have_the_sentence_in_their_description(tmp_path, result, extension):
    path = tmp_path / f"later{extension}"
    vectorize(result.paths["landcover"], path)
    found = pyogrio.read_info(path)
    texts = [*(found["layer_metadata"] or {}).values(), *(found["dataset_metadata"] or {}).values()]
    assert any(STATEMENT in text.splitlines() for text in texts)


def test_geoparquet_has_them_in_its_metadata(tmp_path, result):
    vectorize(result.paths["landcover"], tmp_path / "later.parquet")
    metadata = pyarrow.parquet.read_metadata(tmp_path / "later.parquet").metadata
    assert {name.decode(): text.decode() for name, text in metadata.items()}.items() >= TAGS.items()


def test_maps_of_mbtiles_show_them_as_attribution(tmp_path, result):
    vectorize(result.paths["landcover"], tmp_path / "later.mbtiles")
    with sqlite3.connect(tmp_path / "later.mbtiles") as base:
        (shown,) = base.execute("SELECT value FROM metadata WHERE name = 'attribution'").fetchone()
    assert shown.endswith("Forstamt Wälder &lt;&amp; Söhne&gt;")


def test_the_picture_and_the_item_have_them(result):
    with Image.open(result.paths["preview"]) as picture:
        assert picture.text["Copyright"] == STATEMENT
    item = json.loads(result.paths["item"].read_text())
    assert item["properties"]["geoseg:licence"] == CARD.licence
    assert item["properties"]["geoseg:credits"] == CARD.credits
    (link,) = [one for one in item["links"] if one["rel"] == "license"]
    assert link["href"] == "https://spdx.org/licenses/CC-BY-4.0.html"
    validate(item)


def test_the_items_model_has_stacs_own_field(tmp_path, class_values):
    scene, bundle = write_raster(tmp_path / "s.tif", class_values(40, 40)), tmp_path / "m.safetensors"
    for licence, said in (("CC BY 4.0", "CC-BY-4.0"), ("ask us", "other")):
        save_bundle(bundle, card=ModelCard(licence=licence))
        plain = {"polygons": False, "preview": False, "device": "cpu", "overwrite": True}
        item = json.loads(predict(scene, tmp_path / "out", model=bundle, **plain).paths["item"].read_text())
        assert item["assets"]["model"]["license"] == said
        assert [one["rel"] for one in item["links"]].count("license") == (said != "other")
        validate(item)


def test_a_model_without_a_card_leaves_no_trace(tmp_path, class_values):
    result = predicted(tmp_path, class_values(40, 40), ModelCard())
    assert tags_of(result.paths["landcover"]) == {}
    item = json.loads(result.paths["item"].read_text())
    assert not {"geoseg:licence", "geoseg:credits"} & item["properties"].keys()
    assert not [line for line in result.notices if "licence" in line]


@pytest.mark.parametrize(
    ("card", "line"),
    [
        (ModelCard(licence="CC-BY-NC-4.0"), RESTRICTION),
        (ModelCard(training={"imported": {"source": "x"}}), UNKNOWN),
    ],
)
def test_a_licence_that_restricts_is_said_once_and_in_the_results(tmp_path, class_values, card, line):
    heard = Heard()
    result = predicted(tmp_path, class_values(40, 40), card, reporter=heard)
    assert sum(line in one for one in heard.lines) == 1
    assert sum(line in one for one in result.notices) == 1
    item = json.loads(result.paths["item"].read_text())
    assert sum(line in one for one in item["properties"]["geoseg:notices"]) == 1


def test_tags_do_not_depend_on_the_run(tmp_path, class_values):
    values, plain = class_values(90, 70), {"polygons": False, "preview": False, "stac": False, "tile": 32}
    scene, model = write_raster(tmp_path / "s.tif", values), echo_model(card=CARD)
    found = [predict(scene, tmp_path / name, model=model, device="cpu", **plain) for name in "ab"]
    one, other = (result.paths["landcover"].read_bytes() for result in found)
    assert one == other


def test_vectorize_passes_on_what_another_program_says(tmp_path):
    with rasterio.open(write_raster(tmp_path / "c.tif", np.ones((20, 20), np.uint8)), "r+") as raster:
        raster.update_tags(TIFFTAG_COPYRIGHT="© Survey of Nowhere")
    vectorize(tmp_path / "c.tif", tmp_path / "c.gpkg")
    assert pyogrio.read_info(tmp_path / "c.gpkg")["layer_metadata"]["TIFFTAG_COPYRIGHT"] == "© Survey of Nowhere"


def info(path: Path) -> tuple[str, dict[str, Any]]:
    shown = CliRunner().invoke(main, ["info", str(path)], catch_exceptions=False).stdout
    return shown, json.loads(CliRunner().invoke(main, ["info", str(path), "--json"], catch_exceptions=False).stdout)


def test_info_shows_them_of_a_raster_and_of_polygons(tmp_path, result):
    shown, values = info(result.paths["landcover"])
    assert f"\nlicence: {CARD.licence}\ncredits: {CREDITS}\ncopyright: {STATEMENT}\n" in shown
    assert values["licence"] == CARD.licence
    for extension in (".gpkg", ".parquet"):
        path = tmp_path / f"later{extension}"
        vectorize(result.paths["landcover"], path)
        shown, values = info(path)
        assert f"    licence: {CARD.licence}\n    credits: {CREDITS}\n" in shown
        layer = values["layers"]["later"]
        assert (layer["licence"], layer["credits"], layer["copyright"]) == (CARD.licence, CREDITS, STATEMENT)
        assert layer["notices"] == list(result.notices)
        assert "class_id" in layer["columns"]
        assert layer["features"] > 0


@pytest.mark.parametrize("extension", [*DESCRIBED, ".shp"])
def test_info_shows_the_description_of_other_polygons(tmp_path, result, extension):
    path = tmp_path / f"later{extension}"
    vectorize(result.paths["landcover"], path)
    (layer,) = info(path)[1]["layers"].values()
    assert (STATEMENT in layer.get("description", [])) == (extension != ".shp")


def test_info_of_a_broken_vector_file_is_one_line(tmp_path):
    for extension in (".gpkg", ".parquet"):
        (tmp_path / f"x{extension}").write_bytes(b"nothing")
        done = CliRunner().invoke(main, ["info", str(tmp_path / f"x{extension}")])
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "cannot be read" in done.stderr
