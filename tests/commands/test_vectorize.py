"""From a class raster on disk to a vector file, in every way that a raster can lie on the map."""

import json
import re
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import geopandas
import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.features import rasterize
from rasterio.rpc import RPC
from scipy import ndimage
from support.forks import exit_code_of, needs_fork
from support.polygons import frame_of
from support.rasters import UTM_DENSITY, write_raster
from support.reporters import Heard

from geoseg.cli import main
from geoseg.commands.vectorize import vectorize
from geoseg.core.errors import OutputError, SceneError, SpecError
from geoseg.geo.grid import STRIP_PX, STRIP_PX_MOST, Window, strip_windows
from geoseg.raster.class_codes import ByteCodes, free_id, own_nodata
from geoseg.raster.legend import Legend
from geoseg.vector.formats import FORMATS
from geoseg.vector.polygonize import polygonize
from geoseg.vector.write import write_polygons

NORTH_UP = Affine(10, 0, 500_000, 0, -10, 4_000_000)
IDS = np.array([[0, 0, 1, 1, 1], [0, 2, 2, 1, 255], [0, 2, 0, 255, 255]], np.uint8)
TAGS = {"GEOSEG_CLASSES": json.dumps([{"id": 0, "name": "forest", "color": "#00ff00"}, {"id": 1, "name": "water"}])}


def write(path, values=IDS, *, transform=NORTH_UP, crs="EPSG:32617", mask=None, tags=None, **profile):
    values = np.atleast_3d(np.asarray(values).T).T  # (H, W) → (1, H, W)
    shape = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, transform=transform, crs=crs, **profile) as raster:
        raster.write(values)
        raster.update_tags(**(tags or {}))
        if mask is not None:
            raster.write_mask(mask)
    return path


@pytest.fixture
def classes(tmp_path):
    return write(tmp_path / "classes.tif", nodata=255, tags=TAGS)


def burnt(frame, shape, transform) -> np.ndarray:
    pairs = list(zip(frame.geometry, frame["class_id"], strict=True))
    return rasterize(pairs, out_shape=shape, transform=transform, fill=255, dtype="uint8")


def test_result_and_file(tmp_path, classes):
    result = vectorize(classes, tmp_path / "out.gpkg")
    frame = geopandas.read_file(result.output)
    assert result.polygons == len(frame) == 4
    assert result.notices == ()
    assert result.class_shares == pytest.approx({"forest": 5 / 12, "water": 4 / 12, "2": 3 / 12})
    assert frame["class"].tolist() == ["forest", "water", "2", "forest"]
    assert (frame["area_m2"] / UTM_DENSITY).tolist() == pytest.approx([400, 400, 300, 100])
    assert (frame["perimeter_m"] * 0.9996).tolist() == pytest.approx([100, 100, 80, 40])
    assert frame["color"].fillna("").tolist() == ["#00ff00", "", "", "#00ff00"]
    assert "confidence" not in frame
    assert frame.crs.to_epsg() == 32617
    np.testing.assert_array_equal(burnt(frame, IDS.shape, NORTH_UP), IDS)


def test_progress_ends_at_all_pixels(tmp_path, classes):
    heard = Heard()
    vectorize(classes, tmp_path / "out.fgb", reporter=heard)
    assert heard.progressed[-1] == ("polygons", IDS.size, IDS.size)


@pytest.mark.parametrize(
    "transform",
    [
        NORTH_UP,
        Affine(10, 0, 500_000, 0, 10, 4_000_000),
        Affine(10, 0, 500_000, 0, -4, 4_000_000),
        Affine(8, 3, 500_000, 3, -8, 4_000_000),
        Affine(-10, 0, 500_000, 0, -10, 4_000_000),
    ],
    ids=["north-up", "south-up", "non-square", "rotated", "mirrored"],
)
@pytest.mark.parametrize("crs", ["EPSG:32617", "EPSG:2263", None])
def test_georeferencing(tmp_path, transform, crs):
    write(tmp_path / "classes.tif", nodata=255, transform=transform, crs=crs)
    result = vectorize(tmp_path / "classes.tif", tmp_path / "out.parquet")
    frame = geopandas.read_parquet(result.output)
    assert frame.exterior.is_ccw.all()
    assert frame.is_valid.all()
    assert shapely.coverage_is_valid(frame.geometry.values)
    assert frame.area.sum() == pytest.approx(12 * abs(transform.determinant))
    np.testing.assert_array_equal(burnt(frame, IDS.shape, transform), IDS)
    assert (frame.crs is None) == (crs is None) == bool(result.notices)


@pytest.mark.parametrize(
    ("crs", "transform", "pixel_m2"),
    [
        ("EPSG:32617", NORTH_UP, 100),
        ("EPSG:2263", Affine(10, 0, 1e6, 0, -10, 2e5), 100 * (1200 / 3937) ** 2),
        ("EPSG:4326", Affine(1e-4, 0, 9, 0, -1e-4, 60), 62.2),
        ("EPSG:3857", Affine(10, 0, 1e6, 0, -10, 8_399_738), 25.08),
    ],
    ids=["metres", "us-feet", "geographic", "web-mercator"],
)
def test_areas(tmp_path, crs, transform, pixel_m2):
    write(tmp_path / "classes.tif", nodata=255, transform=transform, crs=crs)
    frame = frame_of(polygonize(tmp_path / "classes.tif", None, Legend()))
    assert (frame["area_m2"] / [4, 4, 3, 1]).tolist() == pytest.approx([pixel_m2] * 4, rel=1e-3)


def pixel_coordinates(frame) -> bool:
    return frame.crs is None and frame.total_bounds.tolist() == [0, 0, 5, 3] and bool(frame["area_m2"].isna().all())


@pytest.mark.parametrize("kind", ["nothing", "gcps", "rpcs"])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_pixel_coordinates(tmp_path, kind):
    corners = [GroundControlPoint(row, col, col / 10, -row / 10) for row in (0, 3) for col in (0, 5)]
    coefficients = [1.0] + [0.0] * 19
    rpcs = RPC(0, 1, 1, 1, coefficients, coefficients, 1, 1, 1, 1, coefficients, coefficients, 1, 1)
    how = {
        "nothing": {"crs": None},
        "gcps": {"gcps": corners, "crs": "EPSG:4326"},
        "rpcs": {"rpcs": rpcs, "crs": None},
    }[kind]
    write(tmp_path / "classes.tif", **{"transform": None, **how})
    result = vectorize(tmp_path / "classes.tif", tmp_path / "out.gpkg")
    frame = geopandas.read_file(result.output)
    frame = frame.set_crs(None, allow_override=True)  # a GeoPackage says "undefined" where there is none
    assert pixel_coordinates(frame)
    assert "pixel coordinates" in result.notices[0]
    assert frame.exterior.is_ccw.all()


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int32", "uint32", "int64"])
def test_integer_types(tmp_path, dtype):
    nodata = -1 if dtype.startswith("int") else 9999
    values = np.where(IDS == 255, nodata, IDS.astype(np.int64)).astype(dtype)
    write(tmp_path / "classes.tif", values, nodata=nodata)
    frame = frame_of(polygonize(tmp_path / "classes.tif", None, Legend()))
    np.testing.assert_array_equal(burnt(frame, IDS.shape, NORTH_UP), IDS)


def test_mask_band(tmp_path):
    values = np.where(IDS == 255, 7, IDS)
    write(tmp_path / "classes.tif", values, mask=IDS != 255)
    frame = frame_of(polygonize(tmp_path / "classes.tif", None, Legend()))
    np.testing.assert_array_equal(burnt(frame, IDS.shape, NORTH_UP), IDS)


def test_alpha_band(tmp_path):
    bands = np.stack([np.where(IDS == 255, 7, IDS), np.where(IDS == 255, 0, 255)]).astype(np.uint8)
    path = tmp_path / "classes.tif"
    shape = {"count": 2, "height": 3, "width": 5, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **shape, transform=NORTH_UP, alpha="YES") as raster:
        raster.write(bands)
    np.testing.assert_array_equal(burnt(frame_of(polygonize(path, None, Legend())), IDS.shape, NORTH_UP), IDS)


def test_zero_is_nodata_and_255_a_class(tmp_path):
    write(tmp_path / "classes.tif", nodata=0)
    frame = frame_of(polygonize(tmp_path / "classes.tif", None, Legend()))
    assert sorted(frame["class_id"]) == [1, 2, 255]


MASK = np.uint8([[0, 255, 255, 0], [0, 255, 0, 0], [0, 0, 0, 255]])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize("nodata", [None, -9999, 65535])
def test_255_is_a_class_unless_the_raster_says_that_it_is_nodata(tmp_path, dtype, nodata):
    if nodata is not None and not np.iinfo(dtype).min <= nodata <= np.iinfo(dtype).max:
        pytest.skip("the type has no such value")
    raster = write(tmp_path / "mask.tif", MASK.astype(dtype), nodata=nodata)
    result = vectorize(raster, tmp_path / "mask.gpkg", check=True)
    assert result.class_shares == pytest.approx({"0": 8 / 12, "255": 4 / 12})
    assert [line for line in result.notices if "255 is nodata, so that it is a class (4 px)" in line]
    assert result.check.differing_pixels == 0


def test_255_is_a_class_within_an_area_of_interest_and_beside_a_mask(tmp_path):
    raster = write(tmp_path / "mask.tif", MASK)
    left, top = NORTH_UP @ (1, 0)
    right, bottom = NORTH_UP @ (4, 2)
    result = vectorize(raster, tmp_path / "mask.gpkg", bbox=(left, bottom, right, top), fill_holes="9px")
    assert result.class_shares == pytest.approx({"0": 3 / 6, "255": 3 / 6})
    masked = write(tmp_path / "masked.tif", MASK, mask=np.arange(12).reshape(3, 4) != 1)
    assert vectorize(masked, tmp_path / "masked.gpkg").class_shares == pytest.approx({"0": 8 / 11, "255": 3 / 11})


def test_a_raster_of_all_values_has_none_left_for_nodata(tmp_path):
    write(tmp_path / "grey.tif", np.arange(512, dtype=np.uint16).reshape(2, 256).astype(np.uint8))
    with pytest.raises(SceneError, match="all 256 values occur"):
        vectorize(tmp_path / "grey.tif", tmp_path / "grey.gpkg")


def test_confidence(tmp_path, classes):
    write(tmp_path / "confidence.tif", np.where(IDS == 1, 50, 100).astype(np.uint8))
    frame = frame_of(polygonize(classes, tmp_path / "confidence.tif", Legend()))
    assert frame["confidence"].tolist() == [1, 0.5, 1, 1]


def test_confidence_beyond_100_percent_is_refused(tmp_path, classes):
    write(tmp_path / "confidence.tif", np.where(IDS == 1, 200, 100).astype(np.uint8))
    with pytest.raises(SceneError, match="0 to 100 percent"):
        frame_of(polygonize(classes, tmp_path / "confidence.tif", Legend()))


def test_confidence_of_another_size(tmp_path, classes):
    write(tmp_path / "confidence.tif", IDS[:2])
    with pytest.raises(SceneError, match="5 × 2 pixels"):
        frame_of(polygonize(classes, tmp_path / "confidence.tif", Legend()))


def test_all_nodata(tmp_path):
    write(tmp_path / "classes.tif", np.full((4, 4), 255, np.uint8), nodata=255)
    write(tmp_path / "confidence.tif", np.zeros((4, 4), np.uint8))
    result = vectorize(tmp_path / "classes.tif", tmp_path / "out.gpkg")
    assert (result.polygons, result.class_shares) == (0, {})
    assert list(geopandas.read_file(result.output).columns) == [
        "class_id",
        "class",
        "area_m2",
        "perimeter_m",
        "geometry",
    ]
    assert "confidence" in polygonize(tmp_path / "classes.tif", tmp_path / "confidence.tif", Legend()).schema.names


@pytest.mark.parametrize("tile", [16, 64])
def test_strips_leave_no_trace(tmp_path, monkeypatch, tile):
    ids = np.random.default_rng(3).integers(0, 3, (100, 70)).astype(np.uint8).repeat(2, axis=0).repeat(3, axis=1)
    write(tmp_path / "classes.tif", ids, tiled=True, blockxsize=tile, blockysize=tile)
    whole = frame_of(polygonize(tmp_path / "classes.tif", None, Legend()))
    monkeypatch.setattr("geoseg.geo.grid.STRIP_PX", 1000)
    strips = frame_of(polygonize(tmp_path / "classes.tif", None, Legend()))
    assert shapely.equals_identical(whole.geometry.values, strips.geometry.values).all()


# ----------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("values", "profile", "message"),
    [
        (IDS.astype(np.float32) + 0.5, {}, "holds 0.5: pass a class raster of whole numbers"),
        (np.stack([IDS] * 3), {}, "3 bands"),
        (np.stack([IDS] * 2), {}, "2 bands"),
        (IDS.astype(np.complex64), {}, "complex64"),
        (IDS.astype(np.float64) * 1e18, {}, r"beyond 9,223,372,036,854,775,807: if it means nodata"),
        (IDS.astype(np.uint64) * 2**58, {}, "beyond 9,223"),
    ],
    ids=["fraction", "rgb", "two", "complex", "float64", "uint64"],
)
def test_no_class_raster(tmp_path, values, profile, message):
    write(tmp_path / "classes.tif", values, **profile)
    with pytest.raises(SceneError, match=message) as caught:
        vectorize(tmp_path / "classes.tif", tmp_path / "out.gpkg")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["classes.tif"]


@pytest.mark.parametrize("name", ["missing.tif", "", "text.txt"])
def test_unreadable(tmp_path, name):
    (tmp_path / "text.txt").write_text("no raster")
    with pytest.raises(SceneError, match="cannot read"):
        vectorize(tmp_path / name, tmp_path / "out.gpkg")


def test_truncated(tmp_path):
    path = write(tmp_path / "classes.tif", np.random.default_rng(0).integers(0, 9, (500, 500)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(SceneError, match="cannot read"):
        vectorize(path, tmp_path / "out.gpkg")
    assert not (tmp_path / "out.gpkg").exists()


def test_existing_output(tmp_path, classes):
    vectorize(classes, tmp_path / "out.gpkg")
    with pytest.raises(OutputError, match="exists"):
        vectorize(classes, tmp_path / "out.gpkg")
    assert vectorize(classes, tmp_path / "out.gpkg", overwrite=True).polygons == 4


@pytest.mark.parametrize("name", ["out.xyz", "out", "."])
def test_output_is_refused_before_work(tmp_path, name):
    with pytest.raises(OutputError):
        vectorize(tmp_path / "missing.tif", tmp_path / name)


def test_unreadable_class_names(tmp_path):
    write(tmp_path / "classes.tif", tags={"GEOSEG_CLASSES": '{"no": "list"}'})
    result = vectorize(tmp_path / "classes.tif", tmp_path / "out.gpkg")
    assert "GEOSEG_CLASSES" in result.notices[0]
    assert "0" in result.class_shares


# ------------------------------------------------------------------------------------------------------ small decisions


@pytest.mark.parametrize(
    ("file_nodata", "expected"),
    [(None, None), (0, 0), (0.0, 0), (255, 255), (7, 7), (-9999, None), (65535, None), (0.5, None)],
)
def test_only_a_class_id_is_nodata_of_a_class_raster(file_nodata, expected):
    assert own_nodata(SimpleNamespace(nodata=file_nodata)) == expected


def test_the_highest_id_that_none_has_stands_for_nodata():
    assert free_id(np.zeros(0, np.int64)) == 255
    assert free_id(np.array([0, 255])) == 254
    with pytest.raises(SceneError, match="all 256 values"):
        free_id(np.arange(256))


@pytest.mark.parametrize("height", [1, 511, 512, 30_000])
@pytest.mark.parametrize("width", [1, 1000, 30_000, 20_000_000])
@pytest.mark.parametrize("block_height", [1, 5, 512, 30_000])
@pytest.mark.parametrize("first", [0, 700])
def test_strip_windows(height, width, block_height, first):
    windows = list(strip_windows(Window(first, 3, height, width), block_height))
    assert windows[0].row == first
    assert sum(window.height for window in windows) == height
    assert all((window.col, window.width) == (3, width) for window in windows)
    assert all(window.height * width <= max(STRIP_PX_MOST, width) for window in windows)
    if block_height * width <= STRIP_PX:
        assert all(window.row % block_height == 0 for window in windows[1:])


def test_bytes_are_their_own_codes_and_are_not_copied():
    assert ByteCodes(255).encode(IDS) is IDS


# ------------------------------------------------------------------------------------------------------ generalisation


def patches(height=120, width=90, seed=5) -> np.ndarray:
    """Ragged patches of four classes with specks in them, and a corner without data."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.standard_normal((height, width)), 6) for _ in range(4)]
    ids = np.argmax(fields, axis=0).astype(np.uint8)
    ids[rng.random(ids.shape) < 0.02] = 3
    ids[:20, :30] = 255
    return ids


@pytest.fixture
def rough(tmp_path):
    return write(tmp_path / "rough.tif", patches(), nodata=255, tags=TAGS)


def made(raster, tmp_path, **settings) -> geopandas.GeoDataFrame:
    result = vectorize(raster, tmp_path / "made.gpkg", overwrite=True, **settings)
    return geopandas.read_file(result.output)


@pytest.mark.parametrize(
    "settings", [{"simplify": "1.5px"}, {"simplify": 15}, {"smooth": True}, {"simplify": 10, "smooth": True}]
)
@pytest.mark.parametrize("generalized", [{}, {"min_area": 900, "fill_holes": "9px"}, {"majority": 5}])
def test_generalized_polygons_leave_no_gap_and_no_overlap(tmp_path, rough, settings, generalized):
    frame = made(rough, tmp_path, **settings, **generalized)
    polygons = frame.geometry.to_numpy()
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    whole = shapely.union_all(polygons)
    assert shapely.area(polygons).sum() == pytest.approx(whole.area)
    assert shapely.get_num_interior_rings(shapely.get_parts(whole)).sum() == 0
    assert whole.area == pytest.approx(((patches() != 255) * 100).sum(), rel=0.01)
    assert len(frame) < 60 or not generalized


def test_metres_and_pixels_are_the_same_tolerance(tmp_path, rough):
    metres, pixels = made(rough, tmp_path, simplify=15.0), made(rough, tmp_path, simplify="1.5px")
    assert shapely.equals_identical(metres.geometry.values, pixels.geometry.values).all()
    square_metres, square_pixels = made(rough, tmp_path, min_area=900), made(rough, tmp_path, min_area="9px")
    assert shapely.equals_identical(square_metres.geometry.values, square_pixels.geometry.values).all()


def test_min_area_leaves_nothing_smaller(tmp_path, rough):
    frame = made(rough, tmp_path, min_area=2000)
    assert frame["area_m2"].min() >= 2000
    assert frame["area_m2"].sum() == pytest.approx((patches() != 255).sum() * 100 * UTM_DENSITY)


def test_some_classes(tmp_path, rough):
    assert set(made(rough, tmp_path, classes=("forest", "3"))["class_id"]) == {0, 3}


def test_dissolved(tmp_path, rough):
    frame = made(rough, tmp_path, dissolve=True)
    assert frame["class_id"].tolist() == [0, 1, 2, 3]
    expected = [(patches() == k).sum() * 100 * UTM_DENSITY for k in range(4)]
    assert frame["area_m2"].tolist() == pytest.approx(expected)
    assert frame.is_valid.all()


def test_eight_neighbours(tmp_path, rough):
    four, eight = made(rough, tmp_path), made(rough, tmp_path, connectivity=8)
    expected = sum(ndimage.label(patches() == k, np.ones((3, 3)))[1] for k in range(4))
    assert len(eight) == expected < len(four)
    np.testing.assert_array_equal(burnt(eight, (120, 90), NORTH_UP), patches())


def test_to_another_coordinate_system(tmp_path, rough):
    frame = made(rough, tmp_path, to_crs="EPSG:4326", simplify="1px")
    assert frame.crs.to_epsg() == 4326
    assert shapely.coverage_is_valid(frame.geometry.to_numpy())
    assert frame["area_m2"].sum() == pytest.approx((patches() != 255).sum() * 100, rel=0.01)


def test_a_box_of_interest(tmp_path, rough):
    frame = made(rough, tmp_path, bbox=(500_300, 3_999_000, 500_600, 3_999_500))
    expected = np.full((120, 90), 255, np.uint8)
    expected[50:100, 30:60] = patches()[50:100, 30:60]
    np.testing.assert_array_equal(burnt(frame, (120, 90), NORTH_UP), expected)


@pytest.mark.parametrize("crs", ["EPSG:32617", "EPSG:4326"])
def test_an_area_of_interest_in_any_coordinate_system(tmp_path, rough, crs):
    circle = shapely.Point(500_450, 3_999_400).buffer(250)
    geopandas.GeoSeries([circle], crs="EPSG:32617").to_crs(crs).to_file(tmp_path / "aoi.geojson")
    frame = made(rough, tmp_path, aoi=tmp_path / "aoi.geojson")
    inside = rasterize([circle], out_shape=(120, 90), transform=NORTH_UP) == 1
    expected = np.where(inside, patches(), 255)
    assert (burnt(frame, (120, 90), NORTH_UP) != expected).sum() <= (0 if crs == "EPSG:32617" else 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simplify": "wide"}, "simplify = 'wide'"),
        ({"simplify": 0}, "simplify = 0"),
        ({"min_area": -5}, "min_area = -5"),
        ({"majority": 4}, "majority 4 is even: give an odd number, e.g. 5"),
        ({"classes": ("lava",)}, "classes = 'lava': no such class; there are forest, water"),
        ({"to_crs": "EPSG:99999999"}, "to_crs = 'EPSG:99999999': no such coordinate system"),
        ({"bbox": (1, 2, 0, 3)}, "is empty: give left, bottom, right, top"),
        ({"bbox": (0, 0, 10, 10)}, r"bbox lies off .*rough\.tif, which covers 500000, 3998800, 500900, 4000000"),
        ({"aoi": "none.gpkg"}, r"cannot read aoi none\.gpkg"),
        ({"connectivity": 6}, "connectivity = 6"),
    ],
)
def test_a_setting_that_makes_no_sense_is_one_clear_line(tmp_path, rough, settings, message):
    with pytest.raises(SpecError, match=message) as caught:
        vectorize(rough, tmp_path / "out.gpkg", **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.gpkg").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"simplify": 2}, "simplify = 2.*no size on the ground: give pixels"),
        ({"min_area": 2}, "min_area = 2.*no size on the ground: give pixels"),
        ({"bbox": (0, 0, 1, 1)}, "has no coordinates: leave out bbox"),
        ({"to_crs": "EPSG:4326"}, "has no CRS to start from"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_metres_need_a_place_on_the_ground(tmp_path, settings, message):
    raster = write(tmp_path / "bare.tif", transform=None, crs=None)
    with pytest.raises(SpecError, match=message):
        vectorize(raster, tmp_path / "out.gpkg", **settings)
    assert vectorize(raster, tmp_path / "out.gpkg", min_area="2px", simplify="1px").polygons


def test_an_area_without_polygons_is_refused(tmp_path, rough):
    geopandas.GeoSeries([shapely.Point(5e5, 4e6)], crs="EPSG:32617").to_file(tmp_path / "aoi.gpkg")
    with pytest.raises(SpecError, match="holds no polygon"):
        vectorize(rough, tmp_path / "out.gpkg", aoi=tmp_path / "aoi.gpkg")


# -------------------------------------------------------------------------------------------------------------- styles


def test_a_geopackage_carries_its_style_if_it_is_told_to(tmp_path, classes):
    vectorize(classes, tmp_path / "plain.gpkg")
    assert pyogrio.list_layers(tmp_path / "plain.gpkg").tolist() == [["plain", "Polygon"]]
    vectorize(classes, tmp_path / "out.gpkg", embed_style=True)
    with sqlite3.connect(tmp_path / "out.gpkg") as database:
        ((layer, qml),) = database.execute("SELECT f_table_name, styleQML FROM layer_styles").fetchall()
    assert layer == "out"
    assert "#00ff00" in qml or "0,255,0" in qml
    assert "forest" in qml
    assert (tmp_path / "out.qml").exists()


@pytest.mark.parametrize("extension", FORMATS.names)
def test_every_format_gets_styles_beside_it(tmp_path, classes, extension):
    result = vectorize(classes, tmp_path / f"out{extension}")
    assert result.notices == ()
    assert "forest" in (tmp_path / "out.qml").read_text()
    assert "#00ff00" in (tmp_path / "out.sld").read_text()


def test_the_styles_of_a_raster_are_not_replaced(tmp_path, classes):
    (tmp_path / "classes.qml").write_text("the raster's")
    result = vectorize(classes, tmp_path / "classes.fgb")
    assert (tmp_path / "classes.qml").read_text() == "the raster's"
    assert "were not written, because of" in result.notices[0]
    assert "classes.qml would be its style, too, or choose another name" in result.notices[0]


def test_a_geopackage_without_room_for_styles_beside_it_carries_them(tmp_path, classes):
    result = vectorize(classes, classes.with_suffix(".gpkg"))
    assert "are inside of it only, because of" in result.notices[0]
    assert ["layer_styles", None] in pyogrio.list_layers(result.output).tolist()


def test_a_style_beside_it_that_shows_polygons_as_well_is_enough(tmp_path, classes):
    vectorize(classes, tmp_path / "other.fgb")
    (tmp_path / "other.qml").rename(classes.with_suffix(".qml"))
    result = vectorize(classes, classes.with_suffix(".gpkg"))
    assert "were not written, because of" in result.notices[0]
    assert len(pyogrio.list_layers(result.output)) == 1


# ---------------------------------------------------------------------------------------------------------- confidence


def confidence_file(tmp_path, values, **profile) -> Path:
    return write_raster(tmp_path / "confidence.tif", np.asarray(values), transform=NORTH_UP, **profile)


@pytest.mark.parametrize(
    "values",
    [np.full(IDS.shape, 60, np.uint8), np.full(IDS.shape, 0.6, np.float32), np.full(IDS.shape, 60, np.int16)],
    ids=["percent", "fractions", "percent-int16"],
)
def test_polygons_keep_the_mean_confidence_of_their_pixels(tmp_path, classes, values):
    values[0, 0] *= 0.5
    result = vectorize(classes, tmp_path / "out.gpkg", confidence=confidence_file(tmp_path, values))
    frame = geopandas.read_file(result.output)
    pixels = (frame["area_m2"] / UTM_DENSITY / 100).round()
    expected = np.where(frame.index == 0, (0.6 * (pixels - 1) + 0.3) / pixels, 0.6)
    assert frame["confidence"].to_numpy() == pytest.approx(expected, abs=1e-6)


def test_pixels_without_confidence_have_none_of_it(tmp_path, classes):
    values = np.full(IDS.shape, 0.5, np.float32)
    values[:] = np.nan
    frame = made(classes, tmp_path, confidence=confidence_file(tmp_path, values), check=True)
    assert (frame["confidence"] == 0).all()


@pytest.mark.parametrize(
    ("values", "profile", "message"),
    [
        (np.full(IDS.shape, 120, np.uint8), {}, "holds 120: confidence goes from 0 to 100"),
        (np.full(IDS.shape, 60, np.float32), {}, "holds 60: confidence goes from 0 to 100"),
        (np.zeros((2, *IDS.shape), np.uint8), {}, "has 2 bands"),
        (np.zeros((9, 9), np.uint8), {}, "pass confidence on the same pixels"),
        (np.zeros(IDS.shape, np.uint8), {"crs": "EPSG:32633"}, "pass confidence on the same pixels"),
    ],
    ids=["too-much", "percent-as-fractions", "two-bands", "another-size", "another-place"],
)
def test_what_is_no_confidence_of_this_raster_is_refused(tmp_path, classes, values, profile, message):
    with pytest.raises(SceneError, match=message):
        vectorize(classes, tmp_path / "out.gpkg", confidence=confidence_file(tmp_path, values, **profile))
    assert not (tmp_path / "out.gpkg").exists()


@needs_fork
@pytest.mark.parametrize("extension", FORMATS.names)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, extension):
    ids = np.random.default_rng(0).integers(0, 9, (120, 120)).astype(np.uint8)
    write(tmp_path / "classes.tif", ids)
    (tmp_path / "out").mkdir()

    def vectorize_on_a_full_disk():
        """A file of more than 40 kB does not fit."""
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        main(["vectorize", str(tmp_path / "classes.tif"), "-o", str(tmp_path / "out" / f"made{extension}")])

    assert exit_code_of(vectorize_on_a_full_disk, tmp_path / "said.txt") == 1
    said = (tmp_path / "said.txt").read_text()
    assert said.count("\n") == 1, said
    assert "cannot write" in said
    assert list((tmp_path / "out").iterdir()) == []


def test_classes_without_colours_get_some(tmp_path):
    vectorize(write(tmp_path / "classes.tif", nodata=255), tmp_path / "out.fgb")
    sld = (tmp_path / "out.sld").read_text()
    assert len(set(re.findall("#[0-9a-f]{6}", sld))) >= 3


def test_a_colour_table_gives_the_colours(tmp_path):
    path = write(tmp_path / "classes.tif", nodata=255)
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {0: (1, 2, 3, 255), 1: (255, 0, 128, 255), 2: (9, 9, 9, 255)})
    vectorize(path, tmp_path / "out.parquet")
    colors = geopandas.read_parquet(tmp_path / "out.parquet").set_index("class_id")["color"]
    assert colors.loc[[1, 2]].tolist() == ["#ff0080", "#090909"]


# --------------------------------------------------------------------------------------------------------------- check


@pytest.mark.parametrize("extension", [".gpkg", ".shp", ".fgb", ".parquet"])
@pytest.mark.parametrize(
    "settings", [{}, {"dissolve": True}, {"connectivity": 8}, {"min_area": "9px"}, {"classes": ("1", "3")}]
)
def test_raw_polygons_are_the_raster(tmp_path, extension, settings):
    rough = write(tmp_path / "rough.tif", patches(), nodata=255)
    check = vectorize(rough, tmp_path / f"out{extension}", check=True, **settings).check
    assert check.differing_pixels == 0
    assert check.area_ratio == pytest.approx(1, abs=1e-12)
    assert check.is_coverage
    assert check.pixels == np.isin(patches(), (1, 3) if "classes" in settings else (0, 1, 2, 3)).sum()


def test_simplified_polygons_are_a_coverage_that_differs_a_little(tmp_path, rough):
    check = vectorize(rough, tmp_path / "out.gpkg", check=True, simplify="1.5px", smooth=True).check
    assert check.is_coverage
    assert 0 < check.differing_pixels < 0.05 * check.pixels
    assert check.area_ratio == pytest.approx(1, rel=0.01)


def test_a_rotated_raster_is_checked_too(tmp_path):
    write(tmp_path / "classes.tif", patches(), nodata=255, transform=Affine(8, 3, 500_000, 3, -8, 4_000_000))
    check = vectorize(tmp_path / "classes.tif", tmp_path / "out.gpkg", check=True).check
    assert (check.differing_pixels, check.is_coverage) == (0, True)


def test_a_check_finds_what_is_wrong(tmp_path, rough, monkeypatch):
    def lose_one(layer, path, **options):
        write_polygons(replace(layer, regions=layer.regions.take(np.arange(1, len(layer)))), path, **options)

    monkeypatch.setattr("geoseg.commands.vectorize.write_polygons", lose_one)
    check = vectorize(rough, tmp_path / "out.gpkg", check=True).check
    assert check.differing_pixels > 0
    assert check.area_ratio < 1


@pytest.mark.parametrize(("name", "settings"), [("out.gpkg", {"to_crs": "EPSG:4326"}), ("out.geojson", {})])
def test_what_cannot_be_checked_is_refused(tmp_path, rough, name, settings):
    with pytest.raises(SpecError, match="only polygons in the raster's CRS can be checked"):
        vectorize(rough, tmp_path / name, check=True, **settings)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("settings", [{"smooth": True}, {"simplify": "3px", "smooth": True}, {"simplify": "20px"}])
def test_the_frame_of_a_raster_stays(tmp_path, settings):
    ids = np.where(patches() == 255, 0, patches()).astype(np.uint8)
    frame = made(write(tmp_path / "full.tif", ids), tmp_path, **settings)
    left, top = NORTH_UP.c, NORTH_UP.f
    whole = shapely.box(left, top - 1200, left + 900, top)
    assert shapely.equals(shapely.union_all(frame.geometry.to_numpy()), whole)


def test_an_empty_layer_is_told_of(tmp_path):
    write(tmp_path / "classes.tif", np.full((4, 4), 255, np.uint8), nodata=255)
    assert "the layer is empty" in vectorize(tmp_path / "classes.tif", tmp_path / "out.gpkg").notices[-1]


# -------------------------------------------------------------------------------------------- areas and systems, oddly


def area_file(tmp_path, shapes, crs="EPSG:32617"):
    geopandas.GeoSeries(shapes, crs=crs).to_file(tmp_path / "aoi.gpkg")
    return tmp_path / "aoi.gpkg"


def test_a_hole_in_the_area_of_interest_is_never_filled(tmp_path):
    write(tmp_path / "full.tif", np.zeros((40, 40), np.uint8))
    hole = shapely.box(500_150, 3_999_750, 500_170, 3_999_770)
    area = shapely.box(500_050, 3_999_650, 500_350, 3_999_950).difference(hole)
    frame = made(tmp_path / "full.tif", tmp_path, aoi=area_file(tmp_path, [area]), fill_holes="30px")
    assert frame["area_m2"].sum() == pytest.approx(area.area * UTM_DENSITY)


def test_far_parts_of_an_area_do_not_matter(tmp_path, rough):
    near = geopandas.GeoSeries([shapely.box(500_100, 3_999_100, 500_500, 3_999_600)], crs="EPSG:32617").to_crs(4326)
    far = shapely.box(99, 60, 179, 89)
    both = made(rough, tmp_path, aoi=area_file(tmp_path, [near[0], far], 4326))
    alone = made(rough, tmp_path, aoi=area_file(tmp_path, [near[0]], 4326))
    assert len(both) == len(alone) > 0


def test_the_whole_world_is_no_limit(tmp_path, rough):
    frame = made(rough, tmp_path, aoi=area_file(tmp_path, [shapely.box(-180, -90, 180, 90)], 4326))
    np.testing.assert_array_equal(burnt(frame, (120, 90), NORTH_UP), patches())


@pytest.mark.parametrize(
    ("shapes", "crs", "message"),
    [
        ([shapely.box(99, 60, 179, 89)], 4326, "lies off"),
        ([shapely.Polygon([(-81, 36), (-81, 36), (-81, 36)])], 4326, "holds no polygon"),
    ],
)
def test_an_area_that_cannot_be_is_one_line(tmp_path, rough, shapes, crs, message):
    with pytest.raises(SpecError, match=message):
        vectorize(rough, tmp_path / "out.gpkg", aoi=area_file(tmp_path, shapes, crs))


@pytest.mark.parametrize(
    ("target", "message"),
    [("EPSG:5703", "is no system of maps"), ("EPSG:4978", "is no system of maps"), ("EPSG:32632", "beyond what")],
)
def test_a_system_that_cannot_show_the_raster_is_refused(tmp_path, target, message):
    write(tmp_path / "world.tif", transform=Affine(72, 0, -180, 0, -60, 90), crs="EPSG:4326")
    with pytest.raises(SpecError, match=message):
        vectorize(tmp_path / "world.tif", tmp_path / "out.gpkg", to_crs=target)


def test_a_local_system_leads_nowhere(tmp_path):
    write(tmp_path / "local.tif", crs=CRS.from_wkt('LOCAL_CS["unnamed",UNIT["metre",1]]'))
    with pytest.raises(SpecError, match="to_crs"):
        vectorize(tmp_path / "local.tif", tmp_path / "out.gpkg", to_crs="EPSG:4326")


def test_a_box_without_end_is_refused(tmp_path, rough):
    with pytest.raises(SpecError, match="bbox"):
        vectorize(rough, tmp_path / "out.gpkg", bbox=(-np.inf, 0, np.inf, 1))


def test_styles_of_the_user_stay(tmp_path, rough):
    (tmp_path / "out.qml").write_text("mine")
    result = vectorize(rough, tmp_path / "out.fgb")
    assert (tmp_path / "out.qml").read_text() == "mine"
    assert "out.qml: pass --overwrite to replace it" in result.notices[0]
    vectorize(rough, tmp_path / "out.fgb", overwrite=True)
    assert "mine" not in (tmp_path / "out.qml").read_text()


def test_255_as_a_class_has_a_style(tmp_path):
    write(tmp_path / "classes.tif", np.uint8([[255, 7], [0, 255]]), nodata=0)
    vectorize(tmp_path / "classes.tif", tmp_path / "out.fgb")
    assert (tmp_path / "out.sld").read_text().count("<Rule") == 2


def test_classes_that_cannot_exist_are_refused(tmp_path, rough):
    with pytest.raises(SpecError, match="classes = '300': no such class"):
        vectorize(rough, tmp_path / "out.gpkg", classes=("300",))
    assert "the layer is empty" in vectorize(rough, tmp_path / "out.gpkg", classes=("9",)).notices[-1]


# ---------------------------------------------------------------------------------------------------------- longitudes

LEFT_EDGES = (-540, -180.1, -0.1, 179.9, 200, 359.9, 400, 720)


def opened(path):
    return geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)


def degrees_of(frame) -> dict[int, float]:
    """Area of each class in square degrees."""
    return {k: shapely.area(part.geometry.to_numpy()).sum() for k, part in frame.groupby("class_id")}


@pytest.mark.parametrize("side", [0.05, 360 / 72])
@pytest.mark.parametrize("left", LEFT_EDGES)
def test_all_ground_is_there_once_wherever_longitudes_begin(tmp_path, left, side):
    ids = np.kron(np.random.default_rng(0).integers(0, 3, (4, 36)), np.ones((2, 2), int)).astype("uint8")
    ids[1, 5:9] = 255
    write(tmp_path / "in.tif", ids, transform=Affine(side, 0, left, 0, -1, 40), crs="EPSG:4326", nodata=255)
    expected = {k: side * float((ids == k).sum()) for k in range(3)}
    for end in (".gpkg", ".shp", ".geojson", ".fgb", ".parquet"):
        vectorize(tmp_path / "in.tif", tmp_path / f"out{end}")
        frame = opened(tmp_path / f"out{end}")
        assert degrees_of(frame) == pytest.approx(expected, rel=1e-9)
        assert frame.is_valid.all()
    vectorize(tmp_path / "in.tif", tmp_path / "wrapped.gpkg", to_crs="EPSG:4326")
    for name in ("out.geojson", "wrapped.gpkg"):
        frame = opened(tmp_path / name)
        west, _, east, _ = frame.total_bounds
        assert west >= -180
        assert east <= 180
        assert frame.union_all().area == pytest.approx(sum(expected.values()))
        assert all(part.exterior.is_ccw for part in shapely.get_parts(frame.geometry.to_numpy()))


@pytest.mark.parametrize(
    ("crs", "left", "top", "step"),
    [
        ("EPSG:32601", 296_000, 6_000_000, 100),
        ("EPSG:3857", 20_037_508.342789244 - 5_000, 6_000_000, 100),
        ("EPSG:3857", 2.2e7, 6_000_000, 100),
        ("EPSG:3832", 3.2e6, 5_000_000, 10_000),
        ("EPSG:3413", -2e6, 2.05e5, 10_000),
        ("EPSG:3031", -2e6, 2e5, 10_000),
    ],
)
def test_maps_across_180_degrees_are_cut_there(tmp_path, crs, left, top, step):
    ids = np.kron(np.random.default_rng(0).integers(0, 3, (4, 40)), np.ones((10, 10), int)).astype("uint8")
    write(tmp_path / "in.tif", ids, transform=Affine(step, 0, left, 0, -step, top), crs=crs)
    earth = Geod(ellps="WGS84")
    for name, settings in (("out.geojson", {}), ("out.gpkg", {"to_crs": "EPSG:4326"})):
        vectorize(tmp_path / "in.tif", tmp_path / name, **settings)
        frame = opened(tmp_path / name)
        west, _, east, _ = frame.total_bounds
        assert west >= -180
        assert east <= 180
        on_earth = np.array([earth.geometry_area_perimeter(shape)[0] for shape in frame.geometry])
        assert on_earth.sum() == pytest.approx(frame["area_m2"].sum(), rel=0.01)
        in_degrees = shapely.area(frame.geometry.to_numpy()).sum()
        assert frame.union_all().area == pytest.approx(in_degrees, rel=1e-3)


def test_one_class_round_the_globe_is_one_polygon(tmp_path):
    for left in (-180, -180.1, 0, 179.9, 720):
        write(tmp_path / "in.tif", np.zeros((18, 36), "uint8"), transform=Affine(10, 0, left, 0, -10, 90), crs=4326)
        vectorize(tmp_path / "in.tif", tmp_path / "out.geojson", overwrite=True)
        (shape,) = geopandas.read_file(tmp_path / "out.geojson").geometry
        assert shape.equals(shapely.box(-180, -90, 180, 90))


def test_a_raster_counted_from_another_turn_has_a_place_on_every_map(tmp_path):
    here = Affine(0.01, 0, 12, 0, -0.01, 20)
    for name, transform in (("here", here), ("turned", Affine.translation(360, 0) @ here)):
        write(tmp_path / f"{name}.tif", transform=transform, crs="EPSG:4326")
        vectorize(tmp_path / f"{name}.tif", tmp_path / f"{name}.gpkg", to_crs="EPSG:32633")
    one, other = (geopandas.read_file(tmp_path / f"{name}.gpkg") for name in ("here", "turned"))
    assert one.geometry.geom_equals_exact(other.geometry, 1e-3).all()


def test_a_map_that_would_be_torn_is_refused(tmp_path):
    write(tmp_path / "in.tif", transform=Affine(1, 0, 178, 0, -1, 20), crs="EPSG:4326")
    with pytest.raises(SpecError, match="reaches beyond what WGS 84 / Pseudo-Mercator can show"):
        vectorize(tmp_path / "in.tif", tmp_path / "out.gpkg", to_crs="EPSG:3857")


def test_what_has_no_longitude_is_told_instead_of_what_arrow_says(tmp_path):
    write(tmp_path / "in.tif", transform=Affine(9e6, 0, -22e6, 0, -6e6, 9e6), crs="ESRI:54009")
    with pytest.raises(OutputError, match=r"the raster reaches beyond what WGS 84 .* can show: write its polygons in"):
        vectorize(tmp_path / "in.tif", tmp_path / "out.geojson")


def test_geojson_beyond_180_degrees_cannot_be_checked(tmp_path):
    write(tmp_path / "in.tif", transform=Affine(1, 0, 178, 0, -1, 20), crs="EPSG:4326")
    with pytest.raises(SpecError, match="write another format than GeoJSON"):
        vectorize(tmp_path / "in.tif", tmp_path / "out.geojson", check=True)


GLOBE = np.arange(36, dtype=np.uint8).reshape(1, 36).repeat(18, 0)
"""Class ids by columns of 10 degrees."""


def columns_within(tmp_path, west, **area) -> list[int]:
    """Columns of a map of the globe, counted from -180°, that have polygons within an area."""
    columns = np.roll(GLOBE, round((-180 - west) / 10), axis=1)
    write(tmp_path / "globe.tif", columns, transform=Affine(10, 0, west, 0, -10, 90), crs="EPSG:4326")
    return sorted(made(tmp_path / "globe.tif", tmp_path, **area)["class_id"])


@pytest.mark.parametrize("west", [-540, -10, 170, 720])
def test_areas_are_found_wherever_longitudes_are_counted_from(tmp_path, west):
    spans = {(-100, -80): [8, 9], (-10, 10): [17, 18], (170, 190): [0, 35]}
    for (left, right), columns in spans.items():
        assert columns_within(tmp_path, west, bbox=(left, -20, right, 20)) == columns
        for crs in (4326, 4258):
            area = area_file(tmp_path, [shapely.box(left + 1, -20, right - 1, 20)], crs)
            assert columns_within(tmp_path, west, aoi=area) == columns
    both = area_file(tmp_path, [shapely.box(171, -20, 180, 20), shapely.box(-180, -20, -171, 20)], 4326)
    assert columns_within(tmp_path, west, aoi=both) == [0, 35]


@pytest.mark.parametrize("shapes", [[(179, 180), (-180, -179)], [(179, 181)], [(-181, -179)]])
@pytest.mark.parametrize(
    ("crs", "left", "step"),
    [("EPSG:32601", 146_000, 1000), ("EPSG:3832", 3_338_958, 1000), ("EPSG:3857", 2.00e7, 2000)],
)
def test_an_area_across_180_degrees_lies_on_any_map(tmp_path, crs, left, step, shapes):
    transform = Affine(step, 0, left, 0, -step, 10 * step)
    write(tmp_path / "in.tif", np.zeros((20, 40), np.uint8), transform=transform, crs=crs)
    area = area_file(tmp_path, [shapely.box(west, -0.01, east, 0.01) for west, east in shapes], 4326)
    frame = made(tmp_path / "in.tif", tmp_path, aoi=area)
    x0, _, x1, _ = frame.total_bounds
    assert (x0, x1) == (left, left + 40 * step)


def test_an_area_round_a_pole_lies_on_its_map(tmp_path):
    transform = Affine(50_000, 0, -2e6, 0, -50_000, 2e6)
    write(tmp_path / "in.tif", np.zeros((80, 80), np.uint8), transform=transform, crs="EPSG:3413")
    for south in (80, -90):
        frame = made(tmp_path / "in.tif", tmp_path, aoi=area_file(tmp_path, [shapely.box(-180, south, 180, 90)], 4326))
        whole = np.pi * 1.1e6**2 if south == 80 else 4e6**2
        assert shapely.area(frame.geometry.to_numpy()).sum() == pytest.approx(whole, rel=0.05)


def test_one_of_several_layers_of_an_area_must_be_named(tmp_path, rough):
    area = shapely.box(500_100, 3_999_100, 500_500, 3_999_600)
    path = area_file(tmp_path, [area])
    geopandas.GeoSeries([shapely.box(0, 0, 1, 1)], crs=32617).to_file(path, layer="elsewhere")
    with pytest.raises(
        SpecError, match=r"it has the layers aoi, elsewhere: name one, e\.g\. '.*aoi\.gpkg\|layername=aoi'"
    ):
        vectorize(rough, tmp_path / "out.gpkg", aoi=path)
    with pytest.raises(SpecError, match="there is no layer nowhere, only aoi, elsewhere"):
        vectorize(rough, tmp_path / "out.gpkg", aoi=f"{path}|layername=nowhere")
    assert made(rough, tmp_path, aoi=f"{path}|layername=aoi")["area_m2"].sum() == pytest.approx(area.area * UTM_DENSITY)


def test_what_is_no_file_of_polygons_is_no_area(tmp_path, rough):
    (tmp_path / "folder").mkdir()
    geopandas.GeoSeries([shapely.box(0, 0, 1, 1)], crs=32617).to_file(tmp_path / "folder" / "one.shp")
    for area, message in (
        (tmp_path / "folder", "it is a folder"),
        ("", "aoi = ''"),
        (" ", "an empty path"),
        ("a\0b", "null"),
        ("a" * 300, "cannot read"),
    ):
        with pytest.raises(SpecError, match=message):
            vectorize(rough, tmp_path / "out.gpkg", aoi=area)


def test_an_area_without_a_coordinate_system_is_refused_where_the_raster_has_one(tmp_path, rough):
    area = shapely.box(500_100, 3_999_100, 500_500, 3_999_600)
    with pytest.raises(SpecError, match=r"aoi .*aoi\.gpkg does not say in which coordinate system it is"):
        vectorize(rough, tmp_path / "out.gpkg", aoi=area_file(tmp_path, [area], None))
    write(tmp_path / "bare.tif", patches(), crs=None)
    assert len(made(tmp_path / "bare.tif", tmp_path, aoi=area_file(tmp_path, [area], None)))


def test_an_open_ring_of_an_area_is_closed_and_infinite_ones_are_named(tmp_path, rough):
    area = shapely.box(500_100, 3_999_100, 500_500, 3_999_600)
    geopandas.GeoSeries([area], crs=32617).to_file(tmp_path / "aoi.geojson")
    content = json.loads((tmp_path / "aoi.geojson").read_text())
    ring = content["features"][0]["geometry"]["coordinates"][0]
    ring.pop()
    (tmp_path / "aoi.geojson").write_text(json.dumps(content))
    assert made(rough, tmp_path, aoi=tmp_path / "aoi.geojson")["area_m2"].sum() == pytest.approx(
        area.area * UTM_DENSITY
    )
    ring[1][0] = float("nan")
    (tmp_path / "aoi.geojson").write_text(json.dumps(content))
    with pytest.raises(SpecError, match="feature 0 has coordinates that are infinite or not a number"):
        vectorize(rough, tmp_path / "out.gpkg", aoi=tmp_path / "aoi.geojson")


def test_an_area_in_a_local_system_has_no_place_on_the_map(tmp_path, rough):
    site = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    with pytest.raises(SpecError, match=r"cannot be reprojected from .* to the raster's EPSG:32617"):
        vectorize(rough, tmp_path / "out.gpkg", aoi=area_file(tmp_path, [shapely.box(0, 0, 1, 1)], site))
