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
    areas = np.array([600.0, 300.0, 98.0, 2.0, 0.0])
    assert allocate(areas, 100, "proportional", 0).tolist() == [60, 30, 10, 0, 0]
    assert allocate(areas, 100, "equal", 0).tolist() == [25, 25, 25, 25, 0]
    assert allocate(areas, 100, "proportional", 15).tolist() == [47, 23, 15, 15, 0]
    assert allocate(areas, 7, "equal", 0).sum() == 7
    assert allocate(areas, 60, "proportional", 15).tolist() == [15, 15, 15, 15, 0]
    with pytest.raises(SpecError, match="raise count, or lower min_per_class"):
        allocate(areas, 59, "proportional", 15)


def test_units_are_drawn_as_often_as_their_inclusion_says() -> None:
    sizes, rng = np.array([1.0, 2.0, 3.0, 0.0, 4.0, 10.0]), np.random.default_rng(0)
    stated = inclusion(sizes, 3)
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
    measure = frame.count_rows(len(counts), lambda px: None) * frame.row_areas_m2[:, None]
    return draw_points([frame], [measure], np.array(counts), seed, lambda px: None), measure


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
    strata = np.zeros((80, 40), np.uint8)
    points, measure = drawn_from(strata, [20_000], Affine(1, 0, 0, 0, -1, 80))  # from 80° north to the equator
    share = measure[:40].sum() / measure.sum()
    assert 0.30 < share < 0.36, "the northern half has a third of the area"
    assert (points.rows < 40).mean() == pytest.approx(share, abs=0.01)
    assert points.columns.mean() == pytest.approx(20, abs=0.4)
    assert (points.columns % 1).mean() == pytest.approx(0.5, abs=0.01)
