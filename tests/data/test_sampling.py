"""Samples are shared among strata as asked for, and drawn with the probabilities that they state."""

from __future__ import annotations

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from geoseg.core.errors import SpecError
from geoseg.data.sampling.allocation import allocate
from geoseg.data.sampling.frames import NO_STRATUM, Frame, Strata
from geoseg.data.sampling.points import draw_points
from geoseg.data.sampling.units import draw_units, inclusion
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window


def test_places_are_shared_in_proportion_equally_or_with_a_minimum() -> None:
    areas, many = np.array([600.0, 300.0, 98.0, 2.0, 0.0]), np.full(5, 1000)
    assert allocate(areas, many, 100, "proportional", 0).tolist() == [60, 30, 10, 0, 0]
    assert allocate(areas, many, 100, "equal", 0).tolist() == [25, 25, 25, 25, 0]
    assert allocate(areas, many, 100, "proportional", 15).tolist() == [47, 23, 15, 15, 0]
    assert allocate(areas, many, 7, "equal", 0).sum() == 7
    assert allocate(areas, many, 60, "proportional", 15).tolist() == [15, 15, 15, 15, 0]
    with pytest.raises(SpecError, match="raise count, or lower min_per_class to 14"):
        allocate(areas, many, 59, "proportional", 15)


def test_what_a_small_stratum_cannot_take_goes_to_the_others_by_the_same_rule() -> None:
    areas = np.array([600.0, 300.0, 98.0, 2.0, 0.0])
    units = areas.astype(np.int64)
    assert allocate(areas, units, 100, "proportional", 15).tolist() == [55, 28, 15, 2, 0]
    assert allocate(areas, units, 100, "equal", 0).tolist() == [33, 33, 32, 2, 0]
    assert allocate(areas, units, 400, "equal", 15).tolist() == [150, 150, 98, 2, 0]
    assert allocate(areas, units, 47, "proportional", 15).tolist() == [15, 15, 15, 2, 0]
    assert allocate(areas, units, 1000, "proportional", 15).tolist() == [600, 300, 98, 2, 0]
    assert allocate(areas, units, 2000, "equal", 15).tolist() == [600, 300, 98, 2, 0]
    for count in range(47, 1001, 7):
        found = allocate(areas, units, count, "proportional", 15)
        assert found.sum() == count
        assert (found <= units).all()


def test_units_are_drawn_as_often_as_their_inclusion_says() -> None:
    sizes, rng = np.array([1.0, 2.0, 3.0, 0.0, 4.0, 10.0]), np.random.default_rng(0)
    stated = inclusion(sizes, np.ones(6, np.int64), 3)
    assert stated.sum() == pytest.approx(3)
    assert stated[3] == 0
    assert stated[5] == 1
    assert stated[:3] * sizes[4] == pytest.approx(sizes[:3] * stated[4])
    often = np.zeros(6)
    for _ in range(4000):
        drawn, _ = draw_units(sizes, 3, rng)
        assert len(drawn) == len(set(drawn.tolist())) == 3
        often[drawn] += 1
    np.testing.assert_allclose(often / 4000, stated, atol=0.03)


def test_of_fewer_units_than_are_wanted_all_are_drawn() -> None:
    drawn, stated = draw_units(np.array([1.0, 0.0, 5.0]), 9, np.random.default_rng(0))
    assert sorted(drawn.tolist()) == [0, 2]
    assert stated.tolist() == [1, 0, 1]


def frame_of(strata: Strata, transform: Affine, crs: str) -> Frame:
    grid = PixelGrid(*strata.shape, transform, CRS.from_user_input(crs))

    def read(window: Window) -> Strata:
        return strata[window.slices]

    return Frame("map", grid, 16, read)


def drawn_from(strata: Strata, counts: list[int], transform: Affine, crs: str = "EPSG:4326", seed: int = 0) -> tuple:
    frame = frame_of(strata, transform, crs)
    pixels = frame.count_rows(len(counts), lambda px: None)
    points = draw_points([frame], [pixels], np.array(counts), seed, lambda px: None)
    return points, pixels * frame.row_areas_m2[:, None]


def test_points_lie_in_their_stratum_and_never_where_there_is_no_data() -> None:
    random = np.random.default_rng(1)
    strata = np.array([0, 1, 2, NO_STRATUM], np.uint8)[random.integers(0, 4, (60, 80))]
    points, _ = drawn_from(strata, [200, 50, 7], Affine(1, 0, 0, 0, -1, 60))
    assert np.bincount(points.strata).tolist() == [200, 50, 7]
    assert (strata[points.rows.astype(int), points.columns.astype(int)] == points.strata).all()
    again, _ = drawn_from(strata, [200, 50, 7], Affine(1, 0, 0, 0, -1, 60))
    other, _ = drawn_from(strata, [200, 50, 7], Affine(1, 0, 0, 0, -1, 60), seed=1)
    assert (again.rows == points.rows).all()
    assert (other.rows != points.rows).any()
    assert (np.diff(points.strata) < 0).any(), "places of one class do not stand together"


def test_points_are_uniform_on_the_earth_and_not_in_degrees() -> None:
    strata = np.zeros((800, 4000), np.uint8)
    # from 80° north to the equator
    points, measure = drawn_from(strata, [20_000], Affine(0.1, 0, 0, 0, -0.1, 80))
    share = measure[:400].sum() / measure.sum()
    assert 0.30 < share < 0.36, "the northern half has a third of the area"
    assert (points.rows < 400).mean() == pytest.approx(share, abs=0.01)
    assert points.columns.mean() == pytest.approx(2000, abs=40)
    assert (points.columns % 1).mean() == pytest.approx(0.5, abs=0.01)
    assert points.area_m2 == pytest.approx(np.full(20_000, measure.sum() / 20_000))


def test_no_two_points_share_a_pixel_and_each_pixel_is_drawn_as_often_as_stated() -> None:
    strata = np.array([[0, 0, 0, 1], [0, 1, NO_STRATUM, 1], [0, 0, 1, 1]], np.uint8)
    often, rounds = np.zeros(strata.shape), 1500
    for seed in range(rounds):
        points, measure = drawn_from(strata, [4, 5], Affine(30, 0, 0, 0, -30, 89), seed=seed)
        pixels = points.rows.astype(int), points.columns.astype(int)
        assert len(set(zip(*pixels, strict=True))) == 9
        assert points.inclusion.max() <= 1
        assert (points.inclusion[points.strata == 1] == 1).all(), "all five pixels"
        for stratum, area in enumerate(measure.sum(axis=0)):
            assert points.area_m2[points.strata == stratum].sum() == pytest.approx(area)
        often[pixels] += 1
    expected = points.inclusion[points.strata == 0]
    for row, column in np.argwhere(strata == 0):
        drawn = (points.rows.astype(int) == row) & (points.strata == 0)
        if drawn.any():
            assert often[row, column] / rounds == pytest.approx(points.inclusion[drawn][0], abs=0.05)
    assert expected.min() < 0.9 < expected.max(), "pixels of this raster differ in area"
