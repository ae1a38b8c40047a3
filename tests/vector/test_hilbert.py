"""The Hilbert curve."""

import numpy as np
import pytest

from geoseg.vector.hilbert import hilbert_keys


@pytest.mark.parametrize("side", [2, 8, 64])
def test_it_passes_each_cell_once_and_steps_to_a_neighbour(side):
    cells = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2).astype(float)
    keys = hilbert_keys(cells)
    assert len(np.unique(keys)) == side**2
    assert (np.abs(np.diff(cells[np.argsort(keys)], axis=0)).sum(axis=1) == 1).all()


def test_points_in_one_place_have_one_key():
    assert np.ptp(hilbert_keys(np.full((5, 2), 3.5))) == 0
