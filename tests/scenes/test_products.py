"""Products as their providers deliver them: every kind, by its folder, its archive and its metadata file."""

import os
import shutil
import tarfile
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
from support.models import echo_model

from geoseg.core.errors import SceneError
from geoseg.geo.grid import Window
from geoseg.inference.fingerprint import fingerprint
from geoseg.raster.bands.matching import choose_bands
from geoseg.raster.scene_bands import SceneBands
from geoseg.scenes import find_scenes, open_scene
from geoseg.scenes.products import PRODUCTS, find_product
from geoseg.scenes.products.landsat import write_example as landsat
from geoseg.scenes.products.sentinel2 import write_example as sentinel2
from geoseg.spec import ClassifySpec, ScalingSpec

RGB = ("red", "green", "blue")


@pytest.fixture(params=list(PRODUCTS))
def product(request, tmp_path):
    return PRODUCTS.get(request.param).example(tmp_path / "in")


def packed(product, suffix):
    path = product.with_suffix(suffix)
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(product.rglob("*")):
                archive.write(file, file.relative_to(product.parent))
    else:
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
            archive.add(product, product.name)
    shutil.rmtree(product)
    return path


def colours(scene):
    """Values of a window in red, green and blue, and the band names."""
    choice = choose_bands(RGB, scene.info.colors, scene.info.descriptions, None)
    assert choice.by == "name"
    return SceneBands.select(scene, choice.indexes).read(Window(0, 0, 30, 40))


def metadata_of(product):
    return next(path for path in product.rglob("*") if path.name.startswith("MTD_MSI") or "_MTL" in path.name)


def test_a_product_is_one_scene_with_named_bands(product):
    (found,) = find_scenes([str(product)])
    assert found.path == str(product)
    assert found.name in product.name
    with open_scene(found) as scene:
        values, valid = colours(scene)
        assert valid.any()
        assert not valid[0].any()  # the fill value, 0, of which the files say nothing
        red, green, blue = values[:, valid].min(axis=1)
        assert red > green > blue
        assert scene.info.scaling_of((1,)) is not None
        assert str(scene.info.crs) == "EPSG:32632"
        assert scene.taken() == datetime(2024, 5, 1, 10, 5, 59, tzinfo=UTC)


def test_its_metadata_file_stands_for_it(product):
    (found,) = find_scenes([str(metadata_of(product))])
    with open_scene(str(metadata_of(product))) as one, open_scene(found) as other, open_scene(str(product)) as third:
        np.testing.assert_array_equal(colours(one)[0], colours(third)[0])
        np.testing.assert_array_equal(colours(other)[0], colours(third)[0])


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_an_archive_of_it_is_read_as_it_is(product, suffix):
    with open_scene(str(product)) as scene:
        expected = colours(scene)[0]
    path = packed(product, suffix)
    (found,) = find_scenes([str(path)])
    assert (found.path, found.name) == (str(path), found.name)
    with open_scene(found) as one, open_scene(str(path)) as other:
        np.testing.assert_array_equal(colours(one)[0], expected)
        np.testing.assert_array_equal(colours(other)[0], expected)
        assert one.info.scales == other.info.scales


def test_the_state_of_the_archive_counts_when_work_is_resumed(product):
    scene, model = str(packed(product, ".zip")), echo_model(bands=RGB)

    def digest():
        with open_scene(scene) as opened:
            return fingerprint(opened, model, ClassifySpec(), "cpu")

    before = digest()
    assert digest() == before
    os.utime(scene, ns=(5, 5))
    assert digest() != before


def test_a_folder_of_products_and_rasters_is_a_scene_each(tmp_path):
    sentinel2(tmp_path / "in")
    landsat(tmp_path / "in")
    source = next((tmp_path / "in").rglob("*_SR_B4.TIF"))
    shutil.copy(source, tmp_path / "in" / "other.tif")
    found = find_scenes([str(tmp_path / "in")])
    assert [scene.name for scene in found] == [
        "S2B_MSIL2A_20240501T100559_N0510_R022_T32TQM_20240501T135555",
        "LC08_L2SP_193028_20240501_20240510_02_T1",
        "other",
    ]


def test_a_pattern_of_products_is_a_scene_each(tmp_path):
    for place in "ab":
        sentinel2(tmp_path / place)
    found = find_scenes([str(tmp_path / "*" / "*.SAFE")])
    assert len(found) == 2
    assert all(scene.parts for scene in found)


def test_several_products_in_one_folder_are_told_apart_by_their_metadata(tmp_path):
    first = landsat(tmp_path)
    for file in first.iterdir():
        shutil.copy(file, first / file.name.replace("20240501", "20240601"))
    found = find_scenes([str(first)])
    assert [scene.name for scene in found] == [
        "LC08_L2SP_193028_20240501_20240510_02_T1",
        "LC08_L2SP_193028_20240601_20240510_02_T1",
    ]
    assert all("MTL" in scene.path for scene in found)
    with pytest.raises(SceneError, match=r"holds 2 products: give one of them"):
        open_scene(str(first))


def test_chosen_bands_alone_make_the_grid(tmp_path):
    path = str(sentinel2(tmp_path))
    (found,) = find_scenes([path], asset="B11,nir08,B12")
    with open_scene(found) as scene:
        assert scene.info.descriptions == ("B11 swir16", "B8A nir08", "B12 swir22")
        assert scene.info.transform.a == 20
    with pytest.raises(SceneError, match=r"has no band B19.*: it has B01, coastal"):
        find_scenes([path], asset="B19")


def test_a_product_without_bands_says_so(tmp_path):
    path = sentinel2(tmp_path)
    shutil.rmtree(path / "GRANULE")
    with pytest.raises(SceneError, match=r"no band in GRANULE/\*/IMG_DATA: give the bands of one tile"):
        find_scenes([str(path)])
    with pytest.raises(SceneError, match="no band in GRANULE"):
        open_scene(str(path))
    other = landsat(tmp_path)
    for file in other.glob("*.TIF"):
        file.unlink()
    with pytest.raises(SceneError, match="has no band files LC08"):
        find_product(str(other))


# ------------------------------------------------------------------------------------------------- scale and offset


@pytest.mark.parametrize(("offset", "expected"), [(-1000, -0.1), (None, 0.0)])
def test_reflectance_of_sentinel_2_is_the_same_before_and_after_baseline_4(tmp_path, offset, expected):
    with open_scene(str(sentinel2(tmp_path, offset=offset))) as scene:
        scaling = scene.info.scaling_of((2, 3, 4))
        assert scaling is not None
        assert scaling.scale == (1e-4,) * 3
        assert scaling.offset == pytest.approx((expected,) * 3)
        older = ScalingSpec(scale=(1e-4,) * 3, offset=(0.0,) * 3)
        raw = SceneBands.select(scene, (2, 3, 4)).read(Window(50, 0, 4, 4))[0]
        converted = SceneBands.select(scene, (2, 3, 4), scaling=older).read(Window(50, 0, 4, 4))[0]
        np.testing.assert_allclose(converted, raw + expected * 10_000, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".txt", ".xml", ".json"])
def test_scale_and_offset_of_landsat_are_those_of_the_level_of_the_band(tmp_path, suffix):
    with open_scene(str(landsat(tmp_path, suffix=suffix))) as scene:
        assert scene.info.descriptions[-1] == "ST_B10 thermal"
        assert scene.info.scales == (2.75e-5,) * 7 + (0.00341802,)
        assert scene.info.offsets == (-0.2,) * 7 + (149.0,)


def test_scale_and_offset_of_level_1_come_from_its_own_group(tmp_path):
    path = landsat(tmp_path)
    for file in path.iterdir():
        file.rename(path / file.name.replace("_SR_B", "_B").replace("L2SP", "L1TP"))
    with open_scene(str(path)) as scene:
        assert scene.info.descriptions[3] == "B4 red"
        assert (scene.info.scales[3], scene.info.offsets[3]) == (2e-5, -0.1)


def test_the_panchromatic_band_does_not_shape_the_grid(tmp_path):
    from geoseg.scenes.products.examples import write_band

    path = landsat(tmp_path)
    write_band(path / f"{path.name}_B8.TIF", 15, 9000, "EPSG:32632", shift_m=7.5)
    with open_scene(str(path)) as scene:
        assert scene.info.transform.a == 30
        assert "B8 pan" in scene.info.descriptions


def test_wrong_numbers_in_metadata_are_no_scale(tmp_path):
    path = landsat(tmp_path)
    text = metadata_of(path).read_text()
    metadata_of(path).write_text(text.replace("2.75e-05", "-.e"))
    with open_scene(str(path)) as scene:
        assert set(scene.info.scales[:7]) == {1.0}
