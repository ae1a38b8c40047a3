import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.geo.grid import Axis, Grid, Window

sizes = st.integers(1, 400)
grids = st.builds(
    lambda height, width, tile, part, multiple, border: Grid(height, width, tile, tile * part // 100, multiple, border),
    sizes,
    sizes,
    st.sampled_from([16, 32, 48, 64, 100]),
    st.integers(0, 50),
    st.sampled_from([1, 8, 16]),
    st.sampled_from([0, 3, 16]),
)


@given(grids)
def test_cores_cover_the_scene_once_and_windows_come_once(grid):
    covered = np.zeros((grid.height, grid.width), int)
    windows = []
    for place in grid.places():
        covered[place.core.slices] += 1
        windows.append(place.window)
    assert (covered == 1).all()
    assert len(set(windows)) == len(windows) == len(grid)


@given(grids)
def test_windows_have_one_size_that_fits_the_network(grid):
    for axis in (grid.rows, grid.cols):
        assert all(size % grid.multiple == 0 for size in axis.sizes)
        assert axis.size == max(axis.sizes) <= max(grid.tile, grid.multiple)
        assert axis.size - min(axis.sizes) in (0, grid.multiple)
        assert sorted(axis.sizes, reverse=True) == list(axis.sizes)
        assert all(start % grid.multiple == 0 for start in axis.starts)
        assert axis.starts[0] == 0
        assert axis.length <= axis.starts[-1] + axis.sizes[-1] < axis.length + grid.multiple


@given(grids)
def test_a_core_lies_inside_its_window(grid):
    for place in grid.places():
        core, window = place.core, place.window
        if core.pixels:
            assert window.row <= core.row
            assert core.row + core.height <= window.row + window.height
            assert window.col <= core.col
            assert core.col + core.width <= window.col + window.width


@given(st.integers(1, 5000), st.sampled_from([64, 256, 1024]), st.integers(0, 50), st.sampled_from([1, 16, 32]))
def test_seams_never_touch_and_neighbours_share_at_least_the_overlap(length, largest, part, multiple):
    axis = Axis(length, largest, largest * part // 100, multiple)
    for i in range(axis.count - 1):
        shared = axis.starts[i] + axis.sizes[i] - axis.starts[i + 1]
        assert min(axis.overlap, axis.largest // 2 - multiple) <= shared < axis.overlap + multiple
        assert axis.seams[i] >= axis.starts[i + 1]
        assert axis.seams[i] + axis.ramp <= axis.starts[i] + axis.sizes[i]
    for before, after in zip(axis.seams, axis.seams[1:], strict=False):
        assert before + axis.ramp <= after


@pytest.mark.parametrize("multiple", [16, 32])
def test_fitted_windows_waste_little(multiple):
    grid = Grid(10_000, 10_000, 1024, 64, multiple, 32)
    assert grid.forwarded_px == sum(place.window.pixels for place in grid.places())
    assert grid.forwarded_px / (grid.height * grid.width) <= 1.15


@given(grids)
def test_tile_rows_partition_the_scene_into_whole_rows(grid):
    rows = [grid.tile_row_core(i) for i in range(grid.rows.count)]
    assert all((core.col, core.width) == (0, grid.width) for core in rows if core.height)
    assert [row for core in rows for row in range(core.row, core.row + core.height)] == list(range(grid.height))
    for i, core in enumerate(rows):
        assert {place.core.row for place in grid.tile_row(i) if place.core.pixels} <= {core.row}


@given(st.integers(-50, 50), st.integers(0, 100), st.integers(1, 120))
def test_bands_partition_a_window_from_top_to_bottom(row, height, most):
    window = Window(row, 3, height, 20)
    bands = list(window.bands(most))
    assert [i for band in bands for i in range(band.row, band.row + band.height)] == list(range(row, row + height))
    assert all((band.col, band.width) == (3, 20) and 0 < band.height <= most for band in bands)


def test_clip():
    assert Window(-5, 90, 20, 20).clip(100, 100) == Window(0, 90, 15, 10)
    assert Window(200, 0, 5, 5).clip(100, 100).pixels == 0
