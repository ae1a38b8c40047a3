"""The most frequent class of each four pixels, in a loop that is compiled. Pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled


@compiled
def modes_into(classes: NDArray[np.uint8], nodata: int, modes: NDArray[np.uint8]) -> None:
    """Fill in the most frequent value of each four pixels, the first of equals; nodata where no pixel holds data.

    Args:
        classes: (H, W).
        nodata: value of pixels that do not count.
        modes: (ceil(H / 2), ceil(W / 2)).
    """
    height, width = classes.shape
    for y in range(modes.shape[0]):
        upper, lower = 2 * y, min(2 * y + 1, height - 1)
        for x in range(modes.shape[1]):
            left, right = 2 * x, min(2 * x + 1, width - 1)
            a, b, c, d = classes[upper, left], classes[upper, right], classes[lower, left], classes[lower, right]
            best, most = nodata, 0
            for value in (a, b, c, d):
                count = (value == a) + (value == b) + (value == c) + (value == d)
                if value != nodata and count > most:
                    best, most = value, count
            modes[y, x] = best
