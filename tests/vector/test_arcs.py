"""Whatever is done to arcs, the polygons stay a coverage: no gap, no overlap, nothing lost."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.raster.strips import Strip
from geoseg.vector.arcs import cut, join, simplify, smooth
from geoseg.vector.trace import Regions, trace

NODATA = 255


def traced(ids: np.ndarray) -> Regions:
    return trace([Strip(0, ids)], ids.shape[1], NODATA)


def rasters(values=(0, 1, 2, NODATA), most=12):
    sides = st.integers(1, most)
    return st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from(values)))


def check_coverage(before: Regions, after: Regions) -> np.ndarray:
    polygons = after.geometry
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.is_ccw(shapely.get_exterior_ring(polygons)).all()
    assert (shapely.area(polygons) > 0).all()
    assert (shapely.get_num_interior_rings(polygons) == shapely.get_num_interior_rings(before.geometry)).all()
    assert shapely.area(polygons).sum() == pytest.approx(shapely.union_all(polygons).area)
    return polygons


@settings(max_examples=200, deadline=None)
@given(ids=rasters())
def test_cut_and_joined_again_is_the_same(ids):
    regions = traced(ids)
    joined = join(cut(regions, *ids.shape), regions)
    assert shapely.equals(joined.geometry, regions.geometry).all()
    assert len(joined.corners) == len(regions.corners)
    np.testing.assert_array_equal(joined.ring_offsets, regions.ring_offsets)


@settings(max_examples=200, deadline=None)
@given(ids=rasters(), tolerance=st.sampled_from([0.6, 1.0, 2.5, 20]), is_smooth=st.booleans(), size=st.integers(1, 3))
def test_simplified_and_smoothed_regions_are_a_coverage(ids, tolerance, is_smooth, size):
    ids = np.kron(ids, np.ones((size, size), np.uint8))
    regions = traced(ids)
    arcs = simplify(cut(regions, *ids.shape), tolerance)
    check_coverage(regions, join(smooth(arcs, tolerance**2) if is_smooth else arcs, regions))


@settings(max_examples=100, deadline=None)
@given(ids=rasters(values=(0, 1)))
def test_smoothed_regions_are_a_coverage(ids):
    regions = traced(ids)
    check_coverage(regions, join(smooth(cut(regions, *ids.shape)), regions))


@settings(max_examples=50, deadline=None)
@given(ids=rasters(values=(0, 1, 2)), tolerance=st.sampled_from([1.0, 8]))
def test_a_full_scene_stays_full(ids, tolerance):
    regions = traced(ids)
    for arcs in (simplify(cut(regions, *ids.shape), tolerance), smooth(cut(regions, *ids.shape), tolerance)):
        polygons = join(arcs, regions).geometry
        assert shapely.equals(shapely.union_all(polygons), shapely.box(0, 0, *ids.shape[::-1]))
        assert shapely.area(polygons).sum() == pytest.approx(ids.size)


def test_each_border_is_stored_once():
    ids = np.uint8([[0, 0, 1], [0, 0, 1], [2, 2, 2]])
    arcs = cut(traced(ids), *ids.shape)
    nodes = {tuple(arcs.points[i]) for i in (*arcs.offsets[:-1], *(arcs.offsets[1:] - 1))}
    assert nodes == {(2, 0), (2, 2), (0, 2), (3, 2)}
    assert len(arcs) == 6  # three between regions, three along the edge of the raster
    assert sorted(np.bincount(np.where(arcs.passed < 0, ~arcs.passed, arcs.passed))) == [1, 1, 1, 2, 2, 2]


def test_a_staircase_becomes_a_line_and_a_square_stays_one():
    stairs = np.tril(np.ones((40, 40), np.uint8))
    polygons = join(simplify(cut(traced(stairs), 40, 40), 1.0), traced(stairs)).geometry
    assert shapely.get_num_coordinates(polygons).max() <= 7
    square = np.zeros((40, 40), np.uint8)
    square[10:30, 10:30] = 1
    regions = traced(square)
    kept = join(simplify(cut(regions, 40, 40), 5.0), regions).geometry
    assert shapely.equals(kept, regions.geometry).all()


def test_smoothing_rounds_corners_a_little_and_never_the_frame():
    square = np.zeros((40, 40), np.uint8)
    square[10:30, 10:30] = 1
    regions = traced(square)
    outer, inner = join(smooth(cut(regions, 40, 40), area_px=2.0), regions).geometry
    assert 400 - 4 * 2.0 < inner.area < 400
    assert outer.exterior.equals(shapely.box(0, 0, 40, 40).exterior)
    assert inner.area + outer.area == pytest.approx(1600)


def test_a_smoothed_staircase_is_no_staircase():
    ids = np.tril(np.ones((60, 60), np.uint8))
    regions = traced(ids)
    lower, _ = sorted(join(smooth(cut(regions, 60, 60)), regions).geometry, key=lambda polygon: -polygon.area)
    border = shapely.get_coordinates(lower)
    inside = border[(border[:, 0] > 5) & (border[:, 0] < 55) & (border[:, 1] > 5) & (border[:, 1] < 55)]
    off = np.abs(inside[:, 0] - inside[:, 1] - (inside[:, 0] - inside[:, 1]).mean()) / np.sqrt(2)
    assert off.max() < 0.25  # of a pixel, where the staircase is off by 0.35


def test_an_island_never_leaves_its_region():
    ids = np.zeros((60, 60), np.uint8)
    rows, cols = np.mgrid[:60, :60]
    ids[(rows - 30) ** 2 + (cols - 30) ** 2 < 26**2] = 1
    ids[30, 56] = 2 if ids[30, 56] else 0
    ids[5, 28] = 2
    regions = traced(ids)
    for tolerance in (1.0, 5.0, 40.0):
        polygons = check_coverage(regions, join(simplify(cut(regions, *ids.shape), tolerance), regions))
        assert len(polygons) == len(regions)


def test_nothing_is_nothing():
    ids = np.full((3, 4), NODATA, np.uint8)
    regions = traced(ids)
    assert len(join(smooth(simplify(cut(regions, *ids.shape), 1.0)), regions).geometry) == 0


@settings(max_examples=30, deadline=None)
@given(ids=rasters(most=8))
def test_no_tolerance_leaves_all_vertices_and_a_large_one_few(ids):
    ids = np.kron(ids, np.ones((3, 3), np.uint8))
    arcs = cut(traced(ids), *ids.shape)
    none, small, large = (len(simplify(arcs, tolerance).points) for tolerance in (0.0, 1.0, 20.0))
    assert none == len(arcs.points) >= small >= large


@settings(max_examples=60, deadline=None)
@given(ids=rasters(), tolerance=st.sampled_from([0.8, 1.0, 3.0, 12.0]), size=st.integers(1, 4))
def test_no_old_vertex_is_farther_away_than_the_tolerance(ids, tolerance, size):
    arcs = cut(traced(np.kron(ids, np.ones((size, size), np.uint8))), *(size * np.array(ids.shape)).tolist())
    simpler = simplify(arcs, tolerance)
    for k in range(len(arcs)):
        old = arcs.points[arcs.offsets[k] : arcs.offsets[k + 1]]
        new = shapely.LineString(simpler.points[simpler.offsets[k] : simpler.offsets[k + 1]])
        assert shapely.distance(shapely.points(old), new).max() < tolerance


def test_a_flat_staircase_becomes_a_line():
    rows, cols = np.mgrid[:40, :400]
    ids = (rows > 10 + cols / 20).astype(np.uint8)
    polygons = join(simplify(cut(traced(ids), 40, 400), 1.0), traced(ids)).geometry
    assert shapely.get_num_coordinates(polygons).max() <= 9
