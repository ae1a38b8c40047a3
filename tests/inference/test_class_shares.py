"""Areas of classes in scenes whose pixels are not all of one size."""

import numpy as np
import pytest

from geoseg.geo.geodesy import BlockAreas
from geoseg.inference.class_shares import areas_by_id
from geoseg.raster.strips import Strip


@pytest.mark.parametrize("height", [1, 2, 3, 7])
def test_each_pixel_counts_with_its_area_interpolated_in_its_block(height):
    ids = np.random.default_rng(0).integers(0, 4, (7, 8), dtype=np.uint8)
    rows, columns = np.array([0, 3, 6, 7]), np.array([0, 3, 6, 8])
    blocks = BlockAreas(3, rows, columns, 100 + 2.0 * rows[:, None] + 5 * columns)
    of_pixel = 100 + 2 * (np.arange(7) + 0.5)[:, None] + 5 * (np.arange(8) + 0.5)
    strips = [Strip(row, ids[row : row + height]) for row in range(0, 7, height)]
    areas = areas_by_id(strips, blocks)
    assert areas[:4].tolist() == pytest.approx([of_pixel[ids == k].sum() for k in range(4)])
    assert not areas[4:].any()
