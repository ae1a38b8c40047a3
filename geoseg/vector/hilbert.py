"""The Hilbert curve: an order of points in the plane in which neighbours stand near each other.

In: points. Out: their positions along the curve. Knows no polygons.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ORDER = 16
"""Bits of each coordinate: the curve passes 65,536 cells along either axis of the points' bounding box."""


def hilbert_keys(points: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions (N,) along a Hilbert curve over the bounding box of some points (N, 2).

    After Skilling, Programming the Hilbert curve (2004), in two dimensions: from the highest bit to the lowest, the
    quadrant's number is added, and what lies below is turned as the curve turns in that quadrant.
    """
    low = points.min(axis=0)
    span = max(float((points - low).max()), 1e-300)
    x, y = np.minimum((points - low) / span * 2**ORDER, 2**ORDER - 1).astype(np.int64).T
    keys = np.zeros(len(points), np.int64)
    for bit in range(ORDER - 1, -1, -1):
        right, upper = x >> bit & 1, y >> bit & 1
        keys = keys << 2 | (3 * right) ^ upper
        is_mirrored = (upper == 0) & (right == 1)
        x, y = (np.where(is_mirrored, 2**ORDER - 1 - axis, axis) for axis in (x, y))
        x, y = np.where(upper == 0, y, x), np.where(upper == 0, x, y)
    return keys
