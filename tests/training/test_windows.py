"""Windows to train on and to score on: what they show, how often a class is there, and that each pixel counts once."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from support.models import make_spec

from geoseg.data.areas import Rectangles
from geoseg.data.class_statistics import CELL_PX, count_classes
from geoseg.data.labelled_raster import MemoryRaster
from geoseg.data.mosaic import join_neighbours
from geoseg.data.partly_labelled import PartlyLabelled
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Grid, Window
from geoseg.models.surroundings import NO_VIEWS
from geoseg.spec import IGNORE, NormalizationSpec, TrainSpec
from geoseg.training.loader import Loader
from geoseg.training.scoring.scored_batch import stack_scored, stack_uncounted
from geoseg.training.scoring.scored_windows import ScoredWindows
from geoseg.training.windows.random_windows import (
    LabelledCells,
    Sampling,
    TrainingWindows,
    keep_inside,
    read_filled,
    stack_windows,
)

UTM = CRS.from_epsg(32617)
FILL = (7.0, 6.0)
sides, starts = st.integers(1, 90), st.integers(0, 150)


def ground(
    height: int = 200, width: int = 200, *, row: int = 0, col: int = 0, labels: np.ndarray | None = None, seed: int = 0
) -> MemoryRaster:
    """An image whose two bands are the row and the column of each pixel; random labels unless given."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[row : row + height, col : col + width].astype(np.float32)
    if labels is None:
        labels = rng.choice(np.uint8([0, 1, 2, IGNORE]), (height, width), p=[0.3, 0.2, 0.01, 0.49])
    grid = PixelGrid(height, width, Affine(1, 0, 1000 + col, 0, -1, 2000 - row), UTM)
    return MemoryRaster(f"{row} {col}.tif", grid, np.stack([rows, cols]), rng.random((height, width)) < 0.95, labels)


def cells_of(grounds: Any) -> LabelledCells:
    """Cells with labels of several grounds."""
    parts = [count_classes(one, 3, 2) for one in grounds]
    places = [np.insert(part.cells, 0, i, axis=1) for i, part in enumerate(parts)]
    return LabelledCells(np.concatenate(places), np.concatenate([part.counts for part in parts]))


def training(grounds: Any, *, window: int = 64, read: int = 90, count: int = 50, balance: float = 0.5, seed: int = 0):
    return TrainingWindows(grounds, cells_of(grounds), Sampling(window, read, count, balance, seed), FILL)


# ------------------------------------------------------------------------------------------------------------ windows


@pytest.mark.parametrize("corner", [(-2, -2), (3, 1), (0, 0), (-40, 70), (190, 150)])
def test_a_window_may_reach_beyond_its_raster(corner: tuple[int, int]) -> None:
    whole = ground(50, 60)
    image, labels = read_filled(whole, Window(*corner, 30, 40), FILL)
    rows, cols = np.mgrid[corner[0] : corner[0] + 30, corner[1] : corner[1] + 40]
    inside = (rows >= 0) & (rows < 50) & (cols >= 0) & (cols < 60)
    valid = inside.copy()
    valid[inside] = whole.valid[rows[inside], cols[inside]]
    assert (image[0] == np.where(valid, rows, FILL[0])).all()
    assert (image[1] == np.where(valid, cols, FILL[1])).all()
    expected = np.full(rows.shape, IGNORE, np.uint8)
    expected[valid] = whole.labels[rows[valid], cols[valid]]
    assert np.array_equal(labels, expected)


@pytest.mark.parametrize(
    ("start", "length", "kept"), [(-5, 20, 0), (3, 20, 3), (30, 20, 12), (-5, 6, -2), (-1, 6, -1), (4, 6, 0), (9, 8, 0)]
)
def test_windows_of_eight_pixels_stay_inside(start: int, length: int, kept: int) -> None:
    assert keep_inside(start, 8, length) == kept


@pytest.mark.parametrize(("window", "read"), [(64, 64), (64, 90), (64, 95), (32, 32), (256, 359)])
def test_every_window_shows_a_labelled_cell_and_as_much_of_its_raster_as_it_can(window: int, read: int) -> None:
    grounds = [ground(200, 300), ground(40, 500, row=900)]
    windows = training(grounds, window=window, read=read)
    for index in range(50):
        which, drawn = windows.draw(np.random.default_rng(index))
        margin = (read - window) // 2
        shown = Window(drawn.row + margin, drawn.col + margin, window, window)
        inside = shown.clip(which.height, which.width)
        assert inside.height == min(window, which.height)
        assert inside.width == min(window, which.width)
        assert (which.read_labels(inside) != IGNORE).any()


def test_windows_depend_on_seed_epoch_and_index_alone() -> None:
    grounds = [ground(), ground(row=500, seed=1)]
    windows, again = training(grounds), training(grounds)
    first = [windows[i][0] for i in range(5)]
    assert all(np.array_equal(again[i][0], first[i]) for i in (4, 2, 0, 3, 1))
    assert len({image.tobytes() for image in first}) == 5
    windows.epoch = 1
    assert not np.array_equal(windows[1][0], first[1])
    windows.epoch = 0
    assert np.array_equal(windows[1][0], first[1])
    assert not np.array_equal(training(grounds, seed=1)[1][0], first[1])
    assert np.array_equal(training(grounds, count=99)[1][0], first[1])


def test_windows_are_the_same_arrays_as_batches() -> None:
    windows = training([ground()])
    images, labels = stack_windows([windows[i] for i in range(4)])
    assert (images.shape, images.dtype) == ((4, 2, 90, 90), torch.float32)
    assert (labels.shape, labels.dtype) == ((4, 90, 90), torch.uint8)


# ----------------------------------------------------------------------------------------------------- class balance


def with_rare_class() -> MemoryRaster:
    """A megapixel of class 0 of which class 1 takes a thousandth, in three places."""
    labels = np.zeros((1024, 1024), np.uint8)
    for row, col in ((100, 900), (500, 30), (1000, 512)):
        labels[row : row + 18, col : col + 19] = 1
    assert (labels == 1).mean() == pytest.approx(0.001, rel=0.05)
    return ground(1024, 1024, labels=labels)


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
def test_a_rare_class_is_in_about_the_asked_share_of_the_windows(balance: float) -> None:
    windows = training([with_rare_class()], window=96, read=96, balance=balance)
    drawn = [windows.draw(np.random.default_rng(i)) for i in range(600)]
    shows = [bool((part.read_labels(window.clip(1024, 1024)) == 1).any()) for part, window in drawn]
    by_chance = 3 * (96 + 18) * (96 + 19) / 1024**2
    expected = balance / 2 + (1 - balance / 2) * by_chance
    assert np.mean(shows) == pytest.approx(expected, abs=0.05)


def test_windows_drawn_by_area_show_classes_as_often_as_they_are() -> None:
    labels = np.where(np.arange(640) < 160, 1, 0).astype(np.uint8) * np.ones((640, 1), np.uint8)
    windows = training([ground(640, 640, labels=labels)], window=32, read=32, balance=0.0)
    drawn = [windows.draw(np.random.default_rng(i)) for i in range(600)]
    assert np.mean([window.col < 160 for _, window in drawn]) == pytest.approx(0.25, abs=0.05)


def test_the_drawn_class_is_anywhere_in_its_window() -> None:
    windows = training([with_rare_class()], window=256, read=256, balance=1.0)
    found = []
    for i in range(400):
        part, window = windows.draw(np.random.default_rng(i))
        found += np.argwhere(part.read_labels(window.clip(1024, 1024)) == 1)[:1].tolist()
    assert np.std(found, axis=0).min() > 40


def test_a_class_that_is_not_there_is_not_drawn() -> None:
    windows = training([ground(labels=np.full((200, 200), 2, np.uint8))], balance=1.0)
    assert (windows[0][1] == 2).any()


# ----------------------------------------------------------------------------------------------------- scored windows


def scored(grounds: Any, tile: int, overlap: int, multiple: int = 1, border: int = 0) -> ScoredWindows:
    joined = [whole for whole, _ in join_neighbours(grounds)]
    grids = [Grid(one.height, one.width, tile, overlap, multiple, border) for one in joined]
    model = make_spec(bands=("red", "green"), normalization=NormalizationSpec(mean=FILL, std=(1.0, 1.0)))
    return ScoredWindows(joined, cells_of(joined), grids, model)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(sides, sides, starts, starts), min_size=1, max_size=4),
    st.integers(8, 80), st.integers(0, 20), st.sampled_from([1, 4, 8]), st.sampled_from([0, 5, 32]),
)  # fmt: skip
def test_every_labelled_pixel_is_scored_once(
    places: list[tuple[int, int, int, int]], tile: int, overlap: int, multiple: int, border: int
) -> None:
    grounds = [ground(h, w, row=r, col=c, seed=i) for i, (h, w, r, c) in enumerate(places)]
    windows = scored(grounds, tile, min(overlap, tile // 2), multiple, border)
    times = [np.zeros((one.height, one.width), int) for one in windows.rasters]
    for index, (which, place) in enumerate(windows.places):
        item, whole = windows[index], windows.rasters[which]
        assert item.image.shape[1:] == item.labels.shape == item.counted.shape == item.valid.shape
        assert item.counted.sum() == place.core.pixels
        rows, cols = np.nonzero(item.counted & (item.labels != IGNORE))
        np.add.at(times[which], (rows + place.window.row, cols + place.window.col), 1)
        inside = place.window.clip(whole.height, whole.width)
        image, valid = whole.read(inside)
        part = inside.shift(-place.window.row, -place.window.col).slices
        assert (item.image[:, *part][:, valid] == image[:, valid]).all()
        assert (item.image[0, *part][~valid] == FILL[0]).all()
    for whole, found in zip(windows.rasters, times, strict=True):
        everything = Window(0, 0, whole.height, whole.width)
        labelled = (whole.read_labels(everything) != IGNORE) & whole.read(everything)[1]
        assert np.array_equal(found, labelled.astype(int))


def test_parts_of_rasters_are_scored_exactly_where_they_are_open() -> None:
    """Also where a part ends in the middle of a window's core."""
    whole = ground(300, 300, labels=np.ones((300, 300), np.uint8))
    part = PartlyLabelled(whole, Rectangles.of([Window(32, 64, 96, 128)]), Rectangles.of([]))
    windows = scored([part], tile=128, overlap=16, border=32)
    items = [windows[i] for i in range(len(windows))]
    counted = sum(int((item.counted & (item.labels != IGNORE)).sum()) for item in items)
    assert counted == whole.valid[32:128, 64:192].sum()
    assert len(windows) < len(Grid(300, 300, 128, 16, border=32))


def test_beyond_the_edge_a_window_is_reflected() -> None:
    whole = ground(60, 60, labels=np.ones((60, 60), np.uint8))
    whole.valid[:] = True
    (item,) = [scored([whole], tile=128, overlap=0, border=10)[0]]
    assert np.array_equal(item.image, np.pad(whole.image, ((0, 0), (10, 10), (10, 10)), mode="reflect"))
    assert (item.labels[:10] == IGNORE).all()


def test_windows_are_named_by_the_image_in_their_middle() -> None:
    grounds = [ground(96, 96), ground(96, 96, col=96), ground(96, 96, row=96)]
    windows = scored(grounds, tile=48, overlap=0)
    names = {windows.name_of(i) for i in range(len(windows))}
    assert names == {f"{one.name}, row {r}, column {c}" for one in grounds for r in (0, 48) for c in (0, 48)}


def test_batches_are_of_one_shape_and_lose_nothing() -> None:
    windows = scored([ground(100, 70), ground(33, 40, row=500), ground(80, 80, row=900)], tile=64, overlap=8)
    batches = windows.batches(3)
    assert sorted(i for batch in batches for i in batch) == list(range(len(windows)))
    for batch in batches:
        assert 1 <= len(batch) <= 3
        images, labels, counted, views, *_ = stack_scored([windows[i] for i in batch])
        assert views == NO_VIEWS
        assert images.shape[2:] == labels.shape[1:] == counted.shape[1:]
        assert not stack_uncounted([windows[i] for i in batch])[2].any()


# ------------------------------------------------------------------------------------------------------------- loader


def load(loader: Loader) -> list[list[int]]:
    return list(loader)


def test_a_loader_gives_its_batches_in_order_as_often_as_asked() -> None:
    loader = Loader(range(100, 200), [[0, 1], [5], [2, 3]], list)
    assert load(loader) == load(loader) == [[100, 101], [105], [102, 103]]
    assert len(loader) == 3


class Uneven:
    """Items of which some take longer than later ones."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    def __getitem__(self, index: int) -> int:
        self.begun.append(index)
        time.sleep(0.01 * (index % 3 == 0))
        return index


def test_batches_and_their_order_do_not_depend_on_the_threads() -> None:
    batches = [[0, 1, 2], [3], [4, 5], [6, 7, 8], [9, 10, 11]]
    for threads in (1, 4):
        loader = Loader(Uneven(), batches, list, threads)
        assert load(loader) == load(loader) == batches
        assert load(loader.split(1, 2)) == [batch[1::2] for batch in batches]


def test_what_is_read_ahead_is_bounded_and_done_when_nobody_wants_more() -> None:
    items = Uneven()
    reading = iter(Loader(items, [[2 * i, 2 * i + 1] for i in range(100)], list, 4))
    assert next(reading) == [0, 1]
    reading.close()  # type: ignore[attr-defined]
    begun = len(items.begun)
    time.sleep(0.05)
    assert len(items.begun) == begun <= 2 * (1 + 5)


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_in_the_thread_surfaces_and_the_next_epoch_is_read(threads: int) -> None:
    loader = Loader([1], [[0], [1], [0]], list, threads)
    with pytest.raises(IndexError):
        load(loader)
    assert load(Loader([1], [[0]], list, threads)) == [[1]]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_share_batches_or_take_whole_ones(processes: int) -> None:
    loader = Loader(range(12), [range(0, 6), range(6, 12)], list)
    shared = [load(loader.split(i, processes)) for i in range(processes)]
    for batch in range(2):
        assert sorted(x for share in shared for x in share[batch]) == list(loader.batches[batch])
    dealt = [load(loader.deal(i, processes, idle=lambda items: ["idle", *items])) for i in range(processes)]
    assert sorted(batch for share in dealt for batch in share if batch[0] != "idle") == load(loader)
    assert all(dealt), "each process has work to do"


def test_cells_are_smaller_than_any_window() -> None:
    assert TrainSpec.model_fields["window"].metadata[0].ge >= CELL_PX
