"""Points, lines and boxes as labels: what they mark is of their class, and all else is unknown."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from support.rasters import TRANSFORM, UTM, write_raster
from support.reporters import Heard

from geoseg.commands.evaluate import evaluate
from geoseg.core.errors import LabelError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.data.labels.marks import inner_parts
from geoseg.data.labels.outside_marks import notices_of_outside
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.legend import class_tags
from geoseg.spec import IGNORE, ClassSpec, TrainSpec, parse_spec
from geoseg.training.data.training_data import read_training_data

GRASS, WATER = ClassSpec(id=0, name="grass", color="#c8d6a0"), ClassSpec(id=1, name="water", color="#2b7fd0")
GRID = PixelGrid(40, 50, TRANSFORM, CRS.from_user_input(UTM))
WHOLE = Window(0, 0, 40, 50)
ROWS, COLS = np.mgrid[:40, :50] + 0.5
"""Row and column of the centre of each pixel."""


def at(row: float, col: float) -> tuple[float, float]:
    """A place in pixels, in coordinates."""
    return tuple(TRANSFORM @ (col, row))


def point(row: float, col: float) -> shapely.Geometry:
    return shapely.Point(at(row, col))


def line(*places: tuple[float, float]) -> shapely.Geometry:
    return shapely.LineString([at(*place) for place in places])


def box(row: float, col: float, height: float, width: float) -> shapely.Geometry:
    return shapely.box(*at(row + height, col), *at(row, col + width))


def write(path: Path, shapes: Sequence[Any], names: Sequence[str | None], crs: Any = UTM) -> Path:
    geopandas.GeoDataFrame({"class": names}, geometry=list(shapes), crs=UTM).to_crs(crs).to_file(path)
    return path


def opened(path: Path, grid: PixelGrid = GRID, **rules: Any) -> Any:
    return open_labels(LabelSource(path, grid, (GRASS, WATER), Path("image.tif"), LabelRules(**rules)))


def read(path: Path, grid: PixelGrid = GRID, **rules: Any) -> np.ndarray:
    """Class indexes of the image, which are those of its windows."""
    with opened(path, grid, **rules) as labels:
        whole = labels.read(Window(0, 0, grid.height, grid.width))
        for window in (Window(3, 4, 9, 20), Window(11, 0, 2, 5)):
            np.testing.assert_array_equal(labels.read(window), whole[window.slices])
    return whole


def near(row: float, col: float, radius: float) -> np.ndarray:
    return np.hypot(ROWS - row, COLS - col) <= radius


@pytest.mark.parametrize("end", [".gpkg", ".geojson", ".fgb", ".shp"])
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_points_mark_what_lies_around_them_and_nothing_else(tmp_path: Path, end: str, crs: str) -> None:
    places = [(5.5, 7.5), (20.5, 30.5), (39.5, 49.5)]
    path = write(tmp_path / f"p{end}", [point(*place) for place in places], ["grass", "water", "grass"], crs)
    expected = np.full((40, 50), IGNORE, np.uint8)
    for place, index in zip(places, (0, 1, 0), strict=True):
        expected[near(*place, 2.1)] = index
    np.testing.assert_array_equal(read(path, buffer_px=2.1), expected)


def test_lines_mark_what_lies_within_half_their_width(tmp_path: Path) -> None:
    found = read(write(tmp_path / "l.gpkg", [line((10.5, 5), (10.5, 30))], ["water"]), buffer_px=1.4)
    distance = np.hypot(ROWS - 10.5, COLS - np.clip(COLS, 5, 30))
    np.testing.assert_array_equal(found == 1, distance <= 1.4)
    assert (found[distance > 1.4] == IGNORE).all()


def test_the_smallest_point_marks_a_pixel_wherever_it_lies(tmp_path: Path) -> None:
    for row, col in ((3.0, 4.0), (3.5, 4.0), (3.3, 4.9)):
        assert (read(write(tmp_path / "p.gpkg", [point(row, col)], ["water"]), buffer_px=0.75) == 1).any()


def test_marks_beyond_the_edge_reach_into_the_image(tmp_path: Path) -> None:
    shapes = [point(-4.5, 20.5), point(20.5, 56.5)]
    found = read(write(tmp_path / "p.gpkg", shapes, ["water", "grass"], "EPSG:4326"), buffer_px=8.05)
    np.testing.assert_array_equal(found == 1, near(-4.5, 20.5, 8.05))
    np.testing.assert_array_equal(found == 0, near(20.5, 56.5, 8.05))


def test_widths_are_pixels_of_any_shape(tmp_path: Path) -> None:
    wide = PixelGrid(40, 50, TRANSFORM @ Affine.rotation(30) @ Affine.scale(3, 1), GRID.crs)
    place = shapely.Point(wide.transform @ (20.5, 10.5))
    found = read(write(tmp_path / "p.gpkg", [place], ["water"]), wide, buffer_px=3.2)
    np.testing.assert_array_equal(found == 1, near(10.5, 20.5, 3.2))


def test_where_marks_of_two_classes_overlap_nothing_is_labelled_and_the_pixels_are_counted(tmp_path: Path) -> None:
    lines = [line((5.5, 10.5), (35.5, 10.5)), line((20.5, 2.5), (20.5, 40.5)), line((30.5, 2.5), (30.5, 20.5))]
    path = write(tmp_path / "l.gpkg", lines, ["grass", "water", "grass"])
    found = read(path)
    assert (found[19:22, 9:12] == IGNORE).all()
    assert (found[20, 20], found[10, 10], found[30, 10]) == (1, 0, 0)
    with opened(path) as labels:
        assert +labels.disputed() == {"lie in points or lines of several classes, and are not labelled": 9}


def test_marks_lie_above_polygons_and_polygons_stay_as_they_are(tmp_path: Path) -> None:
    shapes = [point(10.5, 10.5), box(5, 5, 20, 20), box(15, 15, 20, 20)]
    found = read(write(tmp_path / "m.gpkg", shapes, ["water", "grass", "water"]))
    assert (found[10, 10], found[7, 7], found[20, 20], found[0, 0]) == (1, 0, 1, IGNORE)
    with opened(tmp_path / "m.gpkg") as labels:
        assert not labels.disputed().total()  # of polygons the last one counts
        assert set(labels.features().indexes.tolist()) == {0, 1}
        assert len(set(labels.features().keys)) == 3


def test_marks_of_another_place_are_refused_and_need_no_polygon(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"no polygon, point or line of .*p.gpkg lies on image.tif"):
        read(write(tmp_path / "p.gpkg", [point(900, 4)], ["water"]))


def test_boxes_are_labelled_within_their_rims_and_small_ones_lie_above_large_ones(tmp_path: Path) -> None:
    boxes = [box(12, 12, 5, 10), box(5, 5, 30, 40)]  # the small one stands first in the file
    found = read(write(tmp_path / "b.gpkg", boxes, ["water", "grass"]), box_rim=0.2)
    expected = np.full((40, 50), IGNORE, np.uint8)
    expected[11:29, 13:37] = 0
    expected[12:17, 12:22] = IGNORE
    expected[13:16, 14:20] = 1
    np.testing.assert_array_equal(found, expected)
    outside = read(tmp_path / "b.gpkg", box_rim=0.2, outside="grass")
    assert (outside[0, 0], outside[6, 6], outside[14, 16]) == (0, IGNORE, 1)
    with opened(tmp_path / "b.gpkg", box_rim=0.2) as labels:
        assert +labels.disputed() == {"lie in boxes of several classes, of which the smallest counts": 18}


def test_a_box_beyond_the_edge_keeps_its_rim(tmp_path: Path) -> None:
    found = read(write(tmp_path / "b.gpkg", [box(-900, 5, 905, 20)], ["water"], "EPSG:4326"), box_rim=0.2, outside=0)
    assert not (found == 1).any()
    assert (found[0, 10], found[10, 10]) == (IGNORE, 0)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 180), st.floats(0, 0.45), st.floats(1, 30), st.floats(1, 30))
def test_the_inner_part_of_a_turned_box_is_a_smaller_box_about_its_centre(
    degrees: float, rim: float, height: float, width: float
) -> None:
    turned = shapely.affinity.rotate(shapely.box(3, 4, 3 + width, 4 + height), degrees)
    (inner,) = inner_parts(np.array([turned], object), rim)
    assert inner.area == pytest.approx((1 - 2 * rim) ** 2 * width * height)
    assert inner.centroid.distance(turned.centroid) < 1e-9
    assert turned.buffer(1e-9).contains(inner)


def test_a_run_says_that_labels_are_few_and_where_they_contradict_each_other(tmp_path: Path) -> None:
    write_raster(tmp_path / "i.tif", np.arange(2000, dtype=np.uint8).reshape(1, 40, 50), nodata=None)
    shapes = [point(5.5, 7.5), point(6.6, 7.5), point(20.5, 30.5), line((30.5, 10), (30.5, 20)), point(5, 99)]
    write(tmp_path / "p.gpkg", shapes, ["grass", "water", "water", "grass", "grass"])
    spec = parse_spec(
        TrainSpec,
        {
            "name": "test",
            "data": {
                "scenes": [{"image": str(tmp_path / "i.tif"), "label": str(tmp_path / "p.gpkg")}],
                "bands": ["value"],
                "split": {"by": "none"},
            },
            "classes": [GRASS.model_dump(), WATER.model_dump()],
            "network": {"architecture": "pointwise"},
            "window": 32,
        },
        source="test",
    )
    heard = Heard()
    data = read_training_data(spec, reporter=heard)
    said = "\n".join(heard.lines)
    assert "labels: 6 px lie in points or lines of several classes, and are not labelled" in said
    assert "1 of 5 points and lines of p.gpkg lie outside of i.tif" in said
    assert f"{int(data.train.class_counts.sum()) / 2000:.2%} of the images' pixels are labelled" in said


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_points_and_lines_on_none_of_their_images_are_counted(tmp_path: Path, crs: str) -> None:
    shapes = [point(5.5, 5.5), point(5.5, 80.5), point(5.5, -1.0), line((5, 5), (5, 500)), line((60, 5), (70, 5))]
    path = write(tmp_path / "points.gpkg", shapes[:3], ["grass"] * 3, crs)
    right = PixelGrid(40, 50, TRANSFORM @ Affine.translation(50, 0), GRID.crs)
    one, other = (LabelSource(path, grid, (GRASS, WATER), Path("i.tif")) for grid in (GRID, right))
    assert notices_of_outside([one])[0].startswith("1 of 3 points and lines of points.gpkg lie outside of i.tif, and")
    assert notices_of_outside([other])[0].startswith("2 of 3")
    assert not notices_of_outside([one, other])
    lines = write(tmp_path / "lines.gpkg", shapes[3:], ["grass"] * 2, crs)
    assert notices_of_outside([replace(one, path=lines), replace(other, path=lines)])[0].startswith(
        "1 of 2 points and lines of lines.gpkg lie outside of its 2 images, and label nothing"
    )
    polygons = write(tmp_path / "polygons.gpkg", [box(5, 5, 5, 5), box(95, 5, 5, 5)], ["grass"] * 2, crs)
    assert not notices_of_outside([replace(one, path=polygons)])


@pytest.mark.parametrize("suffix", ["gpkg", "geojson"])
def test_a_file_without_a_feature_is_called_that(tmp_path: Path, suffix: str) -> None:
    path, nothing = tmp_path / f"p.{suffix}", geopandas.GeoDataFrame({"class": []}, geometry=[], crs=UTM)
    nothing.to_file(path, geometry_type="Point")
    with pytest.raises(LabelError, match=r"holds no polygon, point or line: draw some, or leave image\.tif out"):
        opened(path)


def test_a_map_is_held_against_points(tmp_path: Path) -> None:
    classes = np.zeros((40, 50), np.uint8)
    classes[:, 25:] = 1
    path = write_raster(tmp_path / "map.tif", classes[None], nodata=255)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(**class_tags((GRASS, WATER)))
    points = write(
        tmp_path / "p.gpkg", [point(5.5, 7.5), point(9.5, 40.5), point(20.5, 9.5)], ["grass", "water", "water"]
    )
    scores = evaluate(path, points, buffer_px=0.75).scores
    assert (scores.pixels, scores.pixel_accuracy) == (3, pytest.approx(2 / 3))
