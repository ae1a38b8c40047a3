"""Areas of classes in scenes whose pixels are not all of one size."""

import numpy as np
import pytest

from geoseg.geo.geodesy import BlockAreas
from geoseg.inference.class_shares import areas_by_id
from geoseg.raster.strips import Strip


@pytest.mark.parametrize("height", [1, 2, 3, 7])
def test_each_pixel_counts_with_the_area_of_its_block(height):
    ids = np.random.default_rng(0).integers(0, 4, (7, 8), dtype=np.uint8)
    blocks = BlockAreas(3, np.arange(1.0, 10).reshape(3, 3))
    of_pixel = np.kron(blocks.areas_m2, np.ones((3, 3)))[:7, :8]
    strips = [Strip(row, ids[row : row + height]) for row in range(0, 7, height)]
    areas = areas_by_id(strips, blocks)
    assert areas[:4].tolist() == pytest.approx([of_pixel[ids == k].sum() for k in range(4)])
    assert not areas[4:].any()
