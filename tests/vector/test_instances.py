"""Numbers of instances against scipy's labels, in strips of any height; each number is one feature."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from geoseg.core.errors import SceneError
from geoseg.raster.strips import Strip
from geoseg.vector.instances import InstanceCodes, InstanceRules, numbered, objects
from geoseg.vector.trace import trace

NODATA = 255
STRUCTURES = {4: ndimage.generate_binary_structure(2, 1), 8: ndimage.generate_binary_structure(2, 2)}


def in_strips(ids, step):
    return lambda: iter([Strip(row, ids[row : row + step]) for row in range(0, len(ids), step)])


def rasters(values=(0, 1, 2, NODATA)):
    sides = st.integers(1, 16)
    return st.tuples(sides, sides).flatmap(lambda shape: arrays(np.uint8, shape, elements=st.sampled_from(values)))


def numbers_of(ids, step, folder, **rules):
    with numbered(in_strips(ids, step), ids.shape, InstanceRules(nodata=NODATA, **rules), folder) as found:
        return np.array(found.ids), found.code


def labels_of(ids, codes, connectivity):
    """Regions of each class by scipy, numbered in the order of their first pixels."""
    labels = np.zeros(ids.shape, np.int64)
    for code in codes:
        found, _ = ndimage.label(ids == code, STRUCTURES[connectivity])
        labels[found > 0] = found[found > 0] + labels.max()
    values, first, where = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.zeros(len(values), np.int64)
    order = np.argsort(first)
    order = order[values[order] > 0]
    rank[order] = np.arange(1, len(order) + 1)
    return rank[where].reshape(ids.shape)


@settings(max_examples=150, deadline=None)
@given(
    ids=rasters(), step=st.integers(1, 9), connectivity=st.sampled_from([4, 8]), codes=st.sampled_from([(1,), (0, 2)])
)
def test_instances_are_the_regions_of_scipy_in_strips_of_any_height(tmp_path_factory, ids, step, connectivity, codes):
    numbers, code = numbers_of(ids, step, tmp_path_factory.getbasetemp(), codes=codes, connectivity=connectivity)
    np.testing.assert_array_equal(numbers, labels_of(ids, codes, connectivity))
    assert numbers.dtype == np.uint32
    np.testing.assert_array_equal(code[numbers[numbers > 0]], ids[numbers > 0])


@settings(max_examples=50, deadline=None)
@given(ids=rasters(), step=st.integers(1, 9))
def test_boxes_enclose_the_regions(ids, step):
    found = objects.find_objects(in_strips(ids, step)(), ids.shape[1], NODATA, 8)
    labels = labels_of(ids, (0, 1, 2), 8)
    slices = [tuple(map(slice, box[:2].tolist(), box[2:].tolist())) for box in found.boxes]
    assert slices == ndimage.find_objects(labels)


@settings(max_examples=50, deadline=None)
@given(ids=rasters(), step=st.integers(1, 9))
def test_each_instance_is_traced_as_one_region(tmp_path_factory, ids, step):
    strips, rules = in_strips(ids, step), InstanceRules((1,), NODATA)
    with numbered(strips, ids.shape, rules, tmp_path_factory.getbasetemp()) as found:
        codes = InstanceCodes(found, 256)
        regions = codes.part(trace(codes.mark(strips), ids.shape[1], NODATA))
    plain = trace(strips(), ids.shape[1], NODATA)
    np.testing.assert_array_equal(regions.class_id, plain.class_id)
    np.testing.assert_array_equal(regions.corners, plain.corners)
    own = regions.instance_id[regions.class_id == 1]
    assert own.tolist() == list(range(1, len(own) + 1))
    assert not regions.instance_id[regions.class_id != 1].any()


def test_too_many_regions_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(objects, "MOST", 100)
    with pytest.raises(SceneError, match="more than 100 regions"):
        numbers_of(np.zeros((20, 20), np.uint8), 5, tmp_path, codes=(0,))
