"""Scenes of one file per band, read as if they were one raster."""

import json

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from support.rasters import write_raster

from geoseg.core.errors import SceneError
from geoseg.geo.grid import Window
from geoseg.raster.bands.file_names import names_of_files
from geoseg.raster.bands.matching import choose_bands
from geoseg.raster.bands.tags import BandTag
from geoseg.raster.composites import BandFile, open_raster
from geoseg.raster.regridded import resampled
from geoseg.raster.scene import Scene
from geoseg.raster.scene_bands import SceneBands

RNG = np.random.default_rng(0)


def band(path, metres, values, x=0.0, y=0.0, **profile):
    """A file of one band whose corner is shifted by x metres to the right, y metres up."""
    return write_raster(path, values, transform=from_origin(300_000 + x, 4_300_000 + y, metres, metres), **profile)


def address(*paths):
    return "+".join(map(str, paths))


def read(scene, window=None, nodata=None):
    bands = SceneBands.select(scene, range(1, len(scene.info.colors) + 1), nodata=nodata)
    return bands.read(window or Window(0, 0, scene.height, scene.width))


def random(side, dtype=np.uint16, channels=None):
    size = (side, side) if channels is None else (channels, side, side)
    return RNG.integers(1, 200 if dtype == np.uint8 else 5000, size, dtype)


def finer(values, ratio):
    """Values interpolated linearly to pixels smaller by a whole ratio, constant beyond the outermost centres."""
    for axis in (0, 1):
        at = (np.arange(values.shape[axis] * ratio) + 0.5) / ratio - 0.5
        known = np.arange(values.shape[axis])
        values = np.apply_along_axis(lambda line: np.interp(at, known, line), axis, values)  # noqa: B023
    return values


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_bands_of_one_grid_are_read_as_they_are(tmp_path, dtype):
    values = random(40, np.uint8 if dtype == np.uint8 else np.uint16, 3).astype(dtype)
    files = [band(tmp_path / f"{name}.tif", 10, one) for name, one in zip("rgb", values, strict=True)]
    stacked = write_raster(tmp_path / "stack.tif", values, transform=from_origin(300_000, 4_300_000, 10, 10))
    with open_raster(address(*files)) as scene, Scene.open(stacked) as single:
        for window in (Window(0, 0, 40, 40), Window(7, 3, 20, 31)):
            found, valid = read(scene, window)
            expected, is_valid = read(single, window)
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(valid, is_valid)
            assert found.dtype == expected.dtype
        assert scene.info.mask == "none"
        assert scene.grid == single.grid


@pytest.mark.parametrize("ratio", [2, 3, 6])
def test_larger_pixels_are_interpolated_half_pixel_exactly_in_any_window(tmp_path, ratio):
    fine, coarse = random(36), random(36 // ratio)
    files = band(tmp_path / "b3.tif", 10, fine), band(tmp_path / "b11.tif", 10 * ratio, coarse)
    expected = finer(coarse.astype(float), ratio)
    with open_raster(address(*files)) as scene:
        assert (scene.height, scene.width) == (36, 36)
        for window in (Window(0, 0, 36, 36), Window(5, 11, 7, 1), Window(35, 35, 1, 1), Window(30, 0, 6, 36)):
            values, valid = read(scene, window)
            assert valid.all()
            np.testing.assert_array_equal(values[0], fine[window.slices])
            np.testing.assert_allclose(values[1], expected[window.slices], rtol=1e-5)


def test_smaller_pixels_are_averaged_by_area_also_where_grids_are_shifted(tmp_path):
    """As Landsat's panchromatic band, whose pixels of 15 m begin 7.5 m before those of 30 m."""
    pan = random(43).astype(float)
    red = random(20)
    parts = (
        BandFile(str(band(tmp_path / "b4.tif", 30, red))),
        BandFile(str(band(tmp_path / "b8.tif", 15, pan.astype(np.uint16), x=-7.5, y=7.5)), shapes_grid=False),
    )
    weights = np.zeros((20, 43))
    for i in range(20):  # 30 m cover the second half of a pixel, a whole one and the first half of the next
        weights[i, 2 * i : 2 * i + 3] = 0.25, 0.5, 0.25
    with open_raster("both", parts=parts) as scene:
        values, valid = read(scene)
        assert (scene.height, scene.info.descriptions) == (20, ("b4", "b8"))
        assert valid.all()
        np.testing.assert_allclose(values[1], weights @ pan @ weights.T, rtol=1e-5)
        np.testing.assert_allclose(
            read(scene, Window(3, 4, 5, 6))[0][1], (weights @ pan @ weights.T)[3:8, 4:10], rtol=1e-5
        )


@pytest.mark.parametrize("shift", [0.25, 0.5])
def test_a_shift_by_a_part_of_a_pixel_is_no_shift_to_the_nearest(tmp_path, shift):
    ramp = np.tile(np.arange(40, dtype=np.uint16) * 100, (40, 1))
    files = band(tmp_path / "r.tif", 10, ramp), band(tmp_path / "g.tif", 10, ramp, x=-10 * shift)
    with open_raster(address(*files)) as scene:
        values, _ = read(scene, Window(1, 1, 30, 30))
        np.testing.assert_allclose(values[1], values[0] + 100 * shift, rtol=1e-5)


def test_a_pixel_is_valid_where_every_band_that_is_read_is(tmp_path):
    red, swir = random(12), random(6)
    red[0, :] = 0
    swir[2, 3] = 0
    mask = np.full((12, 12), 255, np.uint8)
    mask[:, -1] = 0
    files = (
        band(tmp_path / "red.tif", 10, red, nodata=0),
        band(tmp_path / "green.tif", 10, random(12), mask=mask),
        band(tmp_path / "swir.tif", 20, swir, nodata=0),
        band(tmp_path / "nir.tif", 10, np.zeros((12, 12), np.uint16), nodata=0),
    )
    expected = np.ones((12, 12), bool)
    expected[0] = expected[:, -1] = expected[4:6, 6:8] = False
    with open_raster(address(*files)) as scene:
        values, valid = SceneBands.select(scene, (1, 2, 3)).read(Window(0, 0, 12, 12))
        np.testing.assert_array_equal(valid, expected)
        known = np.where(swir == 0, np.nan, swir)
        assert np.nanmin(known) <= values[2][valid].min()  # no value is mixed with nodata
        assert not SceneBands.select(scene, (1, 4)).read(Window(0, 0, 12, 12))[1].any()
        assert scene.info.mask == "bands"


def test_given_nodata_counts_before_values_are_resampled(tmp_path):
    coarse = np.full((6, 6), 100, np.uint16)
    coarse[0, 0] = 7
    files = band(tmp_path / "r.tif", 10, random(12)), band(tmp_path / "s.tif", 20, coarse)
    with open_raster(address(*files)) as scene:
        values, valid = read(scene, nodata=7.0)
        assert not valid[:2, :2].any()
        assert (values[1][valid] == 100).all()
        assert read(scene)[1].all()


def test_beyond_a_smaller_file_there_is_no_data(tmp_path):
    files = band(tmp_path / "r.tif", 10, random(20)), band(tmp_path / "g.tif", 10, random(8), x=40, y=-40)
    with open_raster(address(*files)) as scene:
        _, valid = read(scene)
        expected = np.zeros((20, 20), bool)
        expected[4:12, 4:12] = True
        np.testing.assert_array_equal(valid, expected)
        assert not read(scene, Window(15, 15, 5, 5))[1].any()


def test_at_another_resolution_each_file_is_resampled_once(tmp_path):
    """A band of 20 m beside one of 10 m is itself at 20 m, and not blurred by a way over 10 m."""
    fine, coarse = random(24), random(12)
    files = band(tmp_path / "b4.tif", 10, fine), band(tmp_path / "b11.tif", 20, coarse)
    with open_raster(address(*files)) as scene:
        source = resampled(SceneBands.select(scene, (1, 2)), 12, 12)
        values, valid = source.read(Window(2, 3, 8, 9))
        assert valid.all()
        np.testing.assert_allclose(values[1], coarse[2:10, 3:12], rtol=1e-6)
        np.testing.assert_allclose(values[0], fine.reshape(12, 2, 12, 2).mean((1, 3))[2:10, 3:12], rtol=1e-5)


def test_an_area_of_interest_limits_bands_at_another_resolution_too(tmp_path):
    files = band(tmp_path / "b4.tif", 10, random(24)), band(tmp_path / "b11.tif", 20, random(12))
    triangle = [[300_000, 4_300_000], [300_240, 4_300_000], [300_000, 4_299_760], [300_000, 4_300_000]]
    area = {"type": "Polygon", "coordinates": [triangle]}
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32617"}}
    features = [{"type": "Feature", "properties": {}, "geometry": area}]
    document = {"type": "FeatureCollection", "crs": crs, "features": features}
    (tmp_path / "area.geojson").write_text(json.dumps(document))
    with open_raster(address(*files)) as whole:
        scene = whole.within(tmp_path / "area.geojson", None)
        source = resampled(SceneBands.select(scene, (1, 2)), 12, 12)
        _, valid = source.read(Window(0, 0, 12, 12))
        assert valid[0, 0]
        assert not valid[11, 11]
        assert 0.4 < valid.mean() < 0.6


# --------------------------------------------------------------------------------------------------------- what differs


def test_bands_of_another_coordinate_system_are_refused(tmp_path):
    files = band(tmp_path / "r.tif", 10, random(8)), band(tmp_path / "g.tif", 10, random(8), crs="EPSG:32618")
    with pytest.raises(SceneError, match=r"g\.tif is in EPSG:32618, .*r\.tif in EPSG:32617: bring .* one CRS"):
        open_raster(address(*files))


def test_bands_of_another_place_are_refused(tmp_path):
    files = band(tmp_path / "r.tif", 10, random(8)), band(tmp_path / "g.tif", 10, random(8), x=5000)
    with pytest.raises(
        SceneError, match=r"g\.tif \(.*\) and .*r\.tif \(.*\) do not overlap: give bands of the same place"
    ):
        open_raster(address(*files))


def test_turned_bands_are_refused(tmp_path):
    south_up = rasterio.Affine(10, 0, 300_000, 0, 10, 4_299_920)
    files = band(tmp_path / "r.tif", 10, random(8)), write_raster(tmp_path / "g.tif", random(8), transform=south_up)
    with pytest.raises(SceneError, match="turned against"):
        open_raster(address(*files))


def test_without_coordinates_bands_of_one_size_go_together(tmp_path):
    plain = {"crs": None, "transform": rasterio.Affine.identity()}
    files = [write_raster(tmp_path / f"{name}.tif", random(8), **plain) for name in ("red", "green")]
    with open_raster(address(*files)) as scene:
        assert read(scene)[1].all()
    with pytest.raises(SceneError, match="not both have coordinates"):
        open_raster(address(files[0], write_raster(tmp_path / "b.tif", random(9), **plain)))
    with pytest.raises(SceneError, match="not both have coordinates"):
        open_raster(address(files[0], write_raster(tmp_path / "c.tif", random(8), crs=None)))


def test_a_missing_band_is_named(tmp_path):
    red = band(tmp_path / "red.tif", 10, random(8))
    with pytest.raises(SceneError, match=r"no scene at .*green\.tif: check the path"):
        open_raster(address(red, tmp_path / "green.tif"))


def test_a_name_for_a_file_of_several_bands_is_refused(tmp_path):
    file = write_raster(tmp_path / "rgb.tif", random(8, channels=3))
    with pytest.raises(SceneError, match="has 3 bands, and red= names one"):
        open_raster(f"red={file}+green={file}")


def test_a_file_may_hold_several_bands(tmp_path):
    rgb = random(8, channels=3)
    files = (
        band(tmp_path / "rgb.tif", 10, rgb, descriptions=("red", "green", "blue")),
        band(tmp_path / "nir.tif", 20, random(4)),
    )
    with open_raster(address(*files)) as scene:
        assert scene.info.descriptions == ("red", "green", "blue", "nir")
        np.testing.assert_array_equal(read(scene)[0][:3], rgb)
        np.testing.assert_array_equal(SceneBands.select(scene, (3, 1)).read(Window(0, 0, 8, 8))[0], rgb[[2, 0]])


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("files", "wanted", "expected"),
    [
        (["blue.tif", "red.tif", "green.tif"], ["red", "green", "blue"], (2, 3, 1)),
        (["X_B02_10m.jp2", "X_B04_10m.jp2", "X_B11_20m.jp2"], ["red", "blue", "swir16"], (2, 1, 3)),
        (["T32TQM_20240501T100559_B05.jp2", "T32TQM_20240501T100559_B04.jp2"], ["rededge1", "red"], (1, 2)),
        (["LC08_L2SP_1_SR_B5.TIF", "LC08_L2SP_1_SR_B4.TIF"], ["red", "nir"], (2, 1)),
        (["LT05_L2SP_1_SR_B4.TIF", "LT05_L2SP_1_SR_B3.TIF"], ["red", "nir"], (2, 1)),
        (["2018, Sentinel-2B L1C, B05.tiff", "2018, Sentinel-2B L1C, B04.tiff"], ["red", "rededge1"], (2, 1)),
        (["Green Valley B04.tif", "Green Valley B03.tif", "Green Valley B02.tif"], ["red", "green", "blue"], (1, 2, 3)),
        (["B4_redhill.tif", "B3_redhill.tif", "B2_redhill.tif"], ["B4", "B3", "B2"], (1, 2, 3)),
        (["red/image.tif", "green/image.tif", "blue/image.tif"], ["blue", "green", "red"], (3, 2, 1)),
    ],
)  # fmt: skip
def test_bands_are_found_by_the_names_of_their_files(files, wanted, expected):
    names = names_of_files(files)
    assert choose_bands(wanted, ["gray"] * len(files), names, None).indexes == expected


@pytest.mark.parametrize("name", ["Band 1", "b1", "1", ""])
def test_a_description_that_only_counts_is_no_name(tmp_path, name):
    files = [band(tmp_path / f"{c}.tif", 10, random(4), descriptions=(name,)) for c in ("green", "red")]
    with open_raster(address(*files)) as scene:
        assert scene.info.descriptions == ("green", "red")


def test_given_names_go_before_those_in_files_and_tags_after(tmp_path):
    files = [band(tmp_path / f"x{i}.tif", 10, random(4), descriptions=(text,)) for i, text in enumerate(("blue", ""))]
    with open_raster(f"red={files[0]}+green={files[1]}") as scene:
        assert scene.info.descriptions == ("red", "green")
    parts = tuple(BandFile(str(file), (BandTag("nir", 0.5, -1.0),)) for file in files)
    with open_raster("scene", parts=parts) as scene:
        assert scene.info.descriptions == ("blue", "nir")
        assert (scene.info.scales, scene.info.offsets) == ((0.5, 0.5), (-1.0, -1.0))


def test_scale_and_offset_are_those_of_each_file(tmp_path):
    files = [
        band(tmp_path / "red.tif", 10, random(4), scales=(0.1,), offsets=(-1.0,)),
        band(tmp_path / "nir.tif", 20, random(2), scales=(0.2,), offsets=(-2.0,)),
    ]
    with open_raster(address(*files)) as scene:
        scaling = scene.info.scaling_of((2, 1))
        assert scaling is not None
        assert (scaling.scale, scaling.offset) == ((0.2, 0.1), (-2.0, -1.0))


def test_many_windows_read_in_threads_are_the_same(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    files = band(tmp_path / "r.tif", 10, random(600)), band(tmp_path / "s.tif", 20, random(300))
    windows = [Window(r, c, 100, 100) for r in range(0, 600, 100) for c in range(0, 600, 100)]
    with open_raster(address(*files)) as scene, ThreadPoolExecutor(4) as pool:
        whole, _ = read(scene)
        for window, (values, _) in zip(windows, pool.map(lambda w: read(scene, w), windows), strict=True):
            np.testing.assert_allclose(values, whole[:, *window.slices], rtol=1e-6)


@pytest.mark.parametrize(("metres", "value"), [(20, 255), (20.05, 255), (4.99, 255), (7, 9999)])
def test_fill_is_found_where_a_band_of_other_pixels_takes_part(tmp_path, metres, value):
    paths = []
    for name, side in (("red", 10), ("green", 10), ("nir", metres)):
        pixels = round(1600 / side)
        values = np.kron(random(8, np.uint8), np.ones((30, 30), np.uint16))[:pixels, :pixels]
        values = np.pad(values, (0, pixels - len(values)), mode="edge")
        values[:, : pixels // 2] = value
        paths.append(band(tmp_path / f"{name}.tif", side, values))
    with open_raster(address(*paths)) as scene:
        bands = SceneBands.select(scene, (1, 2, 3))
        fill = bands.find_fill()
        assert (fill.value, fill.is_exact) == (value, True)
        valid = bands.without(fill).read(Window(0, 0, scene.height, scene.width))[1]
    assert not valid[:, : scene.width // 2 - 8].any()
    assert valid[:, scene.width // 2 + 8 :].all()
