"""Rounder corners: each is replaced by a piece of a quadratic B-spline, without any arc touching another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoseg.arcs.cut import Arcs
from geoseg.arcs.nearby import Cells, is_empty, sort_into_cells
from geoseg.trace.regions import Offsets
from geoseg.trace.state import compiled

STEPS = 4
"""Straight pieces that a rounded corner is made of."""
REACHES = (0.5, 0.25, 0.125)
"""How far along its two sides a corner may be cut, as shares of their length: the largest that is free is taken."""


def smooth(arcs: Arcs) -> Arcs:
    """Round the corners of arcs; nodes stay.

    A corner becomes the parabola that touches its sides in their middles, or nearer to the corner where another vertex
    lies in the way. With all middles free that is the quadratic B-spline of the vertices, to which corner cutting
    (Chaikin 1974) converges.
    """
    cells = sort_into_cells(arcs.points)
    reach = _find_reaches(arcs.points, arcs.offsets, arcs.ends, cells)
    points, offsets = _round_off(arcs.points, arcs.offsets, arcs.ends, reach)
    return replace(arcs, points=points, offsets=offsets)


@compiled
def _neighbours(k: int, low: int, high: int, is_closed: bool) -> tuple[int, int]:
    """Vertices before and after one of the arc that takes up `low` to `high`; -1 for one at a node."""
    if is_closed and k == low:
        return high - 2, k + 1
    return (k - 1, k + 1) if low < k < high - 1 else (-1, -1)


@compiled
def _find_reaches(
    points: NDArray[np.float64], offsets: Offsets, ends: NDArray[np.int32], cells: Cells
) -> NDArray[np.float64]:
    """How far each vertex (V,) may be cut; 0 at nodes."""
    reach = np.zeros(len(points), np.float64)
    for arc in range(len(ends)):
        low, high, is_closed = offsets[arc], offsets[arc + 1], ends[arc, 0] < 0
        for k in range(low, high - 1):
            before, after = _neighbours(k, low, high, is_closed)
            if before < 0:
                continue
            here = (points[k, 0], points[k, 1])
            for share in REACHES:
                a, c = points[k] + (points[before] - points[k]) * share, points[k] + (points[after] - points[k]) * share
                if is_empty(cells, a[0], a[1], here[0], here[1], c[0], c[1], here, here):
                    reach[k] = share
                    break
    return reach


@compiled
def _round_off(
    points: NDArray[np.float64], offsets: Offsets, ends: NDArray[np.int32], reach: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Offsets]:
    """Vertices of all arcs with their corners rounded."""
    rounded = np.empty((len(points) * (STEPS + 1), 2), np.float64)
    where = np.zeros(len(offsets), np.int64)
    used = 0
    for arc in range(len(ends)):
        low, high, is_closed = offsets[arc], offsets[arc + 1], ends[arc, 0] < 0
        begin = used
        for k in range(low, high - 1 if is_closed else high):
            if reach[k] == 0:
                rounded[used] = points[k]
                used += 1
                continue
            before, after = _neighbours(k, low, high, is_closed)
            a = points[k] + (points[before] - points[k]) * reach[k]
            c = points[k] + (points[after] - points[k]) * reach[k]
            for step in range(STEPS + 1):
                t = step / STEPS
                point = (1 - t) * (1 - t) * a + 2 * t * (1 - t) * points[k] + t * t * c
                if used > begin and rounded[used - 1, 0] == point[0] and rounded[used - 1, 1] == point[1]:
                    continue  # where this corner begins the one before it ends
                rounded[used] = point
                used += 1
        if is_closed and (rounded[used - 1, 0] != rounded[begin, 0] or rounded[used - 1, 1] != rounded[begin, 1]):
            rounded[used] = rounded[begin]
            used += 1
        where[arc + 1] = used
    return rounded[:used].copy(), where
