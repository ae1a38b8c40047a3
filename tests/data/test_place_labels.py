"""Labels in places: of the image that a place names, where it is done, and as whole places on the sides of a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from support.rasters import TRANSFORM, UTM

from geoseg.core.errors import LabelError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.data.labels.places import count_done, known_classes
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec

CLASSES = (ClassSpec(id=7, name="grass", color="#00ff00"), ClassSpec(id=2, name="water", color="#0000ff"))
GRID = PixelGrid(20, 30, TRANSFORM, CRS.from_user_input(UTM))
ALL = Window(0, 0, 20, 30)


def box(row: int, column: int, height: int, width: int) -> Any:
    return shapely.box(*GRID.box(Window(row, column, height, width)))


def write(path: Path, places: dict[str, list[Any]], labels: list[tuple[str | None, Any]], crs: str = UTM) -> Path:
    frames = {
        "places": geopandas.GeoDataFrame(places, crs=UTM),
        "labels": geopandas.GeoDataFrame(
            {"class": [one for one, _ in labels], "geometry": [s for _, s in labels]}, crs=UTM
        ),
    }
    for name, frame in frames.items():
        frame.to_crs(crs).to_file(path, layer=name)
    return path


def two_places(
    path: Path, done: tuple[bool, bool], scenes: tuple[str, str] = ("a.tif", "a.tif"), crs: str = UTM
) -> Path:
    places = {"done": list(done), "scene": list(scenes), "geometry": [box(2, 3, 8, 8), box(10, 15, 8, 8)]}
    labels = [("grass", box(2, 3, 8, 3)), ("water", box(2, 6, 8, 5)), ("grass", box(10, 15, 8, 8))]
    return write(path, places, labels, crs)


def read(path: Path, image: str = "a.tif", **rules: Any) -> np.ndarray:
    with open_labels(LabelSource(path, GRID, CLASSES, Path(image), LabelRules(**rules))) as labels:
        return labels.read(ALL)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_pixels_are_labelled_in_places_that_are_done_and_nowhere_else(tmp_path: Path, crs: str) -> None:
    found = read(two_places(tmp_path / "p.gpkg", (True, False), crs=crs))
    wanted = np.full((20, 30), IGNORE, np.uint8)
    wanted[2:10, 3:6], wanted[2:10, 6:11] = 0, 1
    np.testing.assert_array_equal(found, wanted)


def test_a_polygon_drawn_over_others_counts_within_the_place_alone(tmp_path: Path) -> None:
    places = {"done": [True], "scene": ["a.tif"], "geometry": [box(2, 3, 8, 8)]}
    path = write(
        tmp_path / "p.gpkg", places, [("grass", box(2, 3, 8, 8)), ("water", box(0, 0, 5, 6)), (None, box(9, 3, 1, 8))]
    )
    found = read(path)
    wanted = np.full((20, 30), IGNORE, np.uint8)
    wanted[2:9, 3:11], wanted[2:5, 3:6] = 0, 1
    np.testing.assert_array_equal(found, wanted)


def test_a_place_labels_the_image_that_it_names(tmp_path: Path) -> None:
    path = two_places(tmp_path / "p.gpkg", (True, True), ("a.tif", "b.tif"))
    assert (read(path, "folder/a.tif")[10:18, 15:23] == IGNORE).all()
    assert (read(path, "b.tif")[10:18, 15:23] == 0).all()
    assert (read(path, "maps/b_landcover.tif")[10:18, 15:23] == 0).all(), "the map of a scene shows its places"
    with pytest.raises(LabelError, match=r"those near it are of a.tif, b.tif: correct their column scene"):
        read(path, "c.tif")
    assert (read(two_places(tmp_path / "any.gpkg", (True, True), ("", "")), "c.tif") != IGNORE).sum() == 128


def test_an_image_without_a_place_that_is_done_has_no_label_but_a_file_without_any_is_refused(tmp_path: Path) -> None:
    path = two_places(tmp_path / "p.gpkg", (True, False), ("a.tif", "b.tif"))
    assert (read(path, "b.tif") == IGNORE).all()
    with pytest.raises(LabelError, match=r"no place of .*none.gpkg is done: correct the labels in some"):
        read(two_places(tmp_path / "none.gpkg", (False, False)))


def test_features_are_whole_places_of_the_class_that_most_of_each_is(tmp_path: Path) -> None:
    path = two_places(tmp_path / "p.gpkg", (True, True))
    with open_labels(LabelSource(path, GRID, CLASSES, Path("a.tif"))) as labels:
        features = labels.features()
    assert len(features.shapes) == len(set(features.keys)) == 2
    assert features.indexes.tolist() == [1, 0]
    assert features.shapes[0].equals(box(2, 3, 8, 8))


def test_the_layer_may_be_named_and_another_one_is_read_as_polygons(tmp_path: Path) -> None:
    path = two_places(tmp_path / "p.gpkg", (True, False))
    np.testing.assert_array_equal(read(path, layer="labels"), read(path))
    with pytest.raises(LabelError, match="has the columns"):
        read(path, layer="places")


def test_the_file_counts_what_is_done_and_may_have_lost_its_classes(tmp_path: Path) -> None:
    path = two_places(tmp_path / "p.gpkg", (True, False))
    assert count_done(path) == (1, 2)
    assert known_classes(path) == ()
