"""Pictures of turned rasters lie north up, each pixel where its coordinates are."""

import math

import numpy as np
import pytest
from affine import Affine

from geoseg.outputs.north_up import is_north_up, north_up

NORTH_UP = Affine(2, 0, 500, 0, -2, 900)


def test_north_up_rasters_are_recognised():
    assert is_north_up(NORTH_UP)
    assert not any(
        map(is_north_up, (Affine(2, 0, 0, 0, 2, 0), Affine(-2, 0, 0, 0, -2, 0), Affine(2, 0.1, 0, 0, -2, 0)))
    )


def test_a_south_up_raster_is_flipped_exactly():
    values = np.arange(12).reshape(3, 4)
    turn = north_up(Affine(2, 0, 500, 0, 2, 894), 3, 4, 4)
    np.testing.assert_array_equal(turn.apply(values, -1), values[::-1])
    assert turn.scale == 1


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_lose_no_pixel(turns):
    values = np.arange(12).reshape(3, 4)
    transform = NORTH_UP @ Affine.rotation(90 * turns)
    turned = north_up(Affine(*(round(part, 9) for part in transform[:6])), 3, 4, 4).apply(values, -1)
    np.testing.assert_array_equal(turned, np.rot90(values, -turns))


@pytest.mark.parametrize("degrees", [13.0, 76.5, -140.0])
def test_a_landmark_stands_where_its_coordinates_are(degrees):
    values = np.zeros((60, 80), np.uint8)
    values[10:14, 60:64] = 1
    transform = NORTH_UP @ Affine.rotation(degrees)
    turn = north_up(transform, 60, 80, 80)
    picture = turn.apply(values, 255)
    assert max(picture.shape) <= 80
    x, y = transform @ (62, 12)
    corners = np.array([transform @ corner for corner in ((0, 0), (80, 0), (0, 60), (80, 60))])
    row, col = np.argwhere(picture == 1).mean(axis=0) + 0.5
    step = 2 * turn.scale
    assert math.hypot(corners[:, 0].min() + col * step - x, corners[:, 1].max() - row * step - y) < 2 * step
    assert (picture == 255).any()
