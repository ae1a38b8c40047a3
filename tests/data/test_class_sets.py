"""Label values that stand for several classes: their indexes, and labels that are read by them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.labelled_tiles import SMALL, write_config
from support.rasters import TRANSFORM, UTM, write_raster

from geoseg.core.errors import LabelError, SpecError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.data.labels.class_sets import class_sets, describe_sets, set_indexes
from geoseg.data.listing import list_rasters
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec, DataSpec, load_train_spec, parse_spec

CLASSES = tuple(
    ClassSpec(id=10 * index, name=name, color="#000000") for index, name in enumerate(("grass", "building", "road"))
)
BUILT = ("building", "road")


def data_of(**settings: Any) -> DataSpec:
    return parse_spec(DataSpec, {"bands": ["value"]} | settings, source="data")


def test_sets_have_indexes_after_the_classes_and_those_that_are_equal_the_same() -> None:
    lists = [BUILT, ("road", "grass"), (20, 10), ("road",), ("grass", "road", "building"), ("road", "road")]
    assert class_sets(CLASSES, lists) == ((1, 2), (0, 2))
    assert list(set_indexes(CLASSES, lists).values()) == [3, 4, 3, 2, IGNORE, 2]
    assert describe_sets(CLASSES, ((1, 2), (0, 2))) == "building or road; grass or road"


def test_unknown_classes_and_too_many_sets_are_one_clear_line() -> None:
    with pytest.raises(SpecError, match="leads to 'roof', among others, which is no class: give some of 0 grass"):
        class_sets(CLASSES, [("building", "roof")])
    many = tuple(ClassSpec(id=index, name=f"c{index}", color="#000000") for index in range(250))
    assert len(class_sets(many, [(0, index) for index in range(1, 5)])) == 4
    with pytest.raises(SpecError, match="250 classes, and 5 lists of classes"):
        class_sets(many, [(0, index) for index in range(1, 6)])


def test_values_of_a_raster_may_stand_for_several_classes_and_so_may_what_is_outside(tmp_path: Path) -> None:
    write_raster(tmp_path / "l.tif", np.uint8([[1, 2, 3, 255]]), nodata=255)
    data = data_of(
        scenes=[{"image": "i.tif", "label": str(tmp_path / "l.tif")}],
        label_values={1: "grass", 2: list(BUILT), 3: ["road"]},
        outside=["grass", "road"],
    )
    grid = PixelGrid(1, 4, TRANSFORM, UTM)
    source = LabelSource(tmp_path / "l.tif", grid, CLASSES, Path("i.tif"), LabelRules.of_data(data))
    with open_labels(source) as labels:
        assert labels.read(Window(0, 0, 1, 4)).tolist() == [[0, 3, 2, 4]]


def test_each_source_may_have_a_legend_and_all_share_the_indexes_of_sets(tmp_path: Path) -> None:
    legends = {"osm": {"label_values": {"house": "building", "other": ["grass", "road"]}, "label_column": "kind"}}
    scenes = [
        {"image": "a.tif", "label": "a.tif", "label_values": {7: list(BUILT)}},
        {"image": "b.tif", "label": "b.tif", "legend": "osm"},
        {"image": "c.tif", "label": "c.tif"},
    ]
    data = data_of(scenes=scenes, legends=legends, label_values={1: "grass"}, label_column="class")
    rules = [LabelRules.of_data(data, one.legend) for one in list_rasters(data)]
    assert [one.column for one in rules] == ["class", "kind", "class"]
    assert [one.values for one in rules] == [
        ((7, BUILT),),
        (("house", "building"), ("other", ("grass", "road"))),
        ((1, "grass"),),
    ]
    assert [one.values_in for one in list_rasters(data)] == [
        "data.scenes[0].label_values",
        "data.legends.osm.label_values",
        "data.label_values",
    ]
    assert {one.class_sets for one in rules} == {(("grass", "road"), BUILT)}
    (tmp_path / "t.csv").write_text("image,label,legend\na,b,osm\nc,d,\n")
    listed = list_rasters(data_of(tiles=str(tmp_path / "t.csv"), legends=legends))
    assert [one.legend.label_column for one in listed] == ["kind", None]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"scenes": [{"image": "a", "label": "b", "legend": "x"}]}, "legend 'x' is none of `legends`: there are none"),
        (
            {
                "scenes": [{"image": "a", "label": "b", "legend": "x", "label_values": {1: "grass"}}],
                "legends": {"x": {}},
            },
            "keep one",
        ),
        ({"images": "a", "labels": "b", "legends": {"x": {}}}, "legends are for `tiles`"),
        (
            {"scenes": [{"image": "a", "label": "b"}], "label_values": {1: []}},
            r"^data: label_values\.1 = \[\]: the list is empty: give the classes",
        ),
        (
            {"scenes": [{"image": "a", "label": "b"}], "label_values": {1: {"a": "b"}}},
            r"^data: label_values\.1: give the name or id of a class",
        ),
    ],
)
def test_legends_that_lead_nowhere_are_refused(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(SpecError, match=error):
        data_of(**settings)


def test_the_column_of_legends_must_be_there_and_name_them(tmp_path: Path) -> None:
    data = data_of(tiles=str(tmp_path / "t.csv"), legends={"osm": {}})
    (tmp_path / "t.csv").write_text("image,label\na,b\n")
    with pytest.raises(LabelError, match=r"has no column legend, which says by which of data\.legends"):
        list_rasters(data)
    (tmp_path / "t.csv").write_text("image,label,legend\na,b,oms\n")
    with pytest.raises(LabelError, match=r"line 2: legend 'oms' is none of data\.legends: give one of osm"):
        list_rasters(data)


def test_a_legend_of_a_row_without_legends_in_the_settings_is_refused_and_empty_cells_are_not(tmp_path: Path) -> None:
    data = data_of(tiles=str(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("image,label,legend\na,b,\nc,d,osm\n")
    with pytest.raises(LabelError, match=r"line 3: legend 'osm' .* give data\.legends, or drop the column legend$"):
        list_rasters(data)
    (tmp_path / "t.csv").write_text("image,label,legend\na,b,\n")
    assert len(list_rasters(data)) == 1
    grouped = data_of(tiles=str(tmp_path / "t.csv"), split={"by": "scene", "group_column": "legend"})
    (tmp_path / "t.csv").write_text("image,label,legend\na,b,osm\n")
    assert [one.group for one in list_rasters(grouped)] == ["osm"]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (
            {"legends": {"osm": {"label_values": {1: "roof"}}}},
            r"data\.legends\.osm\.label_values leads to 'roof', which",
        ),
        ({"legends": {"osm": {"label_values": {1: ["water", "roof"]}}}}, r"osm\.label_values leads to 'roof', among"),
        ({"legends": {"osm": {"outside": "roof"}}}, r"data\.legends\.osm\.outside = 'roof': no such class"),
        ({"label_values": {1: "roof"}}, r"data\.label_values leads to 'roof'"),
        (
            {"tiles": None, "scenes": [{"image": "a", "label": "b", "label_values": {1: "roof"}}]},
            r"data\.scenes\[0\]\.label_values leads to 'roof', which is neither a class",
        ),
    ],
)
def test_classes_that_are_none_are_refused_when_the_config_is_read(
    tmp_path: Path, settings: dict[str, Any], error: str
) -> None:
    with pytest.raises(SpecError, match=error) as found:
        load_train_spec(write_config(tmp_path, data=SMALL["data"] | settings))
    assert "\n" not in str(found.value)
