"""Burning back is the inverse of tracing, and agrees with GDAL's own burning."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.features import rasterize

from geoseg.raster.strips import Strip
from geoseg.vector.rasterize import burn
from geoseg.vector.trace import trace

NODATA = 255


@settings(max_examples=150, deadline=None)
@given(
    ids=st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from((0, 1, 2, NODATA)))
    )
)
def test_traced_and_burnt_is_the_same(ids):
    regions = trace([Strip(0, ids)], ids.shape[1], NODATA)
    burnt = np.full_like(ids, NODATA)
    burn(regions.geometry, regions.class_id, burnt)
    np.testing.assert_array_equal(burnt, ids)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_any_polygon_is_burnt_as_gdal_burns_it(seed):
    rng = np.random.default_rng(seed)
    star = shapely.Polygon(rng.uniform(-5, 45, (5, 2)))
    polygon = shapely.make_valid(star).buffer(0)
    expected = rasterize([polygon], out_shape=(30, 40)) if polygon.area else np.zeros((30, 40), np.uint8)
    burnt = np.zeros((30, 40), np.uint8)
    burn(np.array([polygon], object), np.uint8([1]), burnt)
    np.testing.assert_array_equal(burnt, expected)


def test_a_multipolygon_with_a_hole():
    ring = shapely.box(1, 1, 9, 9).difference(shapely.box(3, 3, 6, 6))
    both = shapely.MultiPolygon([ring, shapely.box(4, 4, 5, 5)])
    burnt = np.zeros((10, 10), np.uint8)
    burn(np.array([both], object), np.uint8([7]), burnt)
    assert (burnt == 7).sum() == 64 - 9 + 1
    assert burnt[4, 4] == 7
    assert burnt[3, 3] == 0


def test_nothing_is_burnt():
    burnt = np.full((2, 2), NODATA, np.uint8)
    burn(np.empty(0, object), np.empty(0, np.uint8), burnt)
    assert (burnt == NODATA).all()
