import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.inference.tally import count_by_row, paint


@settings(deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 99))
def test_ids_are_painted_where_there_is_data_and_counted_by_row(height, width, seed):
    generator = np.random.default_rng(seed)
    ids = np.array([7, 0, 250], np.uint8)
    index = generator.integers(0, 3, (height, width), dtype=np.uint8)
    valid = generator.random((height, width)) < 0.7
    painted, counts = paint(index, valid, ids)
    np.testing.assert_array_equal(painted, np.where(valid, ids[index], 255))
    expected = [[np.sum(row == k) for k in ids] for row in painted]
    np.testing.assert_array_equal(counts, np.array(expected).reshape(height, 3))
    np.testing.assert_array_equal(count_by_row(painted, ids), counts)
