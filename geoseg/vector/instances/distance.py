"""Exact distances to the border of a region (Meijster, Roerdink and Hesselink 2000): columns first, then rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled


@compiled
def squared_distances(inside: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Square of the distance from each pixel (h, w) to the nearest one that is not inside, 0 for these.

    Pixels beyond the array are not inside. Distances are those of centres, in pixel sides.
    """
    height, width = inside.shape
    squared = np.zeros((height, width), np.int64)
    for column in range(width):
        run = 0
        for row in range(height):
            run = run + 1 if inside[row, column] else 0
            squared[row, column] = run
        run = 0
        for row in range(height - 1, -1, -1):
            run = run + 1 if inside[row, column] else 0
            squared[row, column] = min(run, squared[row, column]) ** 2
    line, place, begin = np.zeros(width + 2, np.int64), np.zeros(width + 2, np.int64), np.zeros(width + 2, np.int64)
    for row in range(height):
        line[1 : width + 1] = squared[row]
        _along_row(line, place, begin, squared[row])
    return squared


@compiled
def _along_row(
    line: NDArray[np.int64], place: NDArray[np.int64], begin: NDArray[np.int64], squared: NDArray[np.int64]
) -> None:
    """Lower envelope of the parabolas over a row of squared distances, with a pixel that is outside at each end."""
    last = 0
    place[0] = begin[0] = 0
    for u in range(1, len(line)):
        while last >= 0 and (begin[last] - place[last]) ** 2 + line[place[last]] > (begin[last] - u) ** 2 + line[u]:
            last -= 1
        if last < 0:
            last = 0
            place[0], begin[0] = u, 0
        else:
            i = place[last]
            first = 1 + (u * u - i * i + line[u] - line[i]) // (2 * (u - i))
            if first < len(line):
                last += 1
                place[last], begin[last] = u, first
    for u in range(len(line) - 1, -1, -1):
        if 0 < u < len(line) - 1:
            squared[u - 1] = (u - place[last]) ** 2 + line[place[last]]
        if u == begin[last]:
            last -= 1
