import json

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin
from support.rasters import write_raster

from geoseg.core.errors import SceneError
from geoseg.geo.grid import Window
from geoseg.raster.scene import Scene, read_errors
from geoseg.raster.scene_bands import SceneBands
from geoseg.raster.validity import find_valid

RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
VALUES = np.arange(3 * 20 * 30, dtype=np.uint8).reshape(3, 20, 30)


def read_all(path, bands=(1, 2, 3), **choice):
    with Scene.open(path) as scene:
        scene = SceneBands.select(scene, bands, **choice)
        return scene.read(Window(0, 0, scene.height, scene.width))


def test_reads_bands_in_the_models_order(tmp_path):
    image, valid = read_all(write_raster(tmp_path / "s.tif", VALUES), (3, 1))
    np.testing.assert_array_equal(image, VALUES[[2, 0]])
    assert valid.all()


def test_dark_is_not_missing_unless_all_bands_say_so():
    image = np.array([[[0, 0, 5]], [[0, 7, 0]]], np.uint8)
    np.testing.assert_array_equal(find_valid(image, (0, 0)), [[False, True, True]])
    np.testing.assert_array_equal(find_valid(image, (0, None)), [[True, True, True]])
    np.testing.assert_array_equal(find_valid(image.astype(np.uint16), (0, 0)), [[False, False, False]])


def test_nan_and_infinity_are_missing():
    image = np.array([[[1, np.nan, np.inf, -9999]]], np.float32)
    np.testing.assert_array_equal(find_valid(image, (-9999.0,)), [[True, False, False, False]])
    np.testing.assert_array_equal(find_valid(image, (np.nan,)), [[True, False, False, True]])


def test_nodata_tag_and_its_override(tmp_path):
    path = write_raster(tmp_path / "s.tif", VALUES[:1], nodata=7)
    assert not read_all(path, (1,))[1][0, 7]
    valid = read_all(path, (1,), nodata=9)[1]
    assert valid[0, 7]
    assert not valid[0, 9]


def test_mask_band(tmp_path):
    mask = np.full((20, 30), 255, np.uint8)
    mask[5:8, 5:8] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_raster(tmp_path / "s.tif", VALUES, mask=mask)
    np.testing.assert_array_equal(read_all(path)[1], mask > 0)


def test_alpha_band(tmp_path):
    alpha = np.full((20, 30), 255, np.uint8)
    alpha[:4] = 0
    path = write_raster(tmp_path / "s.tif", np.concatenate([VALUES, alpha[None]]), colorinterp=RGBA)
    with Scene.open(path) as scene:
        assert scene.info.colors == ("red", "green", "blue", "alpha")
        assert scene.info.mask == "alpha"
    np.testing.assert_array_equal(read_all(path)[1], alpha > 0)


def test_infrared_that_claims_to_be_alpha(tmp_path):
    infrared = np.random.default_rng(0).integers(20, 200, (1, 20, 30), dtype=np.uint8)
    path = write_raster(tmp_path / "s.tif", np.concatenate([VALUES, infrared]), colorinterp=RGBA)
    with Scene.open(path) as scene:
        assert scene.info.colors == ("red", "green", "blue", "undefined")
        scene = SceneBands.select(scene, (1, 2, 3))
        assert scene.read(Window(0, 0, 20, 30))[1].all()


def test_a_band_named_alpha_is_one_and_a_band_named_otherwise_is_none(tmp_path):
    alpha = np.where(np.arange(20)[:, None] < 4, 0, 255) * np.ones((1, 30), int)
    values = np.concatenate([VALUES, alpha[None].astype(np.uint8)])
    grey = (ColorInterp.gray, *[ColorInterp.undefined] * 3)
    path = write_raster(tmp_path / "a.tif", values, colorinterp=grey, descriptions=("R", "G", "B", "Alpha"))
    np.testing.assert_array_equal(read_all(path)[1], alpha > 0)
    path = write_raster(tmp_path / "n.tif", values, colorinterp=RGBA, descriptions=("R", "G", "B", "NIR"))
    assert read_all(path)[1].all()


def test_rescale_maps_onto_the_models_range(tmp_path):
    values = np.array([[[0, 100, 600, 1100, 5000]]], np.uint16)
    image, _ = read_all(write_raster(tmp_path / "s.tif", values), (1,), rescale=(100, 1100), dtype="uint8")
    np.testing.assert_allclose(image, [[[0, 0, 127.5, 255, 255]]], atol=1e-3)


def test_a_rescale_is_suggested_from_valid_values(tmp_path):
    values = np.random.default_rng(0).integers(300, 2000, (1, 200, 200)).astype(np.uint16)
    values[0, :100] = 0
    with Scene.open(write_raster(tmp_path / "s.tif", values, nodata=0)) as scene:
        low, high = scene.suggest_rescale((1,))
    assert 300 <= low < 400
    assert 1900 < high <= 2000


def test_values_of_8_bits_in_a_wider_type_are_suggested_their_whole_range(tmp_path):
    values = np.random.default_rng(0).integers(30, 201, (1, 200, 200)).astype(np.uint16)
    with Scene.open(write_raster(tmp_path / "s.tif", values)) as scene:
        assert scene.suggest_rescale((1,)) == (0, 255)


@pytest.mark.parametrize("name", ["missing.tif", "folder", "text.tif"])
def test_what_is_no_raster_gets_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError) as error:
        Scene.open(tmp_path / name)
    assert name in str(error.value)
    assert ": check " in str(error.value) or ": give " in str(error.value)
    assert "\n" not in str(error.value)


def test_complex_numbers_are_refused(tmp_path):
    path = write_raster(tmp_path / "s.tif", np.ones((4, 4), np.complex64))
    with pytest.raises(SceneError, match="complex"):
        Scene.open(path)


def test_a_file_that_claims_too_much_is_refused(tmp_path):
    with rasterio.open(
        tmp_path / "s.tif",
        "w",
        driver="GTiff",
        height=300_000,
        width=300_000,
        count=1,
        dtype="uint8",
        tiled=True,
        blockxsize=16384,
        blockysize=16384,
        SPARSE_OK=True,
        BIGTIFF="YES",
    ):
        pass
    with pytest.raises(SceneError, match="declares 90,000,000,000 pixels"):
        Scene.open(tmp_path / "s.tif")


def test_a_truncated_file_is_a_scene_error(tmp_path):
    path = write_raster(tmp_path / "s.tif", np.random.default_rng(0).integers(0, 255, (3, 200, 200)).astype(np.uint8))
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(SceneError, match="damaged or incomplete"):
        read_all(path)


def test_a_lack_of_memory_is_no_damage_of_the_file():
    with pytest.raises(SceneError, match="9 GiB: out of memory") as caught, read_errors("s.tif"):
        raise MemoryError("Unable to allocate 9 GiB")
    assert "damaged" not in str(caught.value)


BLOCKS = {"driver": "GTiff", "tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": True}


@pytest.mark.parametrize("nodata", [None, 0, 9])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_a_sparse_file_reads_like_a_full_one(tmp_path, nodata, interleave):
    profile = {"count": 3, "dtype": "uint8", "height": 300, "width": 260, "nodata": nodata, "interleave": interleave}
    path = tmp_path / "s.tif"
    block = np.random.default_rng(0).integers(1, 255, (3, 64, 64), np.uint8)
    with rasterio.open(path, "w", **BLOCKS, **profile) as file:
        file.write(block, window=rasterio.windows.Window(64, 128, 64, 64))
        file.write(block[:1], [2], window=rasterio.windows.Window(192, 0, 64, 64))
    with rasterio.open(path) as file:
        full = file.read()
    with Scene.open(path) as scene:
        scene = SceneBands.select(scene, (1, 2, 3))
        for top, left, height, width in (
            (0, 0, 64, 64), (10, 3, 100, 50), (130, 70, 9, 9), (0, 190, 70, 70), (256, 0, 44, 260)
        ):  # fmt: skip
            part = full[:, top : top + height, left : left + width]
            image, valid = scene.read(Window(top, left, height, width))
            np.testing.assert_array_equal(image, part)
            np.testing.assert_array_equal(valid, find_valid(part, (nodata,) * 3))
            image[:], valid[:] = 1, True  # to be changed at will


def test_blocks_that_a_file_left_out_are_not_made(tmp_path, monkeypatch):
    with rasterio.open(tmp_path / "s.tif", "w", count=1, dtype="uint8", height=300, width=260, nodata=0, **BLOCKS):
        pass
    with Scene.open(tmp_path / "s.tif") as scene:
        scene = SceneBands.select(scene, (1,))
        read, sizes = Scene.read_valid, []
        monkeypatch.setattr(
            Scene,
            "read_valid",
            lambda opened, bands, window: sizes.append(window.pixels) or read(opened, bands, window),
        )
        assert not scene.read(Window(0, 0, 300, 260))[1].any()
    assert sizes == [1]


@pytest.mark.parametrize("layout", [{"interleave": "band"}, {"interleave": "pixel", "compress": "deflate"}])
def test_a_file_of_one_strip_is_not_taken_for_a_sparse_one(tmp_path, layout):
    """GDAL shows strips of more than 2,000 rows as blocks of one, and finds only the first in the file."""
    values = np.random.default_rng(0).integers(0, 255, (3, 2100, 40), np.uint8)
    profile = {"height": 2100, "width": 40, "count": 3, "dtype": "uint8", "blockysize": 2100}
    with rasterio.open(tmp_path / "s.tif", "w", driver="GTiff", **profile, **layout) as file:
        file.write(values)
    with Scene.open(tmp_path / "s.tif") as scene:
        scene = SceneBands.select(scene, (1, 2, 3))
        np.testing.assert_array_equal(scene.read(Window(1000, 0, 50, 40))[0], values[:, 1000:1050])


def test_overviews_of_full_files_are_not_taken_for_sparse_ones(tmp_path):
    values = np.random.default_rng(0).integers(1, 255, (3, 40, 40), np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    path = write_raster(tmp_path / "s.tif", values, nodata=0)
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.average)
    with Scene.open(path) as scene:
        scene = SceneBands.select(scene, (1, 2, 3))
        coarse = scene.overview(4)
        image, valid = coarse.read(Window(0, 0, 160, 160))
    assert valid.all()
    np.testing.assert_array_equal(image, values[:, ::4, ::4])


def test_an_area_of_interest_counts_in_a_sparse_file_too(tmp_path):
    place = {"crs": "EPSG:4326", "transform": from_origin(0, 2.56, 0.01, 0.01)}
    with rasterio.open(
        tmp_path / "s.tif", "w", count=1, dtype="uint8", height=256, width=256, **place, **BLOCKS
    ) as file:
        file.write(np.ones((1, 64, 64), np.uint8), window=rasterio.windows.Window(0, 0, 64, 64))
    area = {"type": "Polygon", "coordinates": [[[1, 0], [2, 0], [1, 1], [1, 0]]]}
    (tmp_path / "a.geojson").write_text(json.dumps({"type": "Feature", "geometry": area, "properties": {}}))
    with Scene.open(tmp_path / "s.tif") as scene:
        scene = SceneBands.select(scene.within(tmp_path / "a.geojson", None), (1,))
        _, valid = scene.read(Window(0, 0, scene.height, scene.width))
    assert 0.4 < valid.mean() < 0.6
