"""Smoothing of arcs: corners are replaced by pieces of a quadratic B-spline, so that no arc touches another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.arcs.cut import Arcs, is_on_frame
from geoseg.vector.arcs.nearby import PointCells, is_empty, sort_into_cells
from geoseg.vector.trace.regions import Offsets

CURVE_PIECES = 4
"""Number of straight pieces of a rounded corner."""
FRACTIONS = (1.0, 0.5, 0.25)
"""Fractions of a cut that are tried in turn until no other vertex lies in it."""


def smooth(arcs: Arcs, area_px: float = 1.0) -> Arcs:
    """Round the corners of arcs; nodes and vertices on the raster's frame stay.

    A corner is replaced by the parabola that touches its sides in their middles: all of them together are the quadratic
    B-spline of the vertices, to which corner cutting (Chaikin 1974) converges. The parabola touches the sides nearer to
    the corner if the triangle cut off would be larger than `area_px`, or hold another vertex: so the corners of long
    walls are kept, and staircases vanish.

    Args:
        arcs: Borders.
        area_px: Area that a corner may lose at most, in pixels.
    """
    cells = sort_into_cells(arcs.points)
    cuts = _find_cuts(arcs.points, arcs.offsets, arcs.ends, cells, arcs.frame, area_px)
    points, offsets = _round_off(arcs.points, arcs.offsets, arcs.ends, cuts)
    return replace(arcs, points=points, offsets=offsets)


@compiled
def _neighbours(k: int, low: int, high: int, is_closed: bool) -> tuple[int, int]:
    """Indexes of the vertices before and after vertex k of the arc from `low` to `high`; -1 at a node."""
    if is_closed and k == low:
        return high - 2, k + 1
    return (k - 1, k + 1) if low < k < high - 1 else (-1, -1)


@compiled
def _find_cuts(
    points: NDArray[np.float64],
    offsets: Offsets,
    ends: NDArray[np.int32],
    cells: PointCells,
    frame: tuple[float, float],
    area: float,
) -> NDArray[np.float64]:
    """Where each corner is cut, as fractions of its sides to the vertices before and after (V, 2); 0 where it stays."""
    cuts = np.zeros((len(points), 2), np.float64)
    for arc in range(len(ends)):
        low, high, is_closed = offsets[arc], offsets[arc + 1], ends[arc, 0] < 0
        for k in range(low, high - 1):
            before, after = _neighbours(k, low, high, is_closed)
            if before < 0 or is_on_frame(points[k], frame):
                continue
            here = (points[k, 0], points[k, 1])
            back, on = points[before] - points[k], points[after] - points[k]
            back_length, on_length = np.hypot(back[0], back[1]), np.hypot(on[0], on[1])
            sine = abs(back[0] * on[1] - back[1] * on[0]) / (back_length * on_length)
            farthest = np.sqrt(2 * area / max(sine, 1e-9))  # two sides of this length enclose the area
            first, second = min(0.5, farthest / back_length), min(0.5, farthest / on_length)
            for fraction in FRACTIONS:
                a, c = points[k] + back * (first * fraction), points[k] + on * (second * fraction)
                if is_empty(cells, (a[0], a[1]), here, (c[0], c[1]), here, here):
                    cuts[k] = first * fraction, second * fraction
                    break
    return cuts


@compiled
def _round_off(
    points: NDArray[np.float64], offsets: Offsets, ends: NDArray[np.int32], cuts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Offsets]:
    """Vertices of all arcs with their corners rounded."""
    rounded = np.empty((len(points) * (CURVE_PIECES + 1), 2), np.float64)
    where = np.zeros(len(offsets), np.int64)
    used = 0
    for arc in range(len(ends)):
        low, high, is_closed = offsets[arc], offsets[arc + 1], ends[arc, 0] < 0
        begin = used
        for k in range(low, high - 1 if is_closed else high):
            if cuts[k, 0] == 0:
                rounded[used] = points[k]
                used += 1
                continue
            before, after = _neighbours(k, low, high, is_closed)
            a = points[k] + (points[before] - points[k]) * cuts[k, 0]
            c = points[k] + (points[after] - points[k]) * cuts[k, 1]
            for step in range(CURVE_PIECES + 1):
                t = step / CURVE_PIECES
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
