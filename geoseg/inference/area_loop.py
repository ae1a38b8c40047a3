"""Areas of classes whose pixels are not all of one size, in a loop that is compiled. A pure function on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled


@compiled
def add_areas(
    ids: NDArray[np.uint8], columns: NDArray[np.int64], ends: NDArray[np.float64], areas: NDArray[np.float64]
) -> None:
    """Add the areas of pixels to those of their classes, run by run of equal pixels.

    Args:
        ids: classes (h, w).
        columns: where blocks begin, and where the last one ends (n + 1,).
        ends: area of a pixel there (h, n + 1); within a block areas change evenly.
        areas: by class (256,).
    """
    for y in range(ids.shape[0]):
        row = ids[y]
        for block in range(len(columns) - 1):
            left, right = columns[block], columns[block + 1]
            slope = (ends[y, block + 1] - ends[y, block]) / (right - left)
            first = left
            for x in range(left + 1, right + 1):
                if x == right or row[x] != row[first]:
                    middle = ends[y, block] + slope * (0.5 * (first + x) - left)
                    areas[row[first]] += middle * (x - first)
                    first = x
