"""The tracer against three oracles: burning back, scipy's labels, and GDAL's polygons."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rasterio.features import rasterize, shapes
from scipy import ndimage

from geoseg.raster.strips import Strip
from geoseg.vector.trace import Regions, Tracer, trace

NODATA = 255


def traced(ids, strip_height=None, confidence=None, nodata=NODATA) -> Regions:
    ids = np.asarray(ids, np.uint8)
    step = strip_height or len(ids)
    strips = (
        Strip(row, ids[row : row + step], None if confidence is None else confidence[row : row + step])
        for row in range(0, len(ids), step)
    )
    return trace(strips, ids.shape[1], nodata)


def burnt(regions, shape) -> np.ndarray:
    pairs = list(zip(regions.geometry, regions.class_id.tolist(), strict=True))
    if not pairs:
        return np.full(shape, NODATA, np.uint8)
    return rasterize(pairs, out_shape=shape, fill=NODATA, dtype="uint8")


def labels(ids) -> int:
    return sum(ndimage.label(ids == class_id)[1] for class_id in np.unique(ids[ids != NODATA]))


def check(ids, regions):
    """Everything that must hold for any raster."""
    geometry = regions.geometry
    assert len(regions) == len(geometry) == labels(ids)
    assert shapely.is_valid(geometry).all()
    assert shapely.coverage_is_valid(geometry)
    assert shapely.is_ccw(shapely.get_exterior_ring(geometry)).all()
    np.testing.assert_array_equal(shapely.area(geometry), regions.pixels)
    np.testing.assert_array_equal(burnt(regions, ids.shape), ids)


def rasters(values=(0, 1, 2, NODATA)):
    sides = st.integers(1, 12)
    return st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from(values)))


@settings(max_examples=250, deadline=None)
@given(ids=rasters(), strip_height=st.integers(1, 12))
def test_any_raster_in_any_strips(ids, strip_height):
    check(ids, traced(ids, strip_height))


@settings(max_examples=100, deadline=None)
@given(ids=rasters(values=(0, 1)), strip_height=st.integers(1, 5))
def test_saddles(ids, strip_height):
    check(ids, traced(ids, strip_height))


@settings(max_examples=100, deadline=None)
@given(ids=rasters(), strip_height=st.integers(1, 12))
def test_strips_leave_no_trace(ids, strip_height):
    whole, parts = traced(ids), traced(ids, strip_height)
    np.testing.assert_array_equal(whole.corners, parts.corners)
    np.testing.assert_array_equal(whole.ring_offsets, parts.ring_offsets)
    np.testing.assert_array_equal(whole.region_offsets, parts.region_offsets)
    np.testing.assert_array_equal(whole.class_id, parts.class_id)


@settings(max_examples=100, deadline=None)
@given(ids=rasters(), strip_height=st.integers(1, 4), dtype=st.sampled_from([np.uint8, np.int32]))
def test_threads_leave_no_trace(ids, strip_height, dtype):
    confidence = (np.arange(ids.size) % 101).astype(np.uint8).reshape(ids.shape)
    strips = [
        Strip(row, ids[row : row + strip_height].astype(dtype), confidence[row : row + strip_height])
        for row in range(0, len(ids), strip_height)
    ]
    found = []
    for threads in (1, 4):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("geoseg.vector.trace.processors", lambda threads=threads: threads)
            found.append(trace(iter(strips), ids.shape[1], NODATA))
    for name in ("class_id", "pixels", "confidence", "corners", "ring_offsets", "region_offsets", "touching"):
        one, other = (getattr(regions, name) for regions in found)
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@settings(max_examples=100, deadline=None)
@given(ids=rasters(), data=st.data())
def test_confidence_is_the_mean_over_the_region(ids, data):
    confidence = data.draw(arrays(np.uint8, ids.shape, elements=st.integers(0, 100)))
    regions = traced(ids, 3, confidence)
    assert regions.confidence is not None
    for polygon, mean in zip(regions.geometry, regions.confidence, strict=True):
        inside = rasterize([polygon], out_shape=ids.shape) == 1
        assert mean == pytest.approx(confidence[inside].mean())


@settings(max_examples=100, deadline=None)
@given(ids=rasters())
def test_regions_come_in_the_order_of_their_first_pixel(ids):
    regions = traced(ids, 2)
    first = [np.flatnonzero(rasterize([polygon], out_shape=ids.shape))[0] for polygon in regions.geometry]
    assert first == sorted(first)


@settings(max_examples=50, deadline=None)
@given(ids=rasters())
def test_same_areas_as_gdal(ids):
    regions = traced(ids)
    expected = sorted(
        (int(class_id), shapely.geometry.shape(polygon).area)
        for polygon, class_id in shapes(ids, mask=ids != NODATA, connectivity=4)
    )
    assert sorted(zip(regions.class_id.tolist(), regions.pixels.tolist(), strict=True)) == expected


def spiral(size) -> np.ndarray:
    """One arm of class 1, two pixels apart, on class 0."""
    ids = np.zeros((size, size), np.uint8)
    row, column, step = 0, -1, (0, 1)
    for length in [size, *np.repeat(np.arange(size - 1, 0, -2), 2)]:
        for _ in range(length):
            row, column = row + step[0], column + step[1]
            ids[row, column] = 1
        step = step[1], -step[0]
    return ids


def nested(depth) -> np.ndarray:
    """Rings of alternating class, one pixel wide, one inside the other."""
    side = 2 * depth + 1
    row, column = np.indices((side, side))
    ring = np.minimum(np.minimum(row, column), side - 1 - np.maximum(row, column))
    return (ring % 2).astype(np.uint8)


def checkerboard(height, width) -> np.ndarray:
    return (np.indices((height, width)).sum(axis=0) % 2).astype(np.uint8)


@pytest.mark.parametrize("strip_height", [1, 2, 7, None])
@pytest.mark.parametrize(
    "ids",
    [
        checkerboard(9, 11),
        np.where(checkerboard(8, 8), NODATA, 3).astype(np.uint8),
        spiral(21),
        nested(20),
        np.array([[7]], np.uint8),
        np.array([[0, 0, 1, NODATA, 1]], np.uint8),
        np.array([[0, 0, 1, NODATA, 1]], np.uint8).T,
        np.full((5, 4), NODATA, np.uint8),
        np.zeros((5, 4), np.uint8),
        np.arange(200, dtype=np.uint8).reshape(10, 20),
        np.tile(np.array([0, 1], np.uint8), (3, 200)),
    ],
    ids=["board", "board-nodata", "spiral", "nested", "1x1", "row", "column", "nodata", "one", "200-classes", "wide"],
)
def test_shapes(ids, strip_height):
    check(ids, traced(ids, strip_height))


def test_nested_rings_are_holes():
    regions = traced(nested(20))
    assert shapely.get_num_interior_rings(regions.geometry).tolist() == [1] * 20 + [0]


def ring_of(regions, index) -> list[tuple[int, int]]:
    return [(int(x), int(y)) for x, y in regions.geometry[index].exterior.coords]


def test_vertex_at_a_t_junction():
    # 0 runs straight along its lower border, where 1 and 2 meet at (1, 1)
    assert (1, 1) in ring_of(traced([[0, 0], [1, 2]]), 0)


def test_vertex_where_nodata_begins_on_a_straight_border():
    assert (1, 1) in ring_of(traced([[0, 0], [1, NODATA]]), 0)


def test_no_vertex_on_a_straight_border():
    assert len(ring_of(traced([[0, 0, 0], [1, 1, 1]]), 0)) == 5


def test_region_that_touches_itself_has_a_hole_that_touches_the_exterior():
    ids = [[0, 0, 0], [0, 1, 0], [0, 0, 1]]
    ring = traced(ids).geometry[0]
    assert ring.is_valid
    assert len(ring.interiors) == 1
    assert (2, 2) in ring.exterior.coords
    assert (2, 2) in ring.interiors[0].coords


def test_regions_that_touch_at_a_corner_stay_two():
    regions = traced([[0, 1], [1, 0]])
    assert regions.pixels.tolist() == [1, 1, 1, 1]
    assert all((1, 1) in ring_of(regions, index) for index in range(4))


def test_another_nodata():
    regions = traced([[0, 255], [0, 3]], nodata=0)
    assert regions.class_id.tolist() == [255, 3]


def test_no_confidence():
    assert traced([[0]]).confidence is None


def test_empty():
    regions = traced(np.full((3, 3), NODATA))
    assert len(regions) == len(regions.geometry) == 0


def test_read_only_and_strided_strips():
    ids = np.asfortranarray(checkerboard(6, 5))
    ids.flags.writeable = False
    assert len(traced(ids, 2)) == 30


def test_strips_must_follow_each_other():
    tracer = Tracer(width=3)
    tracer.feed(Strip(0, np.zeros((2, 3), np.uint8)))
    with pytest.raises(ValueError, match="expected row 2"):
        tracer.feed(Strip(3, np.zeros((2, 3), np.uint8)))
    with pytest.raises(ValueError, match="expected 3 px wide"):
        tracer.feed(Strip(2, np.zeros((2, 4), np.uint8)))


def test_tables_hold_corners_not_pixels():
    tracer = Tracer(width=1000)
    for row in range(0, 1000, 100):
        tracer.feed(Strip(row, np.zeros((100, 1000), np.uint8)))
    assert len(tracer._tables.x) < 10_000
    assert tracer.take().pixels.tolist() == [1_000_000]


@settings(max_examples=50, deadline=None)
@given(ids=rasters(values=(0, 1, NODATA)), step=st.integers(1, 5))
def test_touching_regions_are_those_of_8_connected_labels(ids, step):
    regions = traced(ids, step)
    parent = list(range(len(regions)))
    for one, other in regions.touching:
        assert regions.class_id[one] == regions.class_id[other]
        low, high = sorted((parent[one], parent[other]))
        parent = [low if k == high else k for k in parent]
    found = {class_id: len({parent[k] for k in np.flatnonzero(regions.class_id == class_id)}) for class_id in (0, 1)}
    eight = np.ones((3, 3), int)
    assert found == {class_id: ndimage.label(ids == class_id, eight)[1] for class_id in (0, 1)}


def test_some_regions_in_another_order():
    regions = traced(nested(4), confidence=np.full_like(nested(4), 50))
    order = np.array([3, 1])
    taken = regions.take(order)
    assert shapely.equals_identical(taken.geometry, regions.geometry[order]).all()
    np.testing.assert_array_equal(taken.pixels, regions.pixels[order])
