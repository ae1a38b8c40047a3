"""Where pixels lie: offsets, boxes, and boxes of other coordinate systems."""

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform as transform_points

from geoseg.geo.georef import Box, PixelGrid, grow, reproject_box
from geoseg.geo.grid import Window

UTM17, UTM18, DEGREES = (CRS.from_epsg(code) for code in (32617, 32618, 4326))
PLACE = Affine(0.6, 0, 300_000, 0, -0.6, 4_300_000)

windows = st.builds(Window, st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 99), st.integers(1, 99))
upright = st.builds(
    lambda x, y, left, top: Affine(x, 0, left, 0, y, top),
    st.sampled_from([0.1, 0.6, 10, 8.98e-5]),
    st.sampled_from([-0.1, -0.6, 10, -7.39e-5]),
    st.floats(-1e5, 1e5),
    st.floats(-1e5, 1e5),
)
leaning = st.builds(lambda t, angle: t @ Affine.rotation(angle), upright, st.floats(1, 359))


def grid(transform: Affine = PLACE, crs: CRS | None = UTM17, height: int = 50, width: int = 70) -> PixelGrid:
    return PixelGrid(height, width, transform, crs)


@given(upright, windows)
def test_the_offset_of_a_part_is_its_corner(transform: Affine, window: Window) -> None:
    whole = grid(transform)
    assert whole.offset_of(whole.part(window)) == (window.row, window.col)
    assert whole.nearest_offset(whole.part(window)) == (window.row, window.col)
    assert whole.part(window).offset_of(whole) == (-window.row, -window.col)


@pytest.mark.parametrize(
    "other",
    [
        grid(PLACE @ Affine.translation(0.5, 0)),
        grid(PLACE @ Affine.translation(0, 0.05)),
        grid(PLACE @ Affine.scale(1.001)),
        grid(PLACE @ Affine.rotation(1)),
        grid(crs=UTM18),
        grid(crs=None),
        grid(Affine.identity()),
        grid(Affine.identity(), None),
    ],
)
def test_strangers_share_no_lattice(other: PixelGrid) -> None:
    assert grid().offset_of(other) is None
    assert other.offset_of(grid()) is None


def test_coordinates_of_an_unknown_system_are_coordinates_all_the_same() -> None:
    one, other = grid(crs=None), grid(PLACE @ Affine.translation(3, 4), None)
    assert one.is_georeferenced
    assert one.offset_of(other) == (4, 3)


@pytest.mark.parametrize("crs", [None, UTM17])
def test_the_identity_says_nothing(crs: CRS | None) -> None:
    nowhere = grid(Affine.identity(), crs)
    assert not nowhere.is_georeferenced
    assert nowhere.offset_of(nowhere) is None


def test_grids_are_the_same_to_a_hundredth_of_a_pixel() -> None:
    assert grid().same_as(grid(PLACE @ Affine.translation(0.005, 0)))
    assert not grid().same_as(grid(PLACE @ Affine.translation(0.02, 0)))
    assert not grid().same_as(grid(PLACE @ Affine.scale(1.001)))  # the corner is the same, the others are not
    assert not grid().same_as(grid(crs=None))
    assert grid().overlays(grid(crs=None))
    assert not grid().overlays(grid(width=71))


@given(upright, windows)
def test_the_window_of_a_windows_box_is_the_window(transform: Affine, window: Window) -> None:
    assert grid(transform).window_of(grid(transform).box(window)) == window


@given(leaning, windows)
def test_where_rows_lean_it_is_around_the_window(transform: Affine, window: Window) -> None:
    around = grid(transform).window_of(grid(transform).box(window))
    assert around.row <= window.row
    assert around.col <= window.col
    assert around.row + around.height >= window.row + window.height
    assert around.col + around.width >= window.col + window.width


@pytest.mark.parametrize("target", [UTM18, DEGREES, CRS.from_epsg(3857), CRS.from_epsg(3035)])
def test_a_moved_box_holds_what_the_box_holds(target: CRS) -> None:
    box = (300_000.0, 4_300_000.0, 340_000.0, 4_330_000.0)
    moved = reproject_box(box, UTM17, target)
    assert moved is not None
    x, y = np.random.default_rng(0).uniform(box[:2], box[2:], (2000, 2)).T
    x, y = np.r_[x, box[0], box[2], x, x], np.r_[y, box[1], box[3], np.full(2000, box[1]), np.full(2000, box[3])]
    left, bottom, right, top = moved
    slack = 1e-4 * (right - left)
    x, y = map(np.array, transform_points(UTM17, target, x, y))
    assert left - slack < x.min() < x.max() < right + slack
    assert bottom - slack < y.min() < y.max() < top + slack


def test_boxes_without_a_place_elsewhere() -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    assert reproject_box(box, None, None) == box
    assert reproject_box(box, UTM17, UTM17) == box
    assert reproject_box(box, None, UTM17) is None
    assert reproject_box(box, UTM17, None) is None
    assert reproject_box(Box(1e12, 1e12, 1e13, 1e13), UTM17, DEGREES) is None


def test_a_box_across_the_antimeridian_is_all_around_the_globe() -> None:
    moved = reproject_box(Box(700_000, 0, 900_000, 10_000), CRS.from_epsg(32660), DEGREES)
    assert moved is not None
    assert moved[:1] + moved[2:3] == (-180, 180)
    assert math.isclose(moved[3], 0.09, abs_tol=0.01)


def test_a_grown_window_has_so_much_more_on_each_side() -> None:
    assert grow(Window(1, 2, 3, 4), 5) == Window(-4, -3, 13, 14)


def test_a_grid_says_where_it_is() -> None:
    assert str(grid()) == "70 × 50 pixels of 0.6 from 300000, 4300000 in EPSG:32617"
    assert str(grid(Affine.identity(), None)) == "70 × 50 pixels of 1 from 0, 0 in no CRS"
