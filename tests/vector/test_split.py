"""Regions of several objects fall apart at their narrows, the same way in strips of any height."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from geoseg.raster.strips import Strip
from geoseg.vector.instances import InstanceRules, numbered, numbering
from geoseg.vector.instances.distance import squared_distances

NODATA = 255
SQUARES = np.zeros((24, 40), np.uint8)
SQUARES[2:16, 2:16] = SQUARES[8:22, 16:30] = SQUARES[3:8, 32:37] = 1


def split(ids, folder, step=None, confidence=None, **rules):
    def strips():
        for row in range(0, len(ids), step or len(ids)):
            rows = slice(row, row + (step or len(ids)))
            yield Strip(row, ids[rows], None if confidence is None else confidence[rows])

    with numbered(strips, ids.shape, InstanceRules((1,), NODATA, **{"split": "distance", **rules}), folder) as found:
        return np.array(found.ids), found.code, found.notice


def masks():
    sides = st.integers(1, 20)
    return st.tuples(sides, sides).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from((0, 1, 1, 1, 1)))
    )


@settings(max_examples=100, deadline=None)
@given(mask=masks())
def test_distances_are_exact(mask):
    expected = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    np.testing.assert_allclose(np.sqrt(squared_distances(mask > 0)), expected)


def test_two_squares_that_touch_are_two_instances(tmp_path):
    numbers, code, notice = split(SQUARES, tmp_path)
    assert notice is None
    assert code.tolist() == [NODATA, 1, 1, 1]
    for number, (rows, columns) in enumerate(
        [(slice(2, 16), slice(2, 16)), (slice(8, 22), slice(16, 30)), (slice(3, 8), slice(32, 37))], 1
    ):
        expected = np.zeros(SQUARES.shape, bool)
        expected[rows, columns] = True
        assert ((numbers == number) != expected).sum() <= 8
    assert split(SQUARES, tmp_path, depth=20)[0].max() == 2


def test_confidence_splits_where_it_is_low(tmp_path):
    ids, confidence = np.ones((6, 21), np.uint8), np.full((6, 21), 90, np.uint8)
    confidence[:, 10] = 60
    numbers, *_ = split(ids, tmp_path, confidence=confidence, split="confidence")
    assert numbers.max() == 2
    assert (numbers[:, :10] == 1).all()
    assert (numbers[:, 11:] == 2).all()
    assert split(ids, tmp_path, confidence=confidence, split="confidence", depth=31)[0].max() == 1


@settings(max_examples=100, deadline=None)
@given(
    mask=masks(), step=st.integers(1, 9), depth=st.sampled_from([0.1, 0.5, 1.0]), connectivity=st.sampled_from([4, 8])
)
def test_pieces_are_connected_parts_of_regions_in_strips_of_any_height(
    tmp_path_factory, mask, step, depth, connectivity
):
    folder, rules = tmp_path_factory.getbasetemp(), {"depth": depth, "connectivity": connectivity}
    numbers, code, _ = split(mask, folder, step, **rules)
    np.testing.assert_array_equal(numbers, split(mask, folder, **rules)[0])
    np.testing.assert_array_equal(numbers > 0, mask == 1)
    assert np.unique(numbers[numbers > 0]).tolist() == list(range(1, len(code)))
    structure = ndimage.generate_binary_structure(2, 1 if connectivity == 4 else 2)
    assert all(ndimage.label(numbers == k, structure)[1] == 1 for k in range(1, len(code)))


def test_regions_that_are_too_large_stay_whole_and_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(numbering, "MOST_SPLIT_PX", 100)
    numbers, code, notice = split(SQUARES, tmp_path)
    assert numbers.max() == len(code) - 1 == 2
    assert notice == "1 region larger than 10 x 10 px stayed whole: they were not split"


@pytest.mark.parametrize("square", [9, 30])
def test_a_square_stays_whole(tmp_path, square):
    assert split(np.ones((square, square), np.uint8), tmp_path)[0].max() == 1
