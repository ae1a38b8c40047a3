"""Labels of a coarser resolution: rasters on other grids than their images, and borders that are left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, calculate_default_transform, reproject
from scipy.ndimage import distance_transform_edt
from support.rasters import TRANSFORM, UTM, write_raster

from geoseg.core.errors import LabelError
from geoseg.data.labels import LabelRules, LabelSource, open_labels
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec

CLASSES = tuple(ClassSpec(id=index, name=f"c{index}", color="#000000") for index in range(4))
GRID = PixelGrid(90, 120, TRANSFORM, CRS.from_user_input(UTM))


def read(path: Path, grid: PixelGrid = GRID, **rules: Any) -> np.ndarray:
    """Class indexes of the image, which are those of its windows."""
    with open_labels(LabelSource(path, grid, CLASSES, Path("image.tif"), LabelRules(**rules))) as labels:
        whole = labels.read(Window(0, 0, grid.height, grid.width))
        for window in (Window(3, 4, 29, 70), Window(60, 0, 30, 120), Window(11, 0, 2, 5)):
            np.testing.assert_array_equal(labels.read(window), whole[window.slices])
        assert labels.unmarked_px() >= 0
    return whole


def product(folder: Path, factor: int, **profile: Any) -> tuple[Path, np.ndarray]:
    """A raster of pixels `factor` times as wide, from the middle of a pixel left of and above the image on."""
    ids = np.random.default_rng(0).integers(0, 4, (90 // factor + 3, 120 // factor + 3)).astype(np.uint8)
    ids[2, 2] = 255
    moved = TRANSFORM @ Affine.translation(-factor / 2, -factor / 2) @ Affine.scale(factor)
    return write_raster(folder / "product.tif", ids, transform=moved, nodata=255, **profile), ids


@pytest.mark.parametrize("factor", [10, 16])
def test_each_pixel_has_the_label_of_the_coarse_one_that_holds_its_centre(tmp_path: Path, factor: int) -> None:
    path, ids = product(tmp_path, factor)
    rows, cols = (((np.arange(side) + 0.5 + factor / 2) // factor).astype(int) for side in (90, 120))
    found = read(path, resamples=True)
    np.testing.assert_array_equal(found, np.where(ids == 255, IGNORE, ids)[np.ix_(rows, cols)])
    with pytest.raises(LabelError, match=r"is not on the grid of its image .* or set data\.label_resample"):
        read(path)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:32618"])
def test_products_in_another_system_lie_where_gdal_puts_them(tmp_path: Path, crs: str) -> None:
    path, _ = product(tmp_path, 10)
    with rasterio.open(path) as source:
        transform, width, height = calculate_default_transform(UTM, crs, source.width, source.height, *source.bounds)
        ids = np.full((height, width), 255, np.uint8)
        reproject(
            source.read(1), ids, src_transform=source.transform, src_crs=UTM, dst_transform=transform, dst_crs=crs
        )
    write_raster(tmp_path / "there.tif", ids, transform=transform, crs=crs, nodata=255)
    expected = np.full((90, 120), 255, np.uint8)
    reproject(
        ids, expected, src_transform=transform, src_crs=crs, dst_transform=TRANSFORM, dst_crs=UTM,
        resampling=Resampling.nearest, src_nodata=255, tolerance=0,
    )  # fmt: skip
    found = read(tmp_path / "there.tif", resamples=True)
    assert (found == expected).mean() > 0.995
    assert (found != IGNORE).mean() > 0.9


def test_what_a_product_does_not_cover_is_not_labelled_or_outside(tmp_path: Path) -> None:
    half = write_raster(tmp_path / "half.tif", np.ones((5, 6), np.uint8), transform=TRANSFORM @ Affine.scale(10))
    found = read(half, resamples=True)
    assert (found[:50, :60] == 1).all()
    assert (found == IGNORE).sum() == 90 * 120 - 50 * 60
    assert (read(half, resamples=True, outside="c3") == 3).sum() == 90 * 120 - 50 * 60


def test_products_elsewhere_without_a_place_or_with_small_pixels_are_refused(tmp_path: Path) -> None:
    ones = np.ones((40, 40), np.uint8)
    away = write_raster(tmp_path / "away.tif", ones, transform=TRANSFORM @ Affine.translation(5000, 0))
    with pytest.raises(LabelError, match=r"away\.tif does not lie on its image image\.tif"):
        read(away, resamples=True)
    lost = write_raster(tmp_path / "lost.tif", ones, transform=Affine.identity(), crs=None)
    with pytest.raises(LabelError, match="there is no transformation from EPSG:32617 to no CRS"):
        read(lost, resamples=True)
    fine = write_raster(tmp_path / "fine.tif", np.ones((900, 900), np.uint8), transform=TRANSFORM @ Affine.scale(0.2))
    with pytest.raises(LabelError, match=r"much smaller pixels .* \(gdalwarp -r mode\)"):
        read(fine, resamples=True)


@pytest.mark.parametrize("width", [1, 3, 8])
def test_what_is_near_another_class_is_not_labelled(tmp_path: Path, width: int) -> None:
    ids = np.kron(np.random.default_rng(1).integers(0, 3, (5, 6)), np.ones((18, 20))).astype(np.uint8)
    ids[:, 50:55] = 255  # what is not labelled is no border
    path = write_raster(tmp_path / "l.tif", ids, nodata=255)
    found = read(path, border_px=width)
    border = np.zeros(ids.shape, bool)
    for index in range(3):
        others = (ids != index) & (ids != 255)
        near = distance_transform_edt(~others) if others.any() else np.full(ids.shape, np.inf)
        border |= (ids == index) & (near <= 1)
    expected = np.where(distance_transform_edt(~border) < width, IGNORE, ids)
    np.testing.assert_array_equal(found, expected)
    assert 0 < (found != IGNORE).sum() < (ids != 255).sum()
