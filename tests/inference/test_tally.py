from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.inference.tally import count_by_row, paint


@pytest.mark.parametrize("small_px", [2**18, -1])
@settings(deadline=None)
@given(height=st.integers(0, 9), width=st.integers(0, 9), seed=st.integers(0, 99))
def test_ids_are_painted_where_there_is_data_and_counted_by_row(small_px, height, width, seed):
    with mock.patch("geoseg.inference.tally.SMALL_PX", small_px):
        check_painting(np.random.default_rng(seed), height, width)


def check_painting(generator, height, width):
    ids = np.array([7, 0, 250], np.uint8)
    index = generator.integers(0, 3, (height, width), dtype=np.uint8)
    valid = generator.random((height, width)) < 0.7
    painted, counts = paint(index, valid, ids)
    np.testing.assert_array_equal(painted, np.where(valid, ids[index], 255))
    expected = [[np.sum(row == k) for k in ids] for row in painted]
    np.testing.assert_array_equal(counts, np.array(expected).reshape(height, 3))
    np.testing.assert_array_equal(count_by_row(painted, ids), counts)
