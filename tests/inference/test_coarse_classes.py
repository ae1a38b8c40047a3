"""What coarser views told: kept, found again in place, and ranked by how unsure it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geoseg.geo.grid import Grid, Window
from geoseg.inference.views.coarse_classes import CoarseClasses
from geoseg.inference.views.refined_windows import RefinedWindows, mean_uncertainties, most_certain
from geoseg.models.box_sampling import sample_boxes
from geoseg.raster.window_store import WindowStore

ALL = RefinedWindows(Grid(240, 320, 32, 0))


def ramp_map(height: int, width: int) -> WindowStore:
    """Two maps that tell row and column of their pixels' middles, in whole steps of a 255th."""
    told = WindowStore(2, height, width)
    rows, cols = np.mgrid[:height, :width]
    told.write(Window(0, 0, height, width), np.stack([rows, cols]).astype(np.uint8))
    return told


@given(st.integers(2, 16), st.integers(-40, 300), st.integers(-40, 500), st.integers(8, 90), st.integers(8, 90))
def test_a_ramp_is_found_in_place(ratio: int, row: int, col: int, height: int, width: int) -> None:
    """To a thousandth of a coarse pixel, beyond the edges as at them."""
    told = ramp_map(60, 80)
    window = Window(row, col, height, width)
    if not window.clip(60 * ratio, 80 * ratio).pixels:
        return
    maps, boxes = CoarseClasses(told, ratio, 0, ALL).of_windows([window])
    found = sample_boxes(torch.from_numpy(maps * 255), torch.from_numpy(boxes), (height, width))[0].numpy()
    rows = ((row + np.arange(height) + 0.5) / ratio - 0.5).clip(0, 59)
    cols = ((col + np.arange(width) + 0.5) / ratio - 0.5).clip(0, 79)
    assert np.abs(found[0] - rows[:, None]).max() < 1e-3
    assert np.abs(found[1] - cols[None]).max() < 1e-3


def test_windows_of_one_size_are_read_alike() -> None:
    maps, boxes = CoarseClasses(ramp_map(60, 80), 4, 0, ALL).of_windows(
        [Window(-8, 3, 32, 32), Window(201, 305, 32, 32)]
    )
    assert maps.shape[0] == len(boxes) == 2


def test_the_least_sure_windows_come_first() -> None:
    grid = Grid(128, 128, 32, 0)
    told = WindowStore(2, 32, 32)
    order = np.random.default_rng(1).permutation(16)
    for place, rank in zip(grid.places(), order, strict=True):
        core = Window(*(side // 4 for side in (place.core.row, place.core.col, place.core.height, place.core.width)))
        best = 128 + 8 * rank  # the higher, the surer
        told.write(core, np.broadcast_to(np.array([best, 255 - best], np.uint8)[:, None, None], (2, 8, 8)))
    by_rank = [(place.i, place.j) for _, place in sorted(zip(order, grid.places(), strict=True), key=lambda p: p[0])]
    for fraction, count in ((0, 0), (0.25, 4), (0.3, 5), (1, 16)):
        unsure = mean_uncertainties(told, 4, grid, grid.places())
        assert most_certain([unsure], fraction) == [frozenset(by_rank[count:])]


def test_windows_without_data_are_not_worth_a_look() -> None:
    grid = Grid(64, 64, 32, 0)
    told = WindowStore(2, 16, 16)
    told.write(Window(0, 0, 8, 8), np.full((2, 8, 8), 127, np.uint8))
    doubts = mean_uncertainties(told, 4, grid, grid.places())
    assert most_certain([doubts], 0) == [{(0, 0)}]


def test_the_windows_of_all_scenes_are_ranked_together() -> None:
    doubts = [{(0, 0): 0.1}, {(0, 0): 0.9, (0, 1): 0.3}, {}]
    assert most_certain(doubts, 0.5) == [{(0, 0)}, set(), set()]
    assert most_certain(doubts, 0.3) == [{(0, 0)}, {(0, 1)}, set()]
    assert most_certain(doubts, 0) == [{(0, 0)}, {(0, 0), (0, 1)}, set()]


@st.composite
def choices(draw: st.DrawFn) -> RefinedWindows:
    """A grid of any overlap and border, some of whose windows are skipped."""
    height, width, tile = (draw(st.integers(*span)) for span in ((1, 300), (1, 300), (16, 96)))
    grid = Grid(
        height, width, tile, draw(st.integers(0, 40)), draw(st.sampled_from([1, 4, 16])), draw(st.integers(0, 8))
    )
    numbers = [(place.i, place.j) for place in grid.places()]
    return RefinedWindows(grid, frozenset(draw(st.sets(st.sampled_from(numbers)))))


@given(choices())
def test_the_finer_answer_fades_out_towards_skipped_windows(choice: RefinedWindows) -> None:
    """Its share is one figure for each pixel, 0 where a skipped window counts, 1 far from all, and has no step."""
    grid = choice.grid
    whole = np.zeros((grid.rows.end, grid.cols.end))
    is_known = np.zeros_like(whole, bool)
    for place in grid.places():
        inside = grid.inside(place)
        weights = choice.weights(place, place.window)[inside]
        if (place.i, place.j) in choice.skipped:
            assert not weights.any()
            continue
        at = tuple(
            slice(start + part.start, start + part.stop)
            for start, part in zip((grid.rows.starts[place.i], grid.cols.starts[place.j]), inside, strict=True)
        )
        np.testing.assert_array_equal(whole[at][is_known[at]], weights[is_known[at]])
        whole[at], is_known[at] = weights, True
    for axis in (0, 1):
        assert np.abs(np.diff(whole, axis=axis)).max(initial=0) <= 1 / choice._fade_px + 1e-6
    if not choice.skipped:
        assert (whole == 1).all()


def test_a_window_far_from_skipped_ones_is_refined_whole() -> None:
    choice = RefinedWindows(Grid(320, 320, 64, 0), frozenset({(0, 0)}))
    beside, away = (choice.weights(place, place.window) for place in map(choice.grid.place, (0, 0), (1, 3)))
    assert (away == 1).all()
    assert beside[0, 0] == 1 / 8  # of a fade of 64 / FADE pixels
    assert (beside[:, 7:] == 1).all()
    assert (beside[:, :7] < 1).all()


@pytest.mark.parametrize("overlap", [0, 16, 100, 256])
def test_a_window_between_skipped_ones_counts_in_its_middle(overlap: int) -> None:
    """However much they overlap: it was forwarded for that."""
    grid = Grid(512, 2000, 512, overlap)
    middle = grid.cols.count // 2
    choice = RefinedWindows(grid, frozenset((0, j) for j in range(grid.cols.count) if j != middle))
    place = grid.place(0, middle)
    assert choice.weights(place, place.window)[0].max() == 1


def test_the_weights_of_a_part_are_those_of_the_window() -> None:
    choice = RefinedWindows(Grid(320, 320, 64, 16, 16, 4), frozenset({(0, 0), (2, 1)}))
    place = choice.grid.place(1, 1)
    part = Window(place.window.row + 16, place.window.col + 32, 32, 16)
    np.testing.assert_array_equal(choice.weights(place, part), choice.weights(place, place.window)[16:48, 32:48])
