"""Class statistics of labelled rasters: what numpy counts in the whole array, whatever windows are read."""

import csv

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from support.rasters import SHARED_DATA, needs_shared_data
from support.reporters import Heard

from geoseg.core.errors import LabelError
from geoseg.core.events import Stage
from geoseg.data import class_statistics as module
from geoseg.data.class_statistics import (
    CELL_PX,
    ClassStatistics,
    cells_around,
    cells_within,
    count_classes,
    join_statistics,
    normalization_of,
)
from geoseg.data.labelled_raster import MemoryRaster
from geoseg.geo.georef import PixelGrid, grid_of, grow
from geoseg.geo.grid import Window
from geoseg.spec import IGNORE

sizes = st.integers(1, 150)


def labelled_raster(
    height: int, width: int, seed: int = 0, dtype: str = "uint8", labelled: float = 0.7
) -> MemoryRaster:
    """Random values and labels of three classes, of which some are missing, and pixels without data."""
    rng = np.random.default_rng(seed)
    grid = PixelGrid(height, width, Affine(1, 0, 5, 0, -1, 5), CRS.from_epsg(32617))
    image = rng.integers(0, 255, (2, height, width)).astype(dtype)
    valid = rng.random((height, width)) < 0.9
    labels = rng.integers(0, 3, (height, width), np.uint8)
    labels[rng.random((height, width)) > labelled] = IGNORE
    labels[: height // 3] = IGNORE
    if dtype == "float32":
        image *= 1e-3
        image[:, ~valid] = np.nan
    return MemoryRaster("image", grid, image, valid, labels)


@settings(deadline=None, max_examples=40)
@given(sizes, sizes, st.integers(0, 9), st.sampled_from([32, 64, 96, 1024]), st.sampled_from(["uint8", "float32"]))
def test_it_counts_what_the_whole_arrays_hold(height: int, width: int, seed: int, read_px: int, dtype: str) -> None:
    whole = labelled_raster(height, width, seed, dtype)
    whole.labels[(whole.labels == 2) & (np.arange(width) % 3 == 0)] = 4  # a set of classes
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "READ_PX", read_px)
        statistics = count_classes(whole, 3, 2, Stage(heard, "reading", height * width))
    assert heard.progressed[-1] == ("reading", height * width, height * width)
    counted = np.where(whole.valid, whole.labels, IGNORE)
    seen = {}
    for row in range(0, height, CELL_PX):
        for col in range(0, width, CELL_PX):
            cell = (slice(row, row + CELL_PX), slice(col, col + CELL_PX))
            counts = [int((counted[cell] == k).sum()) for k in range(3)]
            partial = int((counted[cell] == 4).sum())
            if any(counts) or partial:
                values = whole.image[:, *cell][:, counted[cell] != IGNORE].astype(float)
                seen[row, col] = counts, values.sum(1), (values**2).sum(1), values.min(1), values.max(1), partial
    assert sorted(map(tuple, statistics.cells.tolist())) == sorted(seen)
    for cell, *found in zip(statistics.cells.tolist(), *statistics.columns[1:], strict=True):
        for value, expected in zip(found, seen[tuple(cell)], strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_a_raster_without_labels_is_never_read() -> None:
    whole = labelled_raster(100, 100)
    whole.labels[:] = IGNORE
    blind = MemoryRaster("blind", whole.grid, None, None, whole.labels)  # type: ignore[arg-type]
    assert len(count_classes(blind, 3, 2).cells) == 0


def test_it_leaves_labels_and_image_as_they_are() -> None:
    whole = labelled_raster(40, 40)
    before = whole.labels.copy(), whole.image.copy()
    count_classes(whole, 3, 2)
    assert np.array_equal(whole.labels, before[0])
    assert np.array_equal(whole.image, before[1])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_statistics_are_those_of_the_labelled_pixels_with_data(dtype: str) -> None:
    parts = [labelled_raster(70, 90, 1, dtype), labelled_raster(33, 31, 2, dtype)]
    found = normalization_of(join_statistics(count_classes(part, 3, 2) for part in parts))
    values = np.concatenate([part.image[:, part.valid & (part.labels != IGNORE)] for part in parts], axis=1)
    values = values.astype(float)
    assert found.mean == pytest.approx(values.mean(axis=1), rel=1e-5)
    assert found.std == pytest.approx(values.std(axis=1), rel=1e-5)


@pytest.mark.parametrize("value", [0.1, 0.0, 3.3e5, -1e-20, 1e30])
def test_a_flat_band_is_not_blown_up(value: float) -> None:
    flat = labelled_raster(40, 25, 0, "float32")  # sums of a thousand times 0.1 leave a deviation of 6e-9
    flat.image[0], flat.image[1], flat.valid[:], flat.labels[:] = value, 5, True, 1
    found = normalization_of(count_classes(flat, 3, 2))
    assert found.std[0] == 1
    assert found.mean[0] == pytest.approx(np.float32(value), rel=1e-5)


def test_no_label_at_all_is_an_error() -> None:
    with pytest.raises(LabelError, match="no training pixel is labelled"):
        normalization_of(count_classes(labelled_raster(40, 40, labelled=0.0), 3, 2))


def test_class_counts_are_those_of_all_cells() -> None:
    whole = labelled_raster(100, 77)
    expected = np.bincount(whole.labels[whole.valid & (whole.labels != IGNORE)], minlength=3)
    assert count_classes(whole, 3, 2).class_counts.tolist() == expected.tolist()


# -------------------------------------------------------------------------------------------------- windows of cells

edges = st.integers(-200, 400)
spans = st.builds(lambda a, b, c, d: Window(min(a, b), min(c, d), abs(a - b), abs(c - d)), edges, edges, edges, edges)


@given(spans)
def test_windows_of_cells_around_and_within_a_window(window: Window) -> None:
    around, within = cells_around(window), cells_within(window)
    for found in (around, within):
        assert not any(edge % CELL_PX for edge in (found.row, found.col, found.height, found.width))
    assert grow(around, 1).row < around.row <= window.row < around.row + CELL_PX
    assert around.row + around.height - CELL_PX < window.row + window.height <= around.row + around.height
    middles = [
        row for row in range(-416, 448, CELL_PX) if window.row <= row + CELL_PX // 2 < window.row + window.height
    ]
    assert middles == list(range(within.row, within.row + within.height, CELL_PX))


@given(edges, edges, edges)
def test_neighbouring_windows_share_the_cells_among_them(one: int, two: int, three: int) -> None:
    first, middle, last = sorted((one, two, three))
    left, right = (cells_within(Window(0, a, 9, b - a)) for a, b in ((first, middle), (middle, last)))
    assert left.col + left.width == right.col


@given(sizes, sizes, st.lists(spans, max_size=5))
def test_cells_inside_of_windows(height: int, width: int, windows: list[Window]) -> None:
    corners = np.array([(r, c) for r in range(0, height, CELL_PX) for c in range(0, width, CELL_PX)])
    statistics = ClassStatistics(
        corners, np.ones((len(corners), 1), int), *(np.ones((len(corners), 1)),) * 4, np.zeros(len(corners), int)
    )
    windows = [cells_around(window).clip(height, width) for window in windows]
    mask = np.zeros((height, width), bool)
    for window in windows:
        mask[window.slices] = True
    assert statistics.inside(windows).tolist() == [bool(mask[row, col]) for row, col in corners]


def test_empty_statistics_have_nothing_inside() -> None:
    empty = count_classes(labelled_raster(40, 40, labelled=0.0), 3, 2)
    assert empty.inside([Window(0, 0, 32, 32)]).tolist() == []
    assert len(empty.only(np.zeros(0, bool)).cells) == 0


@needs_shared_data
def test_the_statistics_of_a_real_tile_are_what_its_list_says() -> None:
    folder = SHARED_DATA / "labelled" / "naip_ohio_6class"
    line = next(csv.DictReader((folder / "split.csv").open()))
    with rasterio.open(folder / line["image"]) as image, rasterio.open(folder / line["label"]) as label:
        whole = MemoryRaster("a", grid_of(image), image.read(), np.ones(image.shape, bool), label.read(1))
    names = ("background", "building", "road", "bareland", "forest", "water")
    expected = [int(line[f"n{i}_{name}"]) for i, name in enumerate(names)]
    assert count_classes(whole, 6, 4).class_counts.tolist() == expected
