"""Simplification of arcs within a tolerance, so that no arc touches another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.arcs.cut import Arcs, is_on_frame
from geoseg.vector.arcs.nearby import PointCells, is_empty, sort_into_cells
from geoseg.vector.trace.regions import Offsets

MOST_AT_NODE = 4
"""Largest number of arcs that meet at a node of the pixel lattice."""


def simplify(arcs: Arcs, tolerance_px: float) -> Arcs:
    """Remove vertices while the old border stays within a tolerance of the new one.

    In each arc the vertex of the least error is removed first, as by Visvalingam & Whyatt (1993), but the error is that
    of Douglas & Peucker (1973): the largest distance of the old vertices, between the two that become neighbours, from
    the line between these. Errors by area, as of the former, would leave the flat staircases of a raster. Nodes and
    vertices on the raster's frame stay, and so does a vertex whose triangle holds a vertex of any arc, or without which
    a region would have no area.

    Args:
        arcs: Borders on the pixel lattice.
        tolerance_px: Distance in pixels from the new border that every old vertex stays below.
    """
    cells = sort_into_cells(arcs.points)
    closing = arcs.offsets[1:][arcs.ends[:, 0] < 0] - 1
    cells.alive[closing] = False  # the same vertex as the first
    _remove_vertices(arcs.offsets, arcs.ends, _arcs_at_nodes(arcs.ends), cells, arcs.frame, tolerance_px)
    return _without_removed(arcs, cells.alive)


@compiled
def _arcs_at_nodes(ends: NDArray[np.int32]) -> NDArray[np.int32]:
    """Arcs (N, 4) that begin or end at each node; -1 where there are fewer."""
    at_node = np.full((ends.max() + 1 if len(ends) else 0, MOST_AT_NODE), -1, np.int32)
    for arc in range(len(ends)):
        for node in ends[arc]:
            if node >= 0:
                k = 0
                while at_node[node, k] >= 0:
                    k += 1
                at_node[node, k] = arc
    return at_node


@compiled
def _remove_vertices(
    offsets: Offsets,
    ends: NDArray[np.int32],
    at_node: NDArray[np.int32],
    cells: PointCells,
    frame: tuple[float, float],
    tolerance: float,
) -> None:
    """Simplify all arcs: clear `cells.alive` for the vertices that are removed."""
    longest = 1
    for arc in range(len(ends)):
        longest = max(longest, offsets[arc + 1] - offsets[arc])
    inner = (offsets[1:] - offsets[:-1] - 2).astype(np.int32)  # vertices left between the nodes of each arc
    before, after = np.empty(longest, np.int64), np.empty(longest, np.int64)
    errors = np.empty(longest, np.float64)
    heap_error, heap_vertex = np.empty(3 * longest, np.float64), np.empty(3 * longest, np.int64)
    for arc in range(len(ends)):
        first = offsets[arc]
        is_closed = ends[arc, 0] < 0
        size = offsets[arc + 1] - first - is_closed
        fewest = 3 if is_closed else 2 if ends[arc, 0] == ends[arc, 1] else 0
        left = size if is_closed else size - 2
        if left <= fewest:
            continue
        for k in range(size):
            before[k], after[k] = k - 1, k + 1
        before[0], after[size - 1] = size - 1, 0
        heap = 0
        for k in range(0 if is_closed else 1, size if is_closed else size - 1):
            errors[k] = _error(cells.points, first, size, before[k], after[k], tolerance)
            if errors[k] < tolerance and not is_on_frame(cells.points[first + k], frame):
                heap = _push(heap_error, heap_vertex, heap, errors[k], k)
        while heap and left > fewest:
            error, k = heap_error[0], heap_vertex[0]
            heap = _pop(heap_error, heap_vertex, heap)
            if not cells.alive[first + k] or error != errors[k]:
                continue
            a, c = before[k], after[k]
            if left == 1 and _is_direct_elsewhere(arc, ends, at_node, inner):
                continue
            (ax, ay), (bx, by), (cx, cy) = cells.points[first + a], cells.points[first + k], cells.points[first + c]
            if not is_empty(cells, (ax, ay), (bx, by), (cx, cy), (ax, ay), (cx, cy)):
                continue
            cells.alive[first + k] = False
            left -= 1
            inner[arc] = left
            after[a], before[c] = c, a
            for near in (a, c):
                if is_closed or 0 < near < size - 1:
                    errors[near] = _error(cells.points, first, size, before[near], after[near], tolerance)
                    if errors[near] < tolerance and not is_on_frame(cells.points[first + near], frame):
                        heap = _push(heap_error, heap_vertex, heap, errors[near], near)


@compiled
def _is_direct_elsewhere(
    arc: int, ends: NDArray[np.int32], at_node: NDArray[np.int32], inner: NDArray[np.int32]
) -> bool:
    """Whether another arc already joins the same two nodes by a straight line."""
    start, end = ends[arc]
    for other in at_node[start]:
        is_same = other >= 0 and (
            (ends[other, 0] == start and ends[other, 1] == end) or (ends[other, 0] == end and ends[other, 1] == start)
        )
        if is_same and other != arc and inner[other] == 0:
            return True
    return False


@compiled
def _error(points: NDArray[np.float64], first: int, size: int, a: int, c: int, tolerance: float) -> float:
    """Largest distance of the old vertices between two of an arc from the line between these; infinite from the
    tolerance on, where the search can stop."""
    (ax, ay), (cx, cy) = points[first + a], points[first + c]
    dx, dy = cx - ax, cy - ay
    length = dx * dx + dy * dy
    largest = 0.0
    k = a + 1 if a + 1 < size else 0
    while k != c:
        x, y = points[first + k, 0] - ax, points[first + k, 1] - ay
        t = 0.0 if length == 0 else min(max((x * dx + y * dy) / length, 0.0), 1.0)
        x, y = x - t * dx, y - t * dy
        largest = max(largest, x * x + y * y)
        if largest >= tolerance * tolerance:
            return float(np.inf)
        k = k + 1 if k + 1 < size else 0
    return float(np.sqrt(largest))


@compiled
def _push(errors: NDArray[np.float64], vertices: NDArray[np.int64], size: int, error: float, vertex: int) -> int:
    """Push a vertex onto a heap ordered by error, then by vertex; return the heap's size."""
    k = size
    while k:
        parent = (k - 1) // 2
        if (errors[parent], vertices[parent]) <= (error, vertex):
            break
        errors[k], vertices[k] = errors[parent], vertices[parent]
        k = parent
    errors[k], vertices[k] = error, vertex
    return size + 1


@compiled
def _pop(errors: NDArray[np.float64], vertices: NDArray[np.int64], size: int) -> int:
    """Pop the top of a heap; return its size."""
    size -= 1
    error, vertex = errors[size], vertices[size]
    k = 0
    while 2 * k + 1 < size:
        child = 2 * k + 1
        if child + 1 < size and (errors[child + 1], vertices[child + 1]) < (errors[child], vertices[child]):
            child += 1
        if (error, vertex) <= (errors[child], vertices[child]):
            break
        errors[k], vertices[k] = errors[child], vertices[child]
        k = child
    errors[k], vertices[k] = error, vertex
    return size


def _without_removed(arcs: Arcs, alive: NDArray[np.bool_]) -> Arcs:
    """Arcs without the removed vertices; an arc without a node ends on its first vertex again."""
    points, offsets = _gather(arcs.points, arcs.offsets, arcs.ends, alive)
    return replace(arcs, points=points, offsets=offsets)


@compiled
def _gather(
    points: NDArray[np.float64], offsets: Offsets, ends: NDArray[np.int32], alive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], Offsets]:
    kept = np.empty((len(points), 2), np.float64)
    where = np.zeros(len(offsets), np.int64)
    used = 0
    for arc in range(len(ends)):
        for k in range(offsets[arc], offsets[arc + 1]):
            if alive[k]:
                kept[used] = points[k]
                used += 1
        if ends[arc, 0] < 0:
            kept[used] = kept[where[arc]]
            used += 1
        where[arc + 1] = used
    return kept[:used].copy(), where
