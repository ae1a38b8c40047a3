"""The own test of a coverage against GEOS's."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoseg.raster.strips import Strip
from geoseg.vector.arcs import cut, join, simplify, smooth
from geoseg.vector.coverage import is_coverage
from geoseg.vector.trace import trace

SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12))
RASTERS = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from((0, 1, 2, 255))))


def polygons_of(ids, tolerance=0.0, is_smooth=False) -> np.ndarray:
    regions = trace([Strip(0, ids)], ids.shape[1], 255)
    arcs = simplify(cut(regions, *ids.shape), tolerance)
    return join(smooth(arcs) if is_smooth else arcs, regions).geometry


@settings(max_examples=150, deadline=None)
@given(ids=RASTERS, tolerance=st.sampled_from([0.0, 1.0, 4.0]), is_smooth=st.booleans())
def test_what_is_traced_is_a_coverage(ids, tolerance, is_smooth):
    assert is_coverage(polygons_of(ids, tolerance, is_smooth))


@settings(max_examples=150, deadline=None)
@given(ids=RASTERS, seed=st.integers(0, 1000))
def test_polygons_simplified_one_by_one_are_judged_as_by_geos(ids, seed):
    """Each for itself, as is done elsewhere: that tears most of them apart, but not all."""
    polygons = polygons_of(np.kron(ids, np.ones((3, 3), np.uint8)))
    chosen = np.random.default_rng(seed).random(len(polygons)) < 0.5
    polygons[chosen] = shapely.simplify(polygons[chosen], 2.0)
    if shapely.is_valid(polygons).all() and not shapely.is_empty(polygons).any():
        assert is_coverage(polygons) == bool(shapely.coverage_is_valid(polygons))


SQUARE = shapely.box(0, 0, 10, 10)


@pytest.mark.parametrize(
    "other",
    [
        shapely.box(5, 5, 15, 15),
        shapely.box(0, 0, 10, 10),
        shapely.box(10, 0, 20, 5),
        shapely.box(0, 0, 5, 10),
        shapely.Polygon([(10, 5), (20, 0), (20, 10)]),
        shapely.Polygon([(2, 2), (30, 4), (30, 6)]),
    ],
    ids=["overlap", "twice", "T-junction", "within", "touch", "spike"],
)
def test_what_is_no_coverage(other):
    assert not is_coverage(np.array([SQUARE, other]))
    assert not shapely.coverage_is_valid([SQUARE, other])


@pytest.mark.parametrize(
    "other",
    [shapely.box(10, 0, 20, 10), shapely.box(10, 10, 20, 20), shapely.box(11, 0, 20, 10), shapely.box(300, 0, 900, 10)],
    ids=["neighbour", "corner", "apart", "far"],
)
def test_what_is_a_coverage(other):
    assert is_coverage(np.array([SQUARE, other]))


def test_multipolygons_and_nothing():
    assert is_coverage(np.empty(0, object))
    assert is_coverage(
        np.array([shapely.MultiPolygon([SQUARE, shapely.box(10, 10, 20, 20)]), shapely.box(10, 0, 20, 10)])
    )
