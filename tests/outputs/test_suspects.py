"""The file of suspects opens anywhere, and goes back into training as it is."""

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from support.models import class_specs
from support.rasters import TRANSFORM, UTM, write_raster

from geoseg.core.errors import OutputError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.outputs.suspects import Suspect, check_suspects_file, check_systems, write_suspects
from geoseg.spec import IGNORE

CLASSES = class_specs(3)
COLUMNS = [
    "rank", "label", "predicted", "confidence", "self_confidence", "score", "area_px", "area_m2", "image", "correction",
]  # fmt: skip
PLACE = shapely.Polygon([(2, 3), (12, 3), (12, 9), (6, 9), (6, 6), (2, 6)])
"""Pixels of the suspect: columns and rows."""


def suspect(crs: Any = UTM, **fields: Any) -> Suspect:
    transform = TRANSFORM if crs else None
    shape = (
        PLACE
        if transform is None
        else shapely.transform(PLACE, lambda xy: np.array([transform @ tuple(p) for p in xy]))
    )
    values = {
        "label": 0,
        "predicted": 2,
        "confidence": 0.9,
        "self_confidence": 0.1,
        "score": 4.5,
        "pixels": 48,
        "area_m2": 12.0,
    }
    return Suspect(**values | {"image": "image.tif", "shape": shape, "crs": crs and CRS.from_user_input(crs)} | fields)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb", "shp", "parquet"])
def test_a_written_file_ignores_exactly_its_pixels_as_corrections(tmp_path, ending):
    path = tmp_path / f"suspects.{ending}"
    assert write_suspects([suspect(), suspect(label=1)], CLASSES, path) == ()
    label = write_raster(tmp_path / "labels.tif", np.ones((20, 30), np.uint8))
    grid = PixelGrid(20, 30, TRANSFORM, CRS.from_user_input(UTM))
    source = LabelSource(label, grid, tuple(CLASSES), Path("image.tif"), LabelRules(corrections=(path,)))
    expected = np.ones((20, 30), np.uint8)
    expected[3:9, 2:12] = IGNORE
    expected[6:9, 2:6] = 1
    with open_labels(source) as labels:
        np.testing.assert_array_equal(labels.read(Window(0, 0, 20, 30)), expected)


def test_the_columns_say_what_was_labelled_and_what_is_seen(tmp_path):
    write_suspects([suspect(), suspect(label=1, image="b.tif", area_m2=None)], CLASSES, tmp_path / "s.gpkg")
    frame = geopandas.read_file(tmp_path / "s.gpkg")
    assert [*frame.columns] == [*COLUMNS, "geometry"]
    assert frame.crs.to_string() == UTM
    assert [*frame["rank"]] == [1, 2]
    assert [*frame["label"]] == ["class 0", "class 1"]
    assert [*frame["predicted"]] == ["class 2", "class 2"]
    assert frame["correction"].isna().all()
    assert frame["area_m2"].isna().tolist() == [False, True]


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb", "shp", "parquet"])
def test_no_suspects_give_an_empty_layer_with_the_same_columns(tmp_path, ending):
    path = tmp_path / f"none.{ending}"
    write_suspects([], CLASSES, path)
    if ending == "parquet":
        assert len(geopandas.read_parquet(path)) == 0
    else:
        assert geopandas.read_file(path).empty


def test_images_of_several_systems_meet_in_degrees(tmp_path):
    (notice,) = write_suspects([suspect(), suspect(crs="EPSG:32633")], CLASSES, tmp_path / "s.gpkg")
    assert "longitude and latitude" in notice
    frame = geopandas.read_file(tmp_path / "s.gpkg")
    assert frame.crs.to_string() == "EPSG:4326"
    assert frame.total_bounds[2] <= 180


def test_images_without_coordinates_are_in_pixels_or_left_out(tmp_path):
    plain = suspect(crs=None)
    assert write_suspects([plain], CLASSES, tmp_path / "s.gpkg") == ()
    assert geopandas.read_file(tmp_path / "s.gpkg").total_bounds.tolist() == [2, 3, 12, 9]
    (notice,) = write_suspects([plain, suspect()], CLASSES, tmp_path / "both.gpkg")
    assert "leaves out 1 suspect in images without coordinate system" in notice
    assert geopandas.read_file(tmp_path / "both.gpkg")["rank"].tolist() == [2]
    with pytest.raises(OutputError, match=r"write \.gpkg"):
        check_systems([None, None], tmp_path / "s.geojson")
    check_systems([None, CRS.from_user_input(UTM)], tmp_path / "s.geojson")
    check_systems([None], tmp_path / "s.gpkg")


def test_paths_are_checked_before_any_work(tmp_path):
    with pytest.raises(OutputError, match=r"does not end in \.gpkg"):
        check_suspects_file(tmp_path / "s.txt", overwrite=False)
    (tmp_path / "s.gpkg").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        check_suspects_file(tmp_path / "s.gpkg", overwrite=False)
    check_suspects_file(tmp_path / "s.gpkg", overwrite=True)
