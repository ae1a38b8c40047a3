"""Overviews of class rasters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.geo.grid import Window
from geoseg.outputs.cog import write_cog
from geoseg.outputs.geotiff import PartRaster, RasterFormat
from geoseg.outputs.mode_loop import modes_into
from geoseg.outputs.mode_overviews import write_mode_overviews

FORMAT = RasterFormat("uint8", 255, ("class",), "mode", {0: "#ff0000", 1: "#00ff00"})


def halved(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most frequent class of each four pixels, the slow way."""
    found = np.full((-(-classes.shape[0] // 2), -(-classes.shape[1] // 2)), 255, np.uint8)
    for y, x in np.ndindex(*found.shape):
        values = [int(value) for value in classes[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].flat if value != 255]
        if values:
            found[y, x] = max(values, key=values.count)
    return found


def a_raster(folder: Path, classes: NDArray[np.uint8]) -> Path:
    with PartRaster(folder / "classes.tif", classes.shape, FORMAT) as raster:
        raster.write(Window(0, 0, *classes.shape), classes)
    return raster.path


@settings(max_examples=60, deadline=None)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 10**6))
def test_each_pixel_is_the_most_frequent_of_four(size: tuple[int, int], seed: int) -> None:
    classes = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), size)
    found = np.empty((-(-size[0] // 2), -(-size[1] // 2)), np.uint8)
    modes_into(classes, 255, found)
    assert np.array_equal(found, halved(classes))


@pytest.mark.parametrize("size", [(1300, 1101), (513, 3), (400, 300)])
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_cog_has_them_level_by_level(size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geoseg.outputs.mode_overviews.OVERVIEW_PX", 1)  # strip by strip
    classes = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), size, p=(0.5, 0.3, 0.2))
    classes[: size[0] // 2, : size[1] // 2] = 255
    work, draft = tmp_path / "work", tmp_path / "draft"
    work.mkdir(), draft.mkdir()
    raster = a_raster(work, classes)
    for name in ("once.tif", "again.tif"):  # a raster may be written more than once
        write_cog(raster, FORMAT, draft / name)
    assert (draft / "once.tif").read_bytes() == (draft / "again.tif").read_bytes()
    with rasterio.open(draft / "once.tif") as cog:
        assert cog.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert np.array_equal(cog.read(1), classes)
        assert cog.nodata == 255
        levels = len(cog.overviews(1))
    expected = classes
    for level in range(levels):
        expected = halved(expected)
        with rasterio.open(draft / "once.tif", overview_level=level) as overview:
            assert np.array_equal(overview.read(1), expected)
    assert max(expected.shape) <= 512


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_shows_them_leaves_the_raster_alone(tmp_path: Path) -> None:
    classes = np.zeros((700, 700), np.uint8)
    (tmp_path / "work").mkdir()
    raster = a_raster(tmp_path / "work", classes)
    before = raster.read_bytes()
    for _ in range(2):
        shown = write_mode_overviews(raster, FORMAT)
        assert raster.read_bytes() == before
        with rasterio.open(shown) as dataset:
            assert len(dataset.overviews(1)) == 1
