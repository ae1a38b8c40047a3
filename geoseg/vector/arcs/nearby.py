"""Search for vertices in a triangle: points sorted into square cells, from which removed ones are dropped lazily."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled

POINT_CELL_PX = 8.0
"""Smallest side of a cell in pixels."""


class PointCells(NamedTuple):
    """P points sorted into cells."""

    points: NDArray[np.float64]
    """Coordinates of the points (P, 2)."""
    alive: NDArray[np.bool_]
    """Which points have not been removed (P,)."""
    members: NDArray[np.int32]
    """Indexes of the points, cell by cell (P,)."""
    first: NDArray[np.int64]
    """Where each cell begins in `members` (rows x columns + 1,)."""
    left: NDArray[np.int32]
    """Number of points of each cell in `members` that may be alive (rows x columns,)."""
    columns: int
    """Cells in a row."""
    side: float
    """Side of a cell in pixels."""


def sort_into_cells(points: NDArray[np.float64]) -> PointCells:
    """Sort points (P, 2), whose coordinates are not negative, into at most about as many cells as there are points."""
    width, height = (points.max(axis=0, initial=0) + 1).tolist()
    side = max(POINT_CELL_PX, math.sqrt(width * height / max(1, len(points))))
    columns, rows = int(width / side) + 1, int(height / side) + 1
    members, first = _fill_cells(points, side, columns, rows)
    return PointCells(
        points, np.ones(len(points), bool), members, first, np.diff(first).astype(np.int32), columns, side
    )


@compiled
def _fill_cells(
    points: NDArray[np.float64], side: float, columns: int, rows: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    first = np.zeros(columns * rows + 1, np.int64)
    for k in range(len(points)):
        first[int(points[k, 1] / side) * columns + int(points[k, 0] / side) + 1] += 1
    first = np.cumsum(first)
    at = first.copy()
    members = np.empty(len(points), np.int32)
    for k in range(len(points)):
        cell = int(points[k, 1] / side) * columns + int(points[k, 0] / side)
        members[at[cell]] = k
        at[cell] += 1
    return members, first


@compiled
def is_empty(
    cells: PointCells,
    a: tuple[float, float],
    b: tuple[float, float],
    c: tuple[float, float],
    one: tuple[float, float],
    other: tuple[float, float],
) -> bool:
    """Whether no point lies in the triangle a, b, c or on its sides, except at b, `one` and `other`."""
    (ax, ay), (bx, by), (cx, cy) = a, b, c
    low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
    low_y, high_y = min(ay, by, cy), max(ay, by, cy)
    turn = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    sign = 1.0 if turn >= 0 else -1.0
    for row in range(int(low_y / cells.side), int(high_y / cells.side) + 1):
        for column in range(int(low_x / cells.side), int(high_x / cells.side) + 1):
            cell = row * cells.columns + column
            k = 0
            while k < cells.left[cell]:
                at = cells.first[cell] + k
                point = cells.members[at]
                if not cells.alive[point]:
                    cells.left[cell] -= 1
                    cells.members[at] = cells.members[cells.first[cell] + cells.left[cell]]
                    continue
                k += 1
                x, y = cells.points[point]
                if x < low_x or x > high_x or y < low_y or y > high_y:
                    continue
                if (x == bx and y == by) or (x == one[0] and y == one[1]) or (x == other[0] and y == other[1]):
                    continue
                if (
                    sign * ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) >= 0
                    and sign * ((cx - bx) * (y - by) - (cy - by) * (x - bx)) >= 0
                    and sign * ((ax - cx) * (y - cy) - (ay - cy) * (x - cx)) >= 0
                ):
                    return False
    return True
