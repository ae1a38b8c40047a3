"""Rasterization of polygons: the inverse of tracing, to check its result.

In: polygons in pixel coordinates (x = column, y = row). Out: class ids at the centres of pixels. Knows no files.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.trace.regions import Offsets
from geoseg.vector.trace.state import Ids


def burn(polygons: NDArray[np.object_], class_id: Ids, ids: Ids) -> None:
    """Write the class of each polygon (N,) into the pixels (H, W) whose centres it contains.

    A centre on a border belongs to the polygon on its right, or below it. Holes are left as they are. GDAL visits all
    vertices of a polygon for each of its rows, which takes hours for one with a million.

    Args:
        polygons: Polygons or multipolygons in pixel coordinates.
        class_id: Class of each polygon (N,).
        ids: Class raster (H, W) that is written.
    """
    parts, owner = shapely.get_parts(polygons, return_index=True)
    if len(parts):
        _, xy, (rings, offsets) = shapely.to_ragged_array(parts)
        _burn(xy, rings.astype(np.int64), offsets.astype(np.int64), class_id[owner], ids)


@compiled
def _burn(xy: NDArray[np.float64], rings: Offsets, parts: Offsets, class_id: Ids, ids: Ids) -> None:
    height, width = ids.shape
    for part in range(len(class_id)):
        first, last = rings[parts[part]], rings[parts[part + 1]]
        top = min(max(_row_below(xy[first:last, 1].min()), 0), height)
        bottom = min(max(_row_below(xy[first:last, 1].max()), top), height)
        begins, crossings = _crossings(xy, rings, parts[part], parts[part + 1], top, bottom)
        for row in range(top, bottom):
            along = crossings[begins[row - top] : begins[row - top + 1]]
            along.sort()
            for k in range(0, len(along) - 1, 2):
                low, high = max(_row_below(along[k]), 0), max(min(_row_below(along[k + 1]), width), 0)
                ids[row, low:high] = class_id[part]


@compiled
def _row_below(y: float) -> int:
    """First row whose pixel centres lie at y or below; likewise first column for x."""
    return int(np.ceil(y - 0.5))


@compiled
def _crossings(
    xy: NDArray[np.float64], rings: Offsets, first: int, last: int, top: int, bottom: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Where the rings `first` to `last` cross the middle lines of the rows `top` to `bottom`, row by row, unsorted; and
    where each row begins among these."""
    begins = np.zeros(bottom - top + 1, np.int64)
    for ring in range(first, last):
        for k in range(rings[ring], rings[ring + 1] - 1):
            for row in range(max(_row_below(min(xy[k, 1], xy[k + 1, 1])), top), bottom):
                if row + 0.5 >= max(xy[k, 1], xy[k + 1, 1]):
                    break
                begins[row - top + 1] += 1
    begins = np.cumsum(begins)
    at = begins.copy()
    crossings = np.empty(begins[-1], np.float64)
    for ring in range(first, last):
        for k in range(rings[ring], rings[ring + 1] - 1):
            (x0, y0), (x1, y1) = xy[k], xy[k + 1]
            for row in range(max(_row_below(min(y0, y1)), top), bottom):
                if row + 0.5 >= max(y0, y1):
                    break
                crossings[at[row - top]] = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
                at[row - top] += 1
    return begins, crossings
