"""Test whether polygons form a coverage: borders meet in vertices only, and are equal on both sides.

GEOS's own test compares each polygon with all of its neighbours, vertex by vertex, which takes minutes where one
polygon has thousands of them. Here edges are sorted into square cells, and only those of one cell are compared.
"""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.trace.regions import Offsets

EDGE_CELL_PX = 8.0
"""Smallest side of a cell in pixels."""


def is_coverage(polygons: NDArray[np.object_]) -> bool:
    """Whether edges of polygons (N,) meet in common vertices only, and no two of them run the same way.

    Exact for coordinates that are multiples of a power of two. An island inside of another polygon that has no hole for
    it, and touches nothing, is not found: areas and rasterization find that.

    Args:
        polygons: valid polygons and multipolygons in pixel coordinates, exteriors all turning the same way.
    """
    parts = shapely.get_parts(polygons)
    if not len(parts):
        return True
    _, xy, (rings, _) = shapely.to_ragged_array(parts)
    low, high = xy.min(axis=0), xy.max(axis=0)
    side = max(EDGE_CELL_PX, math.sqrt(float(np.prod(high - low)) / len(xy)))
    columns, rows = (int((high[axis] - low[axis]) / side) + 1 for axis in (0, 1))
    first, members = _sort_edges(xy, rings.astype(np.int64), low, side, columns, rows)
    return bool(_is_clean(xy, first, members))


@compiled
def _span(a: float, b: float, origin: float, side: float) -> tuple[int, int]:
    """First and last cell along an axis between a and b."""
    return int((min(a, b) - origin) / side), int((max(a, b) - origin) / side)


@compiled
def _columns_in_row(
    ax: float, ay: float, bx: float, by: float, row: int, low: NDArray[np.float64], side: float
) -> tuple[int, int]:
    """First and last cell that an edge may meet in a row of cells."""
    if ay == by:
        return _span(ax, bx, low[0], side)
    top, bottom = low[1] + row * side, low[1] + (row + 1) * side
    s, t = (top - ay) / (by - ay), (bottom - ay) / (by - ay)
    s, t = min(max(s, 0.0), 1.0), min(max(t, 0.0), 1.0)
    first, last = _span(ax + s * (bx - ax), ax + t * (bx - ax), low[0], side)
    begin, end = _span(ax, bx, low[0], side)
    return max(first - 1, begin), min(last + 1, end)  # a cell more on each side, as these figures are rounded


@compiled
def _sort_edges(
    xy: NDArray[np.float64], rings: Offsets, low: NDArray[np.float64], side: float, columns: int, rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Indexes (M,) of the first vertices of the edges in each cell, cell by cell, and where each cell begins there."""
    first = np.zeros(columns * rows + 1, np.int64)
    for is_counted in (False, True):
        if is_counted:
            first = np.cumsum(first)
            at = first.copy()
            members = np.empty(first[-1], np.int32)
        for ring in range(len(rings) - 1):
            for k in range(rings[ring], rings[ring + 1] - 1):
                (ax, ay), (bx, by) = xy[k], xy[k + 1]
                begin, end = _span(ay, by, low[1], side)
                for row in range(begin, end + 1):
                    left, right = _columns_in_row(ax, ay, bx, by, row, low, side)
                    for column in range(left, right + 1):
                        cell = row * columns + column
                        if is_counted:
                            members[at[cell]] = k
                            at[cell] += 1
                        else:
                            first[cell + 1] += 1
    return first, members


@compiled
def _is_clean(xy: NDArray[np.float64], first: NDArray[np.int64], members: NDArray[np.int32]) -> bool:
    for cell in range(len(first) - 1):
        for i in range(first[cell], first[cell + 1]):
            for j in range(i + 1, first[cell + 1]):
                if not _may_meet(xy, members[i], members[j]):
                    return False
    return True


@compiled
def _may_meet(xy: NDArray[np.float64], one: int, other: int) -> bool:
    """Whether two edges have nothing in common, or one vertex, or all and run against each other."""
    ax, ay, bx, by = xy[one, 0], xy[one, 1], xy[one + 1, 0], xy[one + 1, 1]
    cx, cy, dx, dy = xy[other, 0], xy[other, 1], xy[other + 1, 0], xy[other + 1, 1]
    if max(ax, bx) < min(cx, dx) or max(cx, dx) < min(ax, bx) or max(ay, by) < min(cy, dy) or max(cy, dy) < min(ay, by):
        return True
    starts, ends = ax == cx and ay == cy, bx == dx and by == dy
    if (ax == dx and ay == dy) and (bx == cx and by == cy):
        return True
    if starts and ends:
        return False
    if starts:
        return not _overlap(ax, ay, bx, by, dx, dy)
    if ends:
        return not _overlap(bx, by, ax, ay, cx, cy)
    if ax == dx and ay == dy:
        return not _overlap(ax, ay, bx, by, cx, cy)
    if bx == cx and by == cy:
        return not _overlap(bx, by, ax, ay, dx, dy)
    return not (
        _turn(ax, ay, bx, by, cx, cy) * _turn(ax, ay, bx, by, dx, dy) <= 0
        and _turn(cx, cy, dx, dy, ax, ay) * _turn(cx, cy, dx, dy, bx, by) <= 0
    )


@compiled
def _turn(ax: float, ay: float, bx: float, by: float, cx: float, cy: float) -> float:
    """Above 0 if a, b, c turn one way, below if they turn the other, 0 if they lie on a line."""
    return float(np.sign((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)))


@compiled
def _overlap(px: float, py: float, qx: float, qy: float, rx: float, ry: float) -> bool:
    """Whether q and r lie in the same direction from p."""
    return _turn(px, py, qx, qy, rx, ry) == 0 and (qx - px) * (rx - px) + (qy - py) * (ry - py) > 0
