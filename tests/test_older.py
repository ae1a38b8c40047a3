"""What was written by version 0.1 stays readable, and means what it meant: bundles, class rasters, training configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import yaml
from safetensors import safe_open

import geoseg
from geoseg.commands.info import describe_model
from geoseg.core.errors import GeosegError
from geoseg.spec import load_train_spec

OLDER = Path(__file__).parent / "fixtures" / "version-0.1"
BUNDLES = "local", "context"
PLAIN: dict[str, Any] = {"polygons": False, "preview": False, "stac": False, "device": "cpu", "precision": "fp32"}
MOST_DIFFERING = 0.005
"""Share of the pixels that may differ: other processors round otherwise."""


def missing(found: Any, expected: Any, place: str = "") -> list[str]:
    """Where values of JSON are not those that are expected; settings that are new since then do not count."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [line for name in expected for line in missing(found.get(name), expected[name], f"{place}.{name}")]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for i, (one, other) in pairs for line in missing(one, other, f"{place}[{i}]")]
    return [] if found == expected else [f"{place}: {found!r} instead of {expected!r}"]


def values_of(spec: Any) -> Any:
    return json.loads(spec.model_dump_json())


def classes_in(raster: Path) -> np.ndarray:
    with rasterio.open(raster) as dataset:
        return dataset.read(1)


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_says_what_it_said(name: str) -> None:
    bundle = OLDER / f"{name}.safetensors"
    with safe_open(bundle, framework="np") as file:
        written = json.loads(file.metadata()["geoseg"])
    assert written["card"]["training"]["geoseg"] == "0.1.0"
    spec = geoseg.load_model(bundle).spec
    assert missing(values_of(spec), written) == []
    assert spec.temperature == 1


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_finds_what_it_found(tmp_path: Path, name: str) -> None:
    result = geoseg.predict(OLDER / "scene.tif", tmp_path, model=OLDER / f"{name}.safetensors", **PLAIN)
    found, golden = classes_in(result.paths["landcover"]), classes_in(OLDER / f"{name}.tif")
    assert (found != golden).mean() <= MOST_DIFFERING


@pytest.mark.parametrize("name", BUNDLES[1:])
def test_what_lies_around_the_windows_is_needed_for_that(tmp_path: Path, name: str) -> None:
    """Else nobody would notice if a bundle lost its branch."""
    model = OLDER / f"{name}.safetensors"
    result = geoseg.predict(OLDER / "scene.tif", tmp_path, model=model, context=False, **PLAIN)
    assert (classes_in(result.paths["landcover"]) != classes_in(OLDER / f"{name}.tif")).mean() > 2 * MOST_DIFFERING


def test_polygons_of_a_class_raster_know_its_classes(tmp_path: Path) -> None:
    raster = OLDER / "context.tif"
    names = {c.id: c.name for c in geoseg.load_model(OLDER / "context.safetensors").spec.classes}
    result = geoseg.vectorize(raster, tmp_path / "polygons.gpkg")
    table = pyogrio.read_dataframe(result.output, layer="polygons")
    assert set(table["class"]) == {names[i] for i in np.unique(classes_in(raster))}


@pytest.mark.parametrize("name", [*BUNDLES, "settings"])
def test_a_config_means_what_it_says(name: str) -> None:
    written = yaml.safe_load((OLDER / f"{name}.yaml").read_text("utf-8"))
    without_data = {name: value for name, value in written.items() if name != "data"}
    assert missing(values_of(load_train_spec(OLDER / f"{name}.yaml")), without_data) == []


def test_a_config_means_what_it_meant_where_it_says_nothing() -> None:
    """Of a run that is over there is the config with every setting, as it was understood."""
    known = values_of(load_train_spec(OLDER / "resolved.yaml"))
    found = values_of(load_train_spec(OLDER / "settings.yaml"))
    written = yaml.safe_load((OLDER / "resolved.yaml").read_text("utf-8"))
    assert missing(found, known) == []
    assert missing(found, written | {"data": written["data"] | {"scenes": known["data"]["scenes"]}}) == []


def test_a_refinement_of_another_kind_is_refused_in_a_line_that_says_what_to_do() -> None:
    """Its module would find something else in the same weights."""
    with pytest.raises(GeosegError, match=r"refine\.safetensors: .*median_px .* train it again$"):
        geoseg.load_model(OLDER / "refine.safetensors")
    with pytest.raises(GeosegError, match=r"refine\.yaml: .*median_px .* remove it"):
        load_train_spec(OLDER / "refine.yaml")


def test_the_scores_on_an_older_card_have_the_names_of_these():
    scores = describe_model(OLDER / "local.safetensors")["card"]["scores"]
    assert "recall" in scores
    assert "accuracy" not in scores
