"""Labelled ground in memory: joined tiles, windows and statistics."""

import numpy as np
import pytest
import torch
from affine import Affine
from rasterio.crs import CRS

from geoseg.errors import LabelError
from geoseg.labels import PixelGrid
from geoseg.mosaic import Ground, fill_empty, join_neighbours, valid_pixels
from geoseg.samples import Tiles, Windows, cut, keep_inside, statistics
from geoseg.spec import IGNORE

UTM = CRS.from_epsg(32631)


def ground(value: int, column: float = 0, row: float = 0, *, side: int = 4, crs: CRS | None = UTM) -> Ground:
    """A square of one value and of the class of that value, placed in pixels of 0.5 m."""
    grid = PixelGrid(side, side, Affine(0.5, 0, 100 + 0.5 * column, 0, -0.5, 50 - 0.5 * row), crs)
    return Ground(np.full((2, side, side), value, np.uint8), np.full((side, side), value, np.uint8), grid)


def test_neighbours_are_joined_with_gaps_filled() -> None:
    (joined,) = join_neighbours([ground(1), ground(2, column=4), ground(3, column=8, row=4)], fill=(9, 8))
    assert joined.labels.shape == (8, 12)
    assert joined.labels[0].tolist() == [1] * 4 + [2] * 4 + [IGNORE] * 4
    assert joined.labels[7].tolist() == [IGNORE] * 8 + [3] * 4
    assert joined.image[:, 7, 0].tolist() == [9, 8]
    assert (joined.image[0] == joined.labels)[joined.labels != IGNORE].all()


def test_order_does_not_matter_and_the_grid_follows() -> None:
    (joined,) = join_neighbours([ground(2, column=4, row=4), ground(1)], fill=(0, 0))
    assert joined.labels[0, 0] == 1
    assert joined.grid.same_as(PixelGrid(8, 8, ground(1).grid.transform, UTM))


@pytest.mark.parametrize(
    "other", [ground(2, column=9), ground(2, column=4.5), ground(2, column=4, crs=None), ground(2, row=-9)]
)
def test_strangers_stay_apart(other: Ground) -> None:
    assert len(join_neighbours([ground(1), other], fill=(0, 0))) == 2


@pytest.mark.parametrize(("row", "column"), [(-2, -2), (3, 1), (0, 0), (-40, 70)])
def test_a_window_may_reach_beyond_the_ground(row: int, column: int) -> None:
    image, labels = cut(ground(1), row, column, 5, fill=(7, 6))
    rows, columns = np.arange(row, row + 5), np.arange(column, column + 5)
    inside = ((rows >= 0) & (rows < 4))[:, None] & ((columns >= 0) & (columns < 4))
    assert (labels == np.where(inside, 1, IGNORE)).all()
    assert (image[0] == np.where(inside, 1, 7)).all()


@pytest.mark.parametrize(
    ("start", "length", "kept"), [(-5, 20, 0), (3, 20, 3), (30, 20, 12), (-5, 6, -2), (-1, 6, -1), (4, 6, 0), (9, 8, 0)]
)
def test_windows_of_eight_pixels_stay_inside(start: int, length: int, kept: int) -> None:
    assert keep_inside(start, 8, length) == kept


def test_windows_depend_on_seed_epoch_and_index_alone() -> None:
    rng = np.random.default_rng(0)
    scene = Ground(rng.random((1, 200, 200)), np.zeros((200, 200), np.uint8), ground(0, side=200).grid)
    windows = Windows([scene], 48, 64, 3, fill=(0,), balance=0.5, seed=1)
    first = [windows[i][0] for i in range(3)]
    assert torch.equal(windows[1][0], first[1])
    assert not torch.equal(first[0], first[1])
    windows.epoch = 1
    assert not torch.equal(windows[1][0], first[1])


def test_balanced_windows_find_a_rare_class() -> None:
    labels = np.zeros((640, 640), np.uint8)
    labels[600:610, 20:30] = 1
    scene = Ground(np.zeros((1, 640, 640), np.uint8), labels, ground(0, side=640).grid)
    shares = []
    for balance in (0.0, 1.0):
        windows = Windows([scene], 96, 96, 60, fill=(0,), balance=balance, seed=0)
        shares.append(np.mean([bool((windows[i][1] == 1).any()) for i in range(60)]))
    assert shares[0] < 0.15
    assert 0.4 < shares[1] < 0.7


def test_tiles_are_padded_to_the_multiple_and_the_padding_is_ignored() -> None:
    image, labels = Tiles([ground(1, side=5)], 4)[0]
    assert image.shape == (2, 8, 8)
    assert image.eq(1).all()
    assert (labels != IGNORE).sum() == 25


def test_statistics_are_those_of_the_labelled_pixels() -> None:
    one, two = ground(2), ground(4)
    two.labels[0] = IGNORE
    values = np.r_[np.full(16, 2.0), np.full(12, 4.0)]
    found = statistics([one, two])
    assert found.mean == pytest.approx([values.mean()] * 2, abs=1e-4)
    assert found.std == pytest.approx([values.std()] * 2, abs=1e-4)


def test_a_flat_band_and_no_label_at_all() -> None:
    assert statistics([ground(3)]).std == (1.0, 1.0)
    with pytest.raises(LabelError, match="no training pixel is labelled"):
        statistics([ground(IGNORE)])


def test_pixels_without_data_in_any_band_are_not_valid() -> None:
    image = np.array([[[0.0, 1, np.nan]], [[1.0, 1, 1]]])
    assert valid_pixels(image, 0).tolist() == [[False, True, False]]
    assert valid_pixels(image, None).tolist() == [[True, True, False]]


def test_pixels_without_data_are_filled_as_when_the_model_predicts() -> None:
    whole = ground(1)
    image = whole.image.astype(np.float32)
    image[0, 0, 0], image[1, 0, 1] = np.nan, -9
    filled = fill_empty(Ground(image, whole.labels, whole.grid, nodata=-9), (5, 6))
    assert filled.image[:, 0, :3].T.tolist() == [[5, 6], [5, 6], [1, 1]]
