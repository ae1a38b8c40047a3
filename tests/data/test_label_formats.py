"""Every registered label format finds the same classes at the same places, in whatever windows they are read."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from support.rasters import TRANSFORM, UTM

from geoseg.core.errors import LabelError
from geoseg.data.labels import LABEL_FORMATS, LabelSource, open_labels
from geoseg.data.labels.example import Shown
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE, ClassSpec

CLASSES = (ClassSpec(id=7, name="grass", color="#00ff00"), ClassSpec(id=2, name="water", color="#0000ff"))
GRID = PixelGrid(20, 30, TRANSFORM, CRS.from_user_input(UTM))
FAR = PixelGrid(20, 30, Affine.translation(90_000, 0) @ TRANSFORM, GRID.crs)
LARGER = PixelGrid(21, 30, TRANSFORM, GRID.crs)
INDEXES = np.full((20, 30), IGNORE, np.uint8)
INDEXES[:10, :12], INDEXES[5:, 15:] = 0, 1
"""Grass in one corner, water in the other, and nothing between."""
SHOWN = Shown(INDEXES, GRID, CLASSES)


@pytest.mark.parametrize("name", LABEL_FORMATS.names)
def test_every_format_shows_the_classes_window_by_window(tmp_path: Path, name: str) -> None:
    path, rules, _ = LABEL_FORMATS.get(name).example(tmp_path, SHOWN)
    source = LabelSource(path, GRID, CLASSES, Path("image.tif"), rules)
    assert LABEL_FORMATS.get(name).matches(source)
    with open_labels(LabelSource(path, GRID, CLASSES, Path("image.tif"), rules)) as labels:
        assert labels.unmarked_px() in (0, (INDEXES == IGNORE).sum())
        for window in (Window(0, 0, 20, 30), Window(3, 4, 9, 20), Window(19, 29, 1, 1), Window(11, 0, 2, 5)):
            found = labels.read(window)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, INDEXES[window.slices])
            found[:] = 9  # what was read is the reader's own
            np.testing.assert_array_equal(labels.read(window), INDEXES[window.slices])


@pytest.mark.parametrize("name", LABEL_FORMATS.names)
def test_every_vector_format_gives_its_features_one_by_one(tmp_path: Path, name: str) -> None:
    path, rules, _ = LABEL_FORMATS.get(name).example(tmp_path, SHOWN)
    source = LabelSource(path, GRID, CLASSES, Path("image.tif"), rules)
    with open_labels(source) as labels:
        features = labels.features()
    assert len(features.shapes) == len(features.keys) == len(features.indexes)
    assert set(features.indexes) == ({0, 1} if LABEL_FORMATS.get(name).is_vector else set())
    assert len(set(features.keys)) == len(features.keys), "two patches are two features"
    with open_labels(source) as labels:
        np.testing.assert_array_equal(labels.features().keys, features.keys)


@pytest.mark.parametrize("name", LABEL_FORMATS.names)
def test_every_format_refuses_labels_of_another_place_or_size(tmp_path: Path, name: str) -> None:
    path, rules, is_georeferenced = LABEL_FORMATS.get(name).example(tmp_path, SHOWN)
    with pytest.raises(LabelError, match=r"labels\.\w+"):
        open_labels(LabelSource(path, FAR if is_georeferenced else LARGER, CLASSES, Path("image.tif"), rules))


@pytest.mark.parametrize("name", LABEL_FORMATS.names)
def test_every_format_refuses_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    path, rules, _ = LABEL_FORMATS.get(name).example(tmp_path, SHOWN)
    path.write_bytes(b"not what its name says")
    with pytest.raises(LabelError, match=r"cannot read .*labels\.\w+"):
        open_labels(LabelSource(path, GRID, CLASSES, Path("image.tif"), rules))
