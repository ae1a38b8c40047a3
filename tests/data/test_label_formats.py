"""Every registered label format finds the same classes at the same places, in whatever windows they are read."""

from collections.abc import Callable
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from conftest import TRANSFORM, UTM, write_raster
from rasterio.crs import CRS

from geoseg.core.errors import LabelError
from geoseg.data.labels import LABEL_FORMATS, LabelRules, LabelSource, open_labels
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec

CLASSES = (ClassSpec(id=7, name="grass", color="#00ff00"), ClassSpec(id=2, name="water", color="#0000ff"))
GRID = PixelGrid(20, 30, TRANSFORM, CRS.from_user_input(UTM))
FAR = PixelGrid(20, 30, Affine.translation(90_000, 0) * TRANSFORM, GRID.crs)
INDEXES = np.full((20, 30), IGNORE, np.uint8)
INDEXES[:10, :12], INDEXES[5:, 15:] = 0, 1
"""Grass in one corner, water in the other, and nothing between."""
COLOURED = LabelRules.of({"#00ff00": "grass", "#0000ff": "water", "#000000": "ignore"})


def class_ids(folder: Path) -> tuple[Path, LabelRules]:
    ids = np.select([INDEXES == 0, INDEXES == 1], [7, 2], 255).astype(np.uint8)
    return write_raster(folder / "l.tif", ids[None]), LabelRules()


def palette(folder: Path) -> tuple[Path, LabelRules]:
    numbers = np.select([INDEXES == 0, INDEXES == 1], [1, 3], 0).astype(np.uint8)
    colors = {0: (0, 0, 0, 255), 1: (0, 255, 0, 255), 3: (0, 0, 255, 255)}
    path = write_raster(folder / "l.tif", numbers[None])
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, colors)
    return path, COLOURED


def colours(folder: Path) -> tuple[Path, LabelRules]:
    paint = np.zeros((3, 20, 30), np.uint8)
    paint[1, INDEXES == 0], paint[2, INDEXES == 1] = 255, 255
    return write_raster(folder / "l.tif", paint), COLOURED


def polygons(folder: Path) -> tuple[Path, LabelRules]:
    areas = [shapely.box(*GRID.box(window)) for window in (Window(0, 0, 10, 12), Window(5, 15, 15, 15))]
    geopandas.GeoDataFrame({"class": ["grass", "water"]}, geometry=areas, crs=UTM).to_file(folder / "l.gpkg")
    return folder / "l.gpkg", LabelRules()


SAMPLES: dict[str, Callable[[Path], tuple[Path, LabelRules]]] = {
    "class_ids": class_ids, "palette": palette, "colours": colours, "polygons": polygons
}  # fmt: skip
"""A file of each format that shows INDEXES, and how it is to be understood."""


@pytest.mark.parametrize("name", LABEL_FORMATS.names)
def test_every_format_shows_the_classes_window_by_window(tmp_path: Path, name: str) -> None:
    path, rules = SAMPLES[name](tmp_path)
    source = LabelSource(path, GRID, CLASSES, Path("image.tif"), rules)
    assert LABEL_FORMATS.get(name).matches(source)
    with open_labels(LabelSource(path, GRID, CLASSES, Path("image.tif"), rules)) as labels:
        assert labels.unmarked_px() == (int((INDEXES == IGNORE).sum()) if name == "class_ids" else 0)
        for window in (Window(0, 0, 20, 30), Window(3, 4, 9, 20), Window(19, 29, 1, 1), Window(11, 0, 2, 5)):
            found = labels.read(window)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, INDEXES[window.slices])
            found[:] = 9  # what was read is the reader's own
            np.testing.assert_array_equal(labels.read(window), INDEXES[window.slices])


@pytest.mark.parametrize("name", LABEL_FORMATS.names)
def test_every_format_refuses_labels_of_another_place(tmp_path: Path, name: str) -> None:
    path, rules = SAMPLES[name](tmp_path)
    with pytest.raises(LabelError, match=r"l\.(tif|gpkg)"):
        open_labels(LabelSource(path, FAR, CLASSES, Path("image.tif"), rules))


@pytest.mark.parametrize("name", LABEL_FORMATS.names)
def test_every_format_refuses_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    path, rules = SAMPLES[name](tmp_path)
    path.write_bytes(b"not what its name says")
    with pytest.raises(LabelError, match=r"cannot read .*l\.(tif|gpkg)"):
        open_labels(LabelSource(path, GRID, CLASSES, Path("image.tif"), rules))
