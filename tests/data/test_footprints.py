"""Footprints of one kind and nothing else: what lies outside of them is a class of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.crs import CRS
from support.rasters import TRANSFORM, UTM, write_raster

from geoseg.commands.evaluate import evaluate
from geoseg.commands.tile import tile
from geoseg.core.errors import LabelError, SpecError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.legend import class_tags
from geoseg.spec import IGNORE, ClassSpec

GROUND, BUILDING = ClassSpec(id=0, name="ground", color="#c8d6a0"), ClassSpec(id=1, name="building", color="#d7301f")
ROAD = ClassSpec(id=2, name="road", color="#808080")
GRID = PixelGrid(20, 30, TRANSFORM, CRS.from_user_input(UTM))


def box(row: int, col: int, height: int, width: int) -> shapely.Geometry:
    """A box of pixels, in coordinates."""
    (left, top), (right, bottom) = TRANSFORM @ (col, row), TRANSFORM @ (col + width, row + height)
    return shapely.box(left, bottom, right, top)


HOUSES = [box(2, 3, 5, 6), box(2, 9, 5, 4), box(4, 5, 8, 6), box(14, 20, 4, 8).difference(box(15, 22, 2, 3))]
"""Two that touch, one that overlaps both, one around a court."""
EXPECTED = np.zeros((20, 30), np.uint8)
for rows, cols in ((slice(2, 7), slice(3, 13)), (slice(4, 12), slice(5, 11)), (slice(14, 18), slice(20, 28))):
    EXPECTED[rows, cols] = 1
EXPECTED[15:17, 22:25] = 0


def write(path: Path, shapes: Sequence[Any] = HOUSES, crs: Any = UTM, **columns: Any) -> Path:
    geopandas.GeoDataFrame(columns, geometry=list(shapes), crs=UTM).to_crs(crs).to_file(path)
    return path


def read(path: Path, *classes: ClassSpec, **rules: Any) -> np.ndarray:
    wanted = LabelRules.of(rules.pop("values", {}), rules.pop("column", None))
    wanted = LabelRules(wanted.values, wanted.column, None, rules.pop("outside", "ground"), rules.pop("extent", None))
    source = LabelSource(path, GRID, classes or (GROUND, BUILDING), Path("image.tif"), wanted)
    with open_labels(source) as labels:
        whole = labels.read(Window(0, 0, 20, 30))
        np.testing.assert_array_equal(labels.read(Window(3, 4, 9, 20)), whole[3:12, 4:24])
    return whole


@pytest.mark.parametrize("end", [".gpkg", ".shp", ".geojson", ".fgb"])
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_without_a_column_all_polygons_are_of_the_other_class(tmp_path, end, crs):
    np.testing.assert_array_equal(read(write(tmp_path / f"h{end}", crs=crs)), EXPECTED)


@pytest.mark.parametrize(
    ("columns", "rules"),
    [
        ({"class": ["building"] * 4}, {}),
        ({"class": ["building"] * 4}, {"column": "class"}),
        ({"osm_id": [0, 1, 2, 3]}, {}),
        ({"osm_id": [5, 6, 7, 8], "name": ["a", None, "b", "c"]}, {}),
        ({"kind": ["house", "shed", None, "barn"]}, {"values": {"other": "building"}}),
        ({"kind": ["house", "shed", "house", "house"]}, {"values": {"other": "building"}, "column": "kind"}),
        ({"a": [1, 2, 3, 4], "b": [1, 2, 3, 4]}, {"values": {"other": 1}, "outside": 0}),
        ({"kind": ["b", "b", "b", "b"]}, {"values": {"b": "building"}, "outside": "0"}),
    ],
)
def test_columns_count_only_where_they_name_classes(tmp_path, columns, rules):
    np.testing.assert_array_equal(read(write(tmp_path / "h.gpkg", **columns), **rules), EXPECTED)


def test_of_several_classes_the_column_says_which(tmp_path):
    path = write(tmp_path / "h.gpkg", **{"class": ["building", "road", "building", None], "id": [1, 2, 3, 4]})
    found = read(path, GROUND, BUILDING, ROAD, column="class")
    assert (found[3, 10], found[6, 6], found[0, 0], found[15, 20], found[15, 23]) == (2, 1, 0, IGNORE, 0)
    with pytest.raises(LabelError, match=r"has the columns class, id: name the one .* or give all polygons one class"):
        read(path, GROUND, BUILDING, ROAD)


def test_a_class_that_is_unknown_beside_known_ones_is_an_error(tmp_path):
    with pytest.raises(LabelError, match="class 'shed' is unknown"):
        read(write(tmp_path / "h.gpkg", kind=["building", "building", "shed", "building"]))


def test_ignored_polygons_stay_unlabelled(tmp_path):
    path = write(tmp_path / "h.gpkg", kind=["building", "building", "building", "unsure"])
    found = read(path, values={"building": "building", "unsure": "ignore"}, column="kind")
    assert (found[15, 20], found[15, 23], found[3, 4]) == (IGNORE, 0, 1)


def test_an_extent_bounds_what_is_outside(tmp_path):
    extent = write(tmp_path / "e.gpkg", [box(0, 0, 20, 15), box(0, 10, 5, 15)], crs="EPSG:3857")
    mapped = np.zeros((20, 30), bool)
    mapped[:, :15], mapped[:5, :25] = True, True
    expected = np.where(mapped | (EXPECTED == 1), EXPECTED, IGNORE)
    np.testing.assert_array_equal(read(write(tmp_path / "h.gpkg"), extent=extent), expected)


def test_an_extent_may_be_a_layer_of_the_labels(tmp_path):
    path = write(tmp_path / "h.gpkg")
    geopandas.GeoDataFrame(geometry=[box(0, 0, 20, 15)], crs=UTM).to_file(path, layer="mapped")
    rules = LabelRules((), None, "h", "ground", Path(f"{path}|layername=mapped"))
    with open_labels(LabelSource(path, GRID, (GROUND, BUILDING), Path("image.tif"), rules)) as labels:
        found = labels.read(Window(0, 0, 20, 30))
    assert (found[0, 0], found[0, 29], found[14, 20]) == (0, IGNORE, 1)


def test_an_image_without_a_polygon_is_all_outside(tmp_path):
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert (read(tmp_path / "empty.geojson") == 0).all()
    far = write(tmp_path / "far.gpkg", [box(1000, 0, 5, 5)])
    assert (read(far) == 0).all()
    assert (read(far, extent=write(tmp_path / "e.gpkg", [box(1000, 0, 20, 20)])) == IGNORE).all()


def test_what_rasters_leave_out_is_outside_as_well(tmp_path):
    ids = np.full((20, 30), 255, np.uint8)
    ids[EXPECTED == 1], ids[0, 0] = 1, 7
    found = read(write_raster(tmp_path / "l.tif", ids), values={1: "building", 7: "ignore"})
    expected = EXPECTED.copy()
    expected[0, 0] = IGNORE
    np.testing.assert_array_equal(found, expected)
    sparse = write_raster(tmp_path / "n.tif", EXPECTED.astype(np.float32), nodata=0)
    np.testing.assert_array_equal(read(sparse), EXPECTED)
    masked = write_raster(tmp_path / "m.tif", np.ones_like(EXPECTED), mask=EXPECTED == 1)
    np.testing.assert_array_equal(read(masked), EXPECTED)


def test_mistakes_are_one_line(tmp_path):
    path = write(tmp_path / "h.gpkg")
    with pytest.raises(SpecError, match="outside = 'grund': no such class: give one of 0 ground, 1 building"):
        read(path, outside="grund")
    with pytest.raises(LabelError, match=r"cannot read extent .*missing\.gpkg"):
        read(path, extent=tmp_path / "missing.gpkg")
    with pytest.raises(LabelError, match="give all polygons one class"):
        read(path, outside=None)


# ----------------------------------------------------------------------------------------------- commands


def test_a_class_raster_is_held_against_footprints(tmp_path):
    predicted = EXPECTED.copy()
    predicted[2:7, 3:9], predicted[-3:] = 0, 255
    raster = write_raster(tmp_path / "p.tif", predicted, nodata=255)
    with rasterio.open(raster, "r+") as dataset:
        dataset.update_tags(**class_tags([GROUND, BUILDING]))
    result = evaluate(raster, write(tmp_path / "h.gpkg"), outside="ground", boundary_px=0)
    true, known = EXPECTED, predicted != 255
    hits = ((true == 1) & (predicted == 1)).sum()
    assert result.scores.pixels == known.sum()
    assert result.scores.by_class["iou"]["building"] == pytest.approx(hits / (known & (true | predicted == 1)).sum())
    assert result.unpredicted == pytest.approx(
        (~known & (true == 1)).sum() / (known.sum() + (~known & (true == 1)).sum())
    )
    bare = evaluate(raster, write(tmp_path / "far.gpkg", [box(1000, 0, 5, 5)]), outside="ground", boundary_px=0)
    assert bare.notices == (f"{tmp_path / 'far.gpkg'} shows no polygon here: all of the area counts as ground",)
    part = write(tmp_path / "e.gpkg", [box(0, 0, 20, 15)])
    assert evaluate(raster, tmp_path / "h.gpkg", outside="0", extent=part).scores.pixels < known.sum()
    with pytest.raises(SpecError, match="extent says where outside counts"):
        evaluate(raster, tmp_path / "h.gpkg", extent=part)


def test_tiles_of_footprints_show_both_classes_and_no_pixel_without_data(tmp_path):
    image = np.random.default_rng(0).integers(1, 255, (3, 128, 128)).astype(np.uint8)
    image[:, :, 120:] = 0
    write_raster(tmp_path / "scene.tif", image, nodata=0)
    houses = [box(r, c, 8, 8) for r in range(0, 128, 16) for c in range(0, 128, 16)]
    write(tmp_path / "h.gpkg", houses)
    (tmp_path / "c.yaml").write_text(
        "name: m\ndata:\n  scenes: [{image: scene.tif, label: h.gpkg}]\n  outside: ground\n"
        "  bands: [red, green, blue]\n"
        "  split: {by: blocks, block_px: 64, val_share: 0.5, guard_px: 0}\n"
        "classes:\n  - {id: 0, name: ground, color: '#c8d6a0'}\n  - {id: 1, name: building, color: '#d7301f'}\n"
        "network: {architecture: pointwise, multiple: 1}\nwindow: 64\n"
    )
    result = tile(tmp_path / "c.yaml", tmp_path / "tiles", size=64, overlap=0)
    counts = {k: result.train_pixels[k] + result.val_pixels[k] for k in ("ground", "building")}
    assert counts == {"ground": 128 * 120 - 8 * 8 * 64, "building": 8 * 8 * 64}
    config = (tmp_path / "c.yaml").read_text().replace("  outside: ground\n", "")
    (tmp_path / "c.yaml").write_text(config)
    write(tmp_path / "h.gpkg", houses, kind=["building"] * len(houses))
    with pytest.raises(LabelError, match=r"no training pixel shows class 0 ground.*say data\.outside: ground"):
        tile(tmp_path / "c.yaml", tmp_path / "none", size=64)
