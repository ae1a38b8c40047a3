import numpy as np
import pytest
import rasterio
from conftest import write_raster
from rasterio.enums import ColorInterp

from geoseg.errors import SceneError
from geoseg.grid import Window
from geoseg.scene import Scene, find_valid

RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
VALUES = np.arange(3 * 20 * 30, dtype=np.uint8).reshape(3, 20, 30)


def read_all(path, bands=(1, 2, 3), **choice):
    with Scene.open(path) as scene:
        scene.select(bands, **choice)
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
        scene.select((1, 2, 3))
        assert scene.read(Window(0, 0, 20, 30))[1].all()


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


@pytest.mark.parametrize("name", ["missing.tif", "folder", "text.tif"])
def test_what_is_no_raster_gets_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.tif").write_text("no raster")
    with pytest.raises(SceneError) as error:
        Scene.open(tmp_path / name)
    assert name in str(error.value)
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
