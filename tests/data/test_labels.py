"""Labels as people have them become indexes, whatever window is read; what does not fit is one clear line."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
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
from PIL import Image
from rasterio.crs import CRS
from rasterio.features import rasterize
from support.rasters import SHARED_DATA, TRANSFORM, UTM, needs_shared_data, write_raster

from geoseg.core.errors import LabelError, SpecError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.data.labels.placed_polygons import LARGE
from geoseg.geo.georef import PixelGrid, grid_of
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec

CLASSES = (
    ClassSpec(id=7, name="grass", color="#00ff00"),
    ClassSpec(id=2, name="water", color="#0000ff"),
    ClassSpec(id=0, name="sand", color="#ffff00"),
)
PLAIN = LabelRules()
NOWHERE = Affine.identity()
SITE = 'LOCAL_CS["site grid",UNIT["metre",1]]'
COLORS = {"#00ff00": "grass", "#0000FF": "water", "#ffff00": 0, "#9b9b9b": "ignore"}
PAINT = np.array([[0, 255, 0], [0, 0, 255], [255, 255, 0], [155, 155, 155]], np.uint8)
"""Colours of grass, water, sand and of what is to be ignored."""


def whole(grid: PixelGrid) -> Window:
    return Window(0, 0, grid.height, grid.width)


def placed(height: int = 40, width: int = 50, transform: Affine = TRANSFORM, crs: str | None = UTM) -> PixelGrid:
    return PixelGrid(height, width, transform, CRS.from_user_input(crs) if crs else None)


def read(path: Path, grid: PixelGrid | None = None, rules: LabelRules = PLAIN, window: Window | None = None):
    if grid is None:
        with rasterio.open(path) as dataset:
            grid = grid_of(dataset)
    with open_labels(LabelSource(path, grid, CLASSES, Path("image.tif"), rules)) as labels:
        return labels.read(window or whole(grid))


def ids(path: Path, values: Any, dtype: str = "uint8", **profile: Any) -> Path:
    return write_raster(path, np.atleast_2d(np.array(values, dtype)), **profile)


def refused(path: Path, *arguments: Any, kind: type[Exception] = LabelError) -> str:
    """What is said of labels that cannot be used: always one line."""
    with pytest.raises(kind) as caught:
        read(path, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------------- class ids


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64"])
def test_ids_become_places_in_the_list_of_classes(tmp_path: Path, dtype: str) -> None:
    assert read(ids(tmp_path / "l.tif", [7, 2, 0, 7], dtype)).tolist() == [[0, 1, 2, 0]]


def test_255_is_not_labelled_and_neither_is_nodata_unless_it_is_a_class(tmp_path: Path) -> None:
    assert read(ids(tmp_path / "l.tif", [7, 255, 9], nodata=9)).tolist() == [[0, IGNORE, IGNORE]]
    assert read(ids(tmp_path / "l.tif", [7, 2, 0], nodata=0)).tolist() == [[0, 1, 2]]
    assert read(ids(tmp_path / "l.tif", [7, -9999], "int16", nodata=-9999)).tolist() == [[0, IGNORE]]


def test_values_far_apart_are_looked_up_all_the_same(tmp_path: Path) -> None:
    rules = LabelRules.of({-(2**31): "grass", 2**31 - 1: "water", 5: "ignore"})
    path = ids(tmp_path / "l.tif", [-(2**31), 5, 2**31 - 1], "int32")
    assert read(path, rules=rules).tolist() == [[0, IGNORE, 1]]


def test_an_unknown_id_is_named_with_file_and_remedy(tmp_path: Path) -> None:
    said = refused(ids(tmp_path / "tile.tif", [9, 3, 7]))
    assert "tile.tif: class id 3, 9 is unknown; the classes are 7 grass, 2 water, 0 sand: add it" in said


def test_values_of_which_label_values_say_nothing_are_named_with_the_place_of_these(tmp_path: Path) -> None:
    rules = replace(LabelRules.of({7: "grass"}), values_in="data.scenes[3].label_values")
    said = refused(ids(tmp_path / "tile.tif", [2, 0, 7]), None, rules)
    assert "tile.tif: data.scenes[3].label_values says nothing of 0, 2: add what is missing there" in said
    assert "or `other: ignore`" in said
    assert "\n" not in said


def test_classes_are_merged_and_dropped(tmp_path: Path) -> None:
    path = ids(tmp_path / "l.tif", [1, 2, 3, 4, 255])
    values = {1: "grass", 2: 7, 3: "ignore", 4: "water"}
    assert read(path, rules=LabelRules.of(values)).tolist() == [[0, 0, IGNORE, 1, IGNORE]]
    as_text = {str(key): value for key, value in values.items()}  # what JSON makes of numbers
    assert read(path, rules=LabelRules.of(as_text)).tolist() == [[0, 0, IGNORE, 1, IGNORE]]


def test_ids_that_the_mapping_leaves_out_are_unknown_or_other(tmp_path: Path) -> None:
    path = ids(tmp_path / "l.tif", [7, 3, 255, 9], nodata=9)
    assert "data.label_values says nothing of 7: add" in refused(path, None, LabelRules.of({3: "grass"}))
    rules = LabelRules.of({7: "grass", "other": "water"})
    assert read(path, rules=rules).tolist() == [[0, 1, IGNORE, IGNORE]]
    assert read(path, rules=LabelRules.of({7: "grass", "other": "ignore"})).tolist() == [[0] + [IGNORE] * 3]


def test_255_may_be_named(tmp_path: Path) -> None:
    path = ids(tmp_path / "building.png", [0, 255], driver="PNG")
    assert read(path, rules=LabelRules.of({0: "grass", 255: "water"})).tolist() == [[0, 1]]


def test_what_a_mask_hides_is_not_labelled_and_need_not_be_known(tmp_path: Path) -> None:
    path = ids(tmp_path / "l.tif", [7, 2, 99], mask=np.array([[True, False, False]]))
    assert read(path).tolist() == [[0, IGNORE, IGNORE]]
    Image.fromarray(np.array([[[7, 255], [99, 0]]], np.uint8), "LA").save(tmp_path / "l.png")
    assert read(tmp_path / "l.png", placed(1, 2)).tolist() == [[0, IGNORE]]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 39), st.integers(0, 49), st.integers(1, 40), st.integers(1, 50))
def test_a_window_is_a_part_of_the_whole(tmp_path_factory: Any, row: int, col: int, height: int, width: int) -> None:
    path = tmp_path_factory.getbasetemp() / "windows.tif"
    if not path.exists():
        write_raster(path, np.random.default_rng(0).choice(np.uint8([0, 2, 7, 255]), (40, 50)))
    window = Window(row, col, height, width).clip(40, 50)
    assert np.array_equal(read(path, window=window), read(path)[window.slices])


# ------------------------------------------------------------------------------------------------------------ colours


def painted(kind: str, folder: Path, index: np.ndarray) -> Path:
    """Write indexes of PAINT as one of the kinds of pictures that people have; give its path."""
    path = folder / f"{kind}.png"
    if kind == "RGB":
        Image.fromarray(PAINT[index]).save(path)
    elif kind == "RGBA":
        alpha = np.where(index == 3, 0, 255)[..., None].astype(np.uint8)
        Image.fromarray(np.concatenate([np.where(alpha, PAINT[index], 9), alpha], axis=2)).save(path)
    elif kind == "palette":
        image = Image.fromarray(((index + 2) % 4).astype(np.uint8), "P")
        image.putpalette(np.roll(PAINT, 2, axis=0).tobytes())
        image.save(path)
    elif kind == "GeoTIFF":
        return write_raster(folder / "rgb.tif", np.moveaxis(PAINT[index], 2, 0))
    return path


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "palette", "GeoTIFF"])
def test_all_kinds_of_coloured_masks_say_the_same(tmp_path: Path, kind: str) -> None:
    index = np.random.default_rng(1).integers(0, 4, (40, 50))
    path, rules = painted(kind, tmp_path, index), LabelRules.of(COLORS)
    expected = np.where(index == 3, IGNORE, index)
    assert np.array_equal(read(path, placed(), rules), expected)
    window = Window(3, 4, 20, 30)
    assert np.array_equal(read(path, placed(), rules, window), expected[window.slices])


@pytest.mark.parametrize("kind", ["RGB", "palette"])
def test_unknown_colours_are_named_by_how_often_they_occur(tmp_path: Path, kind: str) -> None:
    path = painted(kind, tmp_path, np.array([[0, 1, 1, 3, 2]]))
    said = refused(path, placed(1, 5), LabelRules.of({"#00ff00": "grass", "#9b9b9b": "ignore"}))
    assert f"{kind}.png: the colours #0000ff (2 px), #ffff00 (1 px) stand for no class: add them to data.label" in said


@pytest.mark.parametrize("kind", ["RGB", "palette"])
def test_other_stands_for_all_other_colours(tmp_path: Path, kind: str) -> None:
    path = painted(kind, tmp_path, np.array([[0, 1, 3, 2]]))
    for other, index in (("water", 1), ("ignore", IGNORE)):
        rules = LabelRules.of({"#00ff00": "grass", "other": other})
        assert read(path, placed(1, 4), rules).tolist() == [[0, index, index, index]]


def test_nodata_of_a_picture_is_not_labelled_unless_its_colour_is_named(tmp_path: Path) -> None:
    values = np.array([[[0, 0]], [[255, 0]], [[0, 0]]], np.uint8)  # grass, black
    path = write_raster(tmp_path / "l.tif", values, nodata=0)
    assert read(path, rules=LabelRules.of({"#00ff00": "grass"})).tolist() == [[0, IGNORE]]
    assert read(path, rules=LabelRules.of({"#00ff00": "grass", "other": "water"})).tolist() == [[0, IGNORE]]
    assert read(path, rules=LabelRules.of({"#00ff00": "grass", "#000000": "water"})).tolist() == [[0, 1]]


def test_nodata_of_a_palette_is_not_labelled_unless_its_colour_is_named(tmp_path: Path) -> None:
    path = ids(tmp_path / "l.tif", [5, 6], nodata=6)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {5: (0, 255, 0), 6: (1, 2, 3)})
    assert read(path, rules=LabelRules.of({"#00ff00": "grass"})).tolist() == [[0, IGNORE]]
    assert read(path, rules=LabelRules.of({"#00ff00": "grass", "#010203": "water"})).tolist() == [[0, 1]]


def test_a_palette_may_be_read_by_its_numbers(tmp_path: Path) -> None:
    path = painted("palette", tmp_path, np.array([[2, 3, 0, 1]]))
    rules = LabelRules.of({0: "grass", 1: "water", 2: "ignore", 3: "sand"})
    assert read(path, placed(1, 4), rules).tolist() == [[0, 1, IGNORE, 2]]


def test_a_picture_without_a_mapping_says_which_colours_it_has(tmp_path: Path) -> None:
    said = refused(painted("RGB", tmp_path, np.array([[0, 1, 1]])), placed(1, 3))
    assert "has 3 bands: it seems to be coded by colour" in said
    assert "data.label_values" in said
    assert "#0000ff (2 px), #00ff00 (1 px)" in said


def test_ids_are_no_colours(tmp_path: Path) -> None:
    said = refused(ids(tmp_path / "l.tif", [7]), None, LabelRules.of(COLORS))
    assert "no palette, but data.label_values of a config names colours: give the numbers" in said


@pytest.mark.parametrize("bad", ["#0f0", "#00ff0g", "#00ff00ff", "#+12345"])
def test_a_colour_has_six_digits(tmp_path: Path, bad: str) -> None:
    path = painted("RGB", tmp_path, np.array([[0]]))
    said = refused(path, placed(1, 1), LabelRules.of({bad: "grass"}), kind=SpecError)
    assert f"data.label_values names the colour {bad!r}: write it as #rrggbb" in said


@pytest.mark.parametrize("values", [{1: "gras"}, {"#00ff00": "gras"}, {"other": "gras"}, {1: 8}])
def test_a_mapping_leads_to_classes(tmp_path: Path, values: dict) -> None:
    path = painted("RGB" if "#00ff00" in values else "palette", tmp_path, np.array([[0]]))
    said = refused(path, placed(1, 1), LabelRules.of(values), kind=SpecError)
    assert "data.label_values leads to" in said
    assert "7 grass, 2 water, 0 sand" in said


@needs_shared_data
def test_both_kinds_of_masks_of_dubai_say_what_their_readme_says() -> None:
    names = ("building", "land", "road", "vegetation", "water")
    hexes = ("#3C1098", "#8429F6", "#6EC1E4", "#FEDD3A", "#E2A929")
    classes = [ClassSpec(id=i, name=name, color="#000000") for i, name in enumerate(names)]
    rules = LabelRules.of(dict(zip(hexes, names, strict=True)) | {"#9B9B9B": "ignore", "#000000": "ignore"})
    for tile in ("tile_4", "tile_1"):  # palette, RGB
        path = SHARED_DATA / "labelled" / "dubai_mbrsc_6class" / "labels" / tile / "image_part_001.png"
        picture = np.array(Image.open(path).convert("RGB"))
        grid = placed(*picture.shape[:2], NOWHERE, None)
        with open_labels(LabelSource(path, grid, tuple(classes), path, rules)) as labels:
            found = labels.read(whole(grid))
        for index, color in enumerate(hexes):
            is_it = (picture == tuple(bytes.fromhex(color[1:]))).all(axis=2)
            assert np.array_equal(found == index, is_it)
        assert (found != IGNORE).mean() > 0.9


# -------------------------------------------------------------------------------------------------- files and grids


def test_masks_without_coordinates_lie_on_their_image(tmp_path: Path) -> None:
    path = ids(tmp_path / "l.png", [7, 2], driver="PNG", crs=None, transform=NOWHERE)
    assert read(path, placed(1, 2)).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        (placed(1, 2, NOWHERE, None), {}),  # a JPEG, and a GeoTIFF drawn on it
        (placed(1, 2), {"crs": None}),  # a mask with a world file: coordinates, no CRS
        (placed(1, 2, crs=None), {}),
        (placed(1, 2), {"crs": UTM, "transform": NOWHERE}),
        (placed(1, 2), {"transform": TRANSFORM @ Affine.translation(0.001, 0.001)}),
        (placed(1, 2, crs="EPSG:32617+5773"), {}),  # with heights
        (placed(1, 2), {"crs": "+proj=utm +zone=17 +ellps=WGS84 +towgs84=0,0,0,0,0,0,0 +units=m"}),
        (placed(1, 2, crs=SITE), {"crs": SITE}),
    ],
)
def test_labels_lie_on_their_image_as_far_as_both_say_where_they_are(
    tmp_path: Path, image: PixelGrid, labels: dict
) -> None:
    assert read(ids(tmp_path / "l.tif", [7, 2], **labels), image).tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("size", "labels"),
    [
        ((1, 3), {}),
        ((1, 3), {"crs": None, "transform": NOWHERE}),
        ((1, 2), {"transform": TRANSFORM @ Affine.translation(0.5, 0)}),
        ((1, 2), {"transform": TRANSFORM @ Affine.scale(1.5)}),
        ((1, 2), {"transform": TRANSFORM @ Affine.translation(1, 0), "crs": None}),
        ((1, 2), {"crs": "EPSG:32618"}),
    ],
)
def test_another_grid_is_refused(tmp_path: Path, size: tuple[int, int], labels: dict) -> None:
    said = refused(write_raster(tmp_path / "l.tif", np.full(size, 7, np.uint8), **labels), placed(1, 2))
    assert "l.tif is not on the grid of its image image.tif: " in said
    assert "gdalwarp -r near" in said


@pytest.mark.parametrize(
    ("crs", "difference"), [("EPSG:26917", "datum North American Datum 1983 against"), (SITE, "a local")]
)
def test_what_differs_is_said_in_a_few_words(tmp_path: Path, crs: str, difference: str) -> None:
    said = refused(write_raster(tmp_path / "l.tif", np.full((1, 2), 7, np.uint8), crs=crs), placed(1, 2))
    assert difference in said
    assert len(said) - len(str(tmp_path)) < 320


@pytest.mark.parametrize("values", [np.full((1, 1), 7, np.complex64), np.full((2, 1, 1), 7, np.uint8)])
def test_labels_are_one_band_of_whole_numbers(tmp_path: Path, values: np.ndarray) -> None:
    assert "one band of whole-number class ids" in refused(write_raster(tmp_path / "l.tif", values))


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.tif").write_text("no raster")
    (tmp_path / "broken.gpkg").write_text("no polygons")
    (tmp_path / "broken.parquet").write_text("no polygons")
    for name in ("missing.tif", "broken.tif"):
        assert f"cannot read labels {tmp_path / name}: " in refused(tmp_path / name, placed())
    for name in ("missing.gpkg", "broken.gpkg", "missing.parquet", "broken.parquet"):
        assert f"cannot read polygons {tmp_path / name}: " in refused(tmp_path / name, placed())


def test_points_in_a_table_are_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("x,y,class\n1,2,water\n")
    said = refused(tmp_path / "points.csv", placed())
    assert "coordinate system" in said
    assert "points.gpkg" in said


def test_damage_is_named_when_it_is_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).choice(np.uint8([0, 2, 7]), (600, 500))
    path = write_raster(tmp_path / "l.tif", noise, compress="deflate", tiled=True, blockxsize=256, blockysize=256)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    assert "l.tif cannot be read: " in refused(path, placed(600, 500))


# ----------------------------------------------------------------------------------------------------------- polygons


def save(path: Path, shapes: Any, crs: str = UTM, **columns: Any) -> Path:
    """Write polygons given in UTM; one column `kind` unless others are given."""
    frame = geopandas.GeoDataFrame(columns or {"kind": ["grass"] * len(shapes)}, geometry=list(shapes), crs=UTM)
    frame = frame.to_crs(crs)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_file(path)
    return path


def on_grid(shape: Any) -> Any:
    """A shape in pixels (column, row) -> in coordinates."""
    return shapely.transform(shape, lambda xy: np.array([placed().xy(*pixel) for pixel in xy]))


def square(left: float, top: float, side: float = 5.0) -> Any:
    return on_grid(shapely.box(left, top, left + side, top + side))


def burn(shapes: Any, indexes: Any, grid: PixelGrid) -> np.ndarray:
    size = grid.height, grid.width
    return rasterize(zip(shapes, indexes, strict=True), size, IGNORE, transform=grid.transform, dtype="uint8")


blobs = st.lists(
    st.tuples(st.floats(-20, 70), st.floats(-20, 60), st.floats(2, 40), st.integers(3, 9), st.integers(0, 2)),
    min_size=1, max_size=12,
)  # fmt: skip


def rings(drawn: Any) -> list[Any]:
    """Regular polygons in coordinates: column, row, radius, corners."""
    angles = [np.linspace(0.1, 2 * np.pi + 0.1, corners, endpoint=False) for *_, corners, _ in drawn]
    return [
        on_grid(shapely.Polygon(np.stack([x + r * np.cos(a), y + r * np.sin(a)], axis=1)))
        for (x, y, r, *_), a in zip(drawn, angles, strict=True)
    ]


@settings(deadline=None, max_examples=40)
@given(blobs, st.sampled_from([UTM, "EPSG:4326", "EPSG:3857", "EPSG:32618"]), st.integers(7, 60))
def test_windows_of_polygons_in_any_crs_are_parts_of_one_burn(
    tmp_path_factory: Any, drawn: Any, crs: str, side: int
) -> None:
    path, grid = tmp_path_factory.getbasetemp() / "polygons.geojson", placed()
    drawn = [(20.0, 20.0, 3.0, 4, 1), *drawn]  # one is on the image in any case
    frame = geopandas.GeoDataFrame(
        {"kind": [CLASSES[index].name for *_, index in drawn]}, geometry=rings(drawn), crs=UTM
    )
    moved = frame.to_crs(crs)
    moved.to_file(path, COORDINATE_PRECISION=15, RFC7946="NO")
    expected = burn(moved.to_crs(grid.crs).geometry, [index for *_, index in drawn], grid)
    found = np.full_like(expected, 99)
    with open_labels(LabelSource(path, grid, CLASSES, Path("image.tif"))) as labels:
        for row in range(0, grid.height, side):
            for col in range(0, grid.width, side):
                window = Window(row, col, side, side).clip(grid.height, grid.width)
                found[window.slices] = labels.read(window)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("name", ["l.gpkg", "l.shp", "l.fgb", "l.geojson", "l.parquet", "l.gdb", "l.gml", "l.kml"])
def test_any_vector_format_will_do(tmp_path: Path, name: str) -> None:
    shapes = [square(3, 4), square(10, 20, 12)]
    path = save(tmp_path / name, shapes, "EPSG:4326", kind=["grass", "water"])
    assert np.array_equal(read(path, placed(), LabelRules(column="kind")), burn(shapes, [0, 1], placed()))


@pytest.mark.parametrize("name", ["l.gpkg", "l.geojson", "l.parquet"])
def test_the_last_polygon_of_the_file_wins_wherever_one_looks(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    corners, kinds = rng.uniform(-200, 200, (1500, 2)), rng.integers(0, 3, 1500)
    shapes = [square(x, y, 20.3) for x, y in corners]
    path = save(tmp_path / name, shapes, kind=[CLASSES[k].id for k in kinds])
    for shift in (0, 100):
        grid = placed(transform=TRANSFORM @ Affine.translation(shift, -shift))
        assert np.array_equal(read(path, grid), burn(shapes, kinds, grid))


def test_large_polygons_are_burnt_as_they_are(tmp_path: Path) -> None:
    angle = np.linspace(0, 2 * np.pi, 5 * LARGE, endpoint=False)
    radius = 300 + 60 * np.sin(40 * angle)
    outer = np.stack([20 + radius * np.cos(angle), 20 + radius * np.sin(angle)], axis=1)
    shape = on_grid(shapely.Polygon(outer, [outer / 9 + 10]))
    path, grid = save(tmp_path / "l.gpkg", [shape]), placed(300, 300)
    expected = burn([shape], [0], grid)
    assert np.array_equal(read(path, grid), expected)
    for window in (Window(0, 0, 50, 50), Window(37, 41, 90, 120), Window(250, 250, 50, 50)):
        assert np.array_equal(read(path, grid, window=window), expected[window.slices])


def test_polygons_that_cross_themselves_are_ground_and_never_lines(tmp_path: Path) -> None:
    spike = shapely.Polygon([(0, 0), (10, 0), (10, 4), (40, 4), (10, 4), (10, 10), (0, 10)])
    bow_tie = shapely.Polygon([(20.2, 20.1), (30.2, 30.1), (30.2, 20.1), (20.2, 30.1)])
    path = save(tmp_path / "l.gpkg", [on_grid(spike), on_grid(bow_tie)])
    found = read(path, placed()) != IGNORE
    assert found[:10, :10].all()
    assert not found[:, 10:20].any()
    assert not found[:20, 20:].any()
    assert found[20:30, 20:30].sum() == pytest.approx(50, abs=6)


def test_polygons_that_cross_themselves_may_reach_far_beyond_the_image(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = [on_grid(shapely.Polygon(rng.uniform(-500, 550, (9, 2)))) for _ in range(10)]
    expected = [burn([shape], [0], placed()) for shape in shapes]
    for number in (i for i, found in enumerate(expected) if (found == 0).any()):
        path = save(tmp_path / f"{number}.gpkg", [shapes[number]])
        assert np.array_equal(read(path, placed()), expected[number])


def test_parts_of_a_polygon_belong_to_it(tmp_path: Path) -> None:
    parts = [square(0, 0), square(20, 20)]
    path = save(tmp_path / "l.gpkg", [shapely.MultiPolygon(parts), square(21, 21, 2)], kind=["grass", "water"])
    assert np.array_equal(read(path, placed()), burn([*parts, square(21, 21, 2)], [0, 0, 1], placed()))


def test_polygons_with_heights_and_polygons_larger_than_any_projection(tmp_path: Path) -> None:
    world = shapely.box(-180, -90, 180, 90)
    high = shapely.force_3d(geopandas.GeoSeries([square(3, 4)], crs=UTM).to_crs(4326).iloc[0], 8.0)
    frame = geopandas.GeoDataFrame({"kind": ["grass", "water"]}, geometry=[world, high], crs=4326)
    frame.to_file(tmp_path / "l.gpkg")
    expected = np.where(burn([square(3, 4)], [1], placed()) == 1, 1, 0)
    assert np.array_equal(read(tmp_path / "l.gpkg", placed()), expected)


def test_where_two_images_lie_in_different_places_each_gets_its_polygons(tmp_path: Path) -> None:
    path = save(tmp_path / "l.gpkg", [square(0, 0), square(1000, 0)])
    far = placed(transform=TRANSFORM @ Affine.translation(1000, 0))
    assert np.array_equal(read(path, placed()), read(path, far))


@pytest.mark.parametrize(
    ("values", "rules", "expected"),
    [
        (["grass", "sand"], {}, [0, 2]),
        ([7, 0], {}, [0, 2]),
        ([7.0, None], {}, [0, IGNORE]),
        (["7", None], {}, [0, IGNORE]),
        ([2253, 22531], {2253: "sand", 22531: "sand"}, [2, 2]),
        ([2253, 9], {2253: "sand", "other": "water"}, [2, 1]),
        ([2253, 9], {2253: "sand", "other": "ignore"}, [2, IGNORE]),
        (["Emergent Wetland", "x"], {"Emergent Wetland": 2, "x": "ignore"}, [1, IGNORE]),
        (["grass", None], {"grass": "grass", "": "water"}, [0, 1]),
    ],
)
def test_classes_of_polygons_are_ids_or_names_or_mapped(
    tmp_path: Path, values: list, rules: dict, expected: list[int]
) -> None:
    shapes = [square(3, 4), square(20, 20)]
    path = save(tmp_path / "l.gpkg", shapes, kind=values)
    assert np.array_equal(read(path, placed(), LabelRules.of(rules)), burn(shapes, expected, placed()))


def test_an_unknown_class_of_polygons_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "l.gpkg", [square(3, 4), square(3, 4)], kind=["gras", "moor"])
    said = refused(path, placed())
    assert "l.gpkg: class 'gras', 'moor' is unknown; the classes are 7 grass, 2 water, 0 sand: add it to" in said
    said = refused(path, placed(), LabelRules.of({"gras": "grass"}))
    assert "l.gpkg: data.label_values says nothing of 'moor': add what is missing there" in said


def test_the_column_must_be_clear(tmp_path: Path) -> None:
    path = save(tmp_path / "l.gpkg", [square(3, 4)], kind=["grass"], remark=["x"])
    assert (read(path, placed(), LabelRules(column="kind")) == 0).sum() == 25
    said = refused(path, placed())
    assert "has the columns kind, remark: name the one with the class with data.label_column, or --column" in said
    assert "has no column class, the columns kind, remark" in refused(path, placed(), LabelRules(column="class"))


def test_the_layer_must_be_clear(tmp_path: Path) -> None:
    path = save(tmp_path / "l.gpkg", [square(3, 4)])
    geopandas.read_file(path).assign(kind="water").to_file(path, layer="second")
    assert (read(path, placed(), LabelRules(layer="second")) == 1).sum() == 25
    assert "has the layers l, second: name one with data.label_layer, or --layer" in refused(path, placed())
    assert "has no layer third with polygons, the layers l, second" in refused(
        path, placed(), LabelRules(layer="third")
    )


def no_crs(path: Path) -> Path:
    geopandas.GeoDataFrame({"kind": ["grass"]}, geometry=[square(3, 4)]).to_file(path)
    return path


@pytest.mark.parametrize(
    ("write", "grid", "said"),
    [
        (partial(save, shapes=[square(3, 4)]), placed(crs=None), "image.tif has no coordinate system"),
        (partial(save, shapes=[square(900, 4)]), placed(), "no polygon, point or line of .*l.gpkg lies on image.tif"),
        (partial(save, shapes=[None]), placed(), "l.gpkg holds no polygon, point or line: draw some"),
        (no_crs, placed(), "l.gpkg does not say in which coordinate system it is"),
    ],
)
def test_polygons_that_cannot_be_used(
    tmp_path: Path, write: Callable[[Path], Path], grid: PixelGrid, said: str
) -> None:
    with pytest.raises(LabelError, match=said) as caught:
        read(write(tmp_path / "l.gpkg"), grid)
    assert "\n" not in str(caught.value)


@needs_shared_data
def test_the_polygons_of_rachel_carson_are_burnt_on_their_degrees() -> None:
    folder = SHARED_DATA / "labelled" / "s2_rachel_carson_polygons"
    image, path = folder / "images" / "2018-10-13, Sentinel-2B L1C, B08.tiff", folder / "labels/landcover_polygons.gpkg"
    with rasterio.open(image) as dataset:
        grid = grid_of(dataset)
    mapping = {"Herbaceous": "grass", "Subtidal Haline": "water", "Sand": "sand", "WetSand": "sand", "other": "ignore"}
    frame = geopandas.read_file(path).to_crs(grid.crs)
    known = {"Herbaceous": 0, "Subtidal Haline": 1, "Sand": 2, "WetSand": 2}
    expected = burn(frame.geometry, [known.get(name, IGNORE) for name in frame.Classname], grid)
    found = read(path, grid, LabelRules.of(mapping, column="Classname"))
    assert np.array_equal(found, expected)
    assert 100 < (found != IGNORE).sum() < 600
    by_number = LabelRules.of(
        {6201: "grass", 2100: "water", 2253: "sand", 22531: "sand", "other": "ignore"}, "Classvalue"
    )
    assert np.array_equal(read(path, grid, by_number), expected)


# ---------------------------------------------------------------------------------------------------------- longitudes


def lonlat(west: float, step: float = 1.0, width: int = 20) -> PixelGrid:
    """An image of 4 rows down from 2° north, wherever its longitudes begin."""
    return placed(4, width, Affine(step, 0, west, 0, -1, 2), "EPSG:4326")


def strips(path: Path, *spans: tuple[float, float], crs: str = "EPSG:4326") -> Path:
    """Polygons from west to east, of grass and water in turn."""
    shapes = [shapely.box(west, -9, east, 9) for west, east in spans]
    kinds = ["grass", "water"] * len(shapes)
    geopandas.GeoDataFrame({"kind": kinds[: len(shapes)]}, geometry=shapes, crs=crs).to_file(path)
    return path


@pytest.mark.parametrize("name", ["l.gpkg", "l.geojson"])
@pytest.mark.parametrize("west", [-550, -190, 170, 530])
def test_labels_and_image_may_count_longitudes_from_different_turns(tmp_path: Path, west: float, name: str) -> None:
    expected = [[0] * 10 + [1] * 10] * 4
    assert read(strips(tmp_path / name, (170, 180), (-180, -170)), lonlat(west)).tolist() == expected
    assert read(strips(tmp_path / name, (170, 180), (180, 190)), lonlat(west)).tolist() == expected


def test_labels_of_all_the_globe_lie_on_an_image_of_all_the_globe(tmp_path: Path) -> None:
    path = strips(tmp_path / "l.gpkg", (-180, 0), (0, 180))
    for west, first in ((-180, 0), (0, 1), (-0.5, 1), (720, 1)):
        row = read(path, lonlat(west, 1, 360))[0]
        assert (row == 0).sum() == (row == 1).sum() == 180
        assert row[90] == first


@pytest.mark.parametrize("spans", [((-180, -179), (179, 180)), ((180, 181), (179, 180)), ((-180, -179), (-181, -180))])
def test_labels_on_both_sides_of_180_degrees_lie_on_a_map(tmp_path: Path, spans: Any) -> None:
    grid = placed(10, 40, Affine(1000, 0, 146_000, 0, -1000, 10_000), "EPSG:32601")  # 180° is 20 pixels from the left
    found = read(strips(tmp_path / "l.gpkg", *spans), grid)
    assert (found[:, :19] == 1).all()
    assert (found[:, 22:] == 0).all()


def test_mercator_goes_on_beyond_180_degrees(tmp_path: Path) -> None:
    grid = placed(4, 20, Affine(1e5, 0, 20_037_508 - 1e6, 0, -1e5, 2e5), "EPSG:3857")
    assert read(strips(tmp_path / "l.gpkg", (170, 180), (-180, -170)), grid).tolist() == [[0] * 10 + [1] * 10] * 4


def test_a_local_system_leads_nowhere_but_to_itself(tmp_path: Path) -> None:
    site = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    path = strips(tmp_path / "l.gpkg", (300_000, 300_003), crs=site)
    grid = placed(4, 5, Affine(1, 0, 300_000, 0, -1, 2), site)
    assert read(path, grid).tolist() == [[0, 0, 0, IGNORE, IGNORE]] * 4
    said = refused(path, placed())
    assert "no transformation from the coordinate system of" in said or "no polygon, point or line of" in said
    assert len(said) - 2 * len(str(tmp_path)) < 240


def test_an_open_ring_of_labels_is_closed_and_infinite_ones_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "l.geojson", [square(3, 4), square(20, 4)])
    complete = read(path, placed())
    content = json.loads(path.read_text())
    content["features"][1]["geometry"]["coordinates"][0].pop()
    path.write_text(json.dumps(content))
    np.testing.assert_array_equal(read(path, placed()), complete)
    content["features"][1]["geometry"]["coordinates"][0][1][0] = float("nan")
    path.write_text(json.dumps(content))
    assert "l.geojson: feature 1 has coordinates that are infinite or not a number" in refused(path, placed())


def test_collections_that_mending_made_are_labels(tmp_path: Path) -> None:
    spike = shapely.LineString([square(3, 4).centroid, square(9, 9).centroid])
    path = save(tmp_path / "l.gpkg", [shapely.GeometryCollection([square(3, 4), spike])])
    assert (read(path, placed()) == 0).sum() == (read(save(tmp_path / "m.gpkg", [square(3, 4)]), placed()) == 0).sum()
