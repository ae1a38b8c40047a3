"""Labels with values beyond a byte, with whole numbers as floats, and with names that stand in the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from support.rasters import write_raster

from geoseg.core.errors import LabelError, SpecError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.geo.georef import grid_of
from geoseg.geo.grid import Window
from geoseg.raster.legend import Legend
from geoseg.raster.legends.attribute_table import ATTRIBUTE_TABLE
from geoseg.raster.legends.clr import CLR
from geoseg.spec import IGNORE, ClassSpec, TrainSpec, load_yaml, parse_spec

URBAN = ClassSpec(id=0, name="Urban", color="#e6004d", code=111)
FOREST = ClassSpec(id=1, name="Forest", color="#00a600", code=311)
ROOT = Path(__file__).resolve().parents[2]


def read(path: Path, *classes: ClassSpec, rules: dict[Any, Any] | None = None) -> list[int]:
    with rasterio.open(path) as dataset:
        source = LabelSource(path, grid_of(dataset), classes or (URBAN, FOREST), path, LabelRules.of(rules or {}))
    with open_labels(source) as labels:
        found: list[int] = labels.read(Window(0, 0, 1, source.grid.width))[0].tolist()
    return found


def row(path: Path, values: list[float], dtype: str = "int16", **profile: Any) -> Path:
    return write_raster(path, np.array([values], dtype), **profile)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint32", "int32", "int64", "uint64", "float32", "float64"])
def test_codes_of_any_type_stand_for_their_classes(tmp_path, dtype):
    assert read(row(tmp_path / "l.tif", [111, 311, 255, 999], dtype, nodata=999)) == [0, 1, IGNORE, IGNORE]
    assert read(row(tmp_path / "r.tif", [10_000, 5], dtype), rules={10_000: "Urban", "other": "Forest"}) == [
        0,
        1,
    ]


def test_what_is_not_finite_is_not_labelled_and_a_fraction_is_an_error(tmp_path):
    values = [111, np.nan, np.inf, -3.4028234663852886e38]
    labels = row(tmp_path / "l.tif", values, "float32", nodata=-3.4028234663852886e38)
    assert read(labels) == [0, IGNORE, IGNORE, IGNORE]
    with pytest.raises(LabelError, match=r"l\.tif: 111\.5 is no whole number: labels are class ids"):
        read(row(tmp_path / "l.tif", [111, 111.5], "float64"))


def test_a_negative_nodata_value_is_not_labelled(tmp_path):
    assert read(row(tmp_path / "l.tif", [-32768, 111], nodata=-32768)) == [IGNORE, 0]


def test_names_in_the_file_decide_where_they_are_those_of_classes(tmp_path):
    labels = row(tmp_path / "l.tif", [1, 2, 3], "uint8")
    ATTRIBUTE_TABLE.example(labels, Legend({1: "forest", 2: "Urban"}, {1: "#000000", 2: "#000000"}))
    classes = ClassSpec(id=1, name="Urban", color="#e6004d"), ClassSpec(id=3, name="Other", color="#00a600")
    assert read(labels, *classes, ClassSpec(id=0, name="Forest", color="#00a600")) == [2, 0, 1]


def test_a_class_that_the_file_calls_otherwise_has_no_other_number(tmp_path):
    labels = row(tmp_path / "l.tif", [1, 2], "uint8")
    CLR.example(labels, Legend({1: "Meadow", 2: "Urban"}, {1: "#000000", 2: "#000000"}))
    with pytest.raises(LabelError, match=r"class id 1 \(Meadow\) is unknown"):
        read(labels, ClassSpec(id=1, name="Urban", color="#e6004d"), FOREST)


def test_rules_may_use_the_names_of_the_file(tmp_path):
    labels = row(tmp_path / "l.tif", [21, 22, 23, 24])
    CLR.example(labels, Legend({21: "Beech", 22: "Oak", 23: "Road"}, dict.fromkeys((21, 22, 23), "#000000")))
    rules = {"beech": "Forest", "Oak": "Forest", "Road": "Urban", 24: "ignore"}
    assert read(labels, rules=rules) == [1, 1, 0, IGNORE]
    assert read(labels, rules={"Road": "Urban", "other": "Forest"}) == [1, 1, 0, 1]


def test_colours_may_stand_in_an_attribute_table(tmp_path):
    labels = row(tmp_path / "l.tif", [1111, 1112])
    ATTRIBUTE_TABLE.example(labels, Legend({1111: "a", 1112: "b"}, {1111: "#0ac80a", 1112: "#c80a0a"}))
    assert read(labels, rules={"#0ac80a": "Forest", "#c80a0a": "Urban"}) == [1, 0]


# ---------------------------------------------------------------------------------------------------------- settings


def spec_of(*classes: dict[str, Any]) -> TrainSpec:
    known = load_yaml(ROOT / "configs" / "sample.yaml")
    return parse_spec(TrainSpec, known | {"classes": list(classes)}, source="config")


def test_classes_with_ids_beyond_a_byte_are_numbered_and_keep_their_codes():
    spec = spec_of(*({"id": c.code, "name": c.name, "color": c.color} for c in (URBAN, FOREST)))
    assert spec.classes == (URBAN, FOREST)
    assert parse_spec(TrainSpec, spec.model_dump(), source="again") == spec


def test_ids_of_bytes_stay_and_have_no_code():
    spec = spec_of({"id": 7, "name": "a", "color": "#000000"}, {"id": 3, "name": "b", "color": "#000000"})
    assert [(c.id, c.label_value) for c in spec.classes] == [(7, 7), (3, 3)]
    assert "code" not in spec.classes[0].model_dump()


def test_two_classes_of_one_code_are_refused():
    with pytest.raises(SpecError, match="two classes share a code"):
        spec_of({"id": 311, "name": "a", "color": "#000000"}, {"id": 311, "name": "b", "color": "#000000"})
