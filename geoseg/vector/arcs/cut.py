"""Cutting the rings of regions into arcs, and joining arcs to rings again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.trace.regions import Offsets, Regions

NEW = np.iinfo(np.int32).min
"""In the place of an arc's number: no known arc begins with this half-edge."""


@dataclass(frozen=True)
class Arcs:
    """A arcs, and the R rings that consist of them."""

    points: NDArray[np.float64]
    """Lattice coordinates (x, y) of all arcs one after another (V, 2), from node to node, both included; an arc without
    a node ends on its first point."""
    offsets: Offsets
    """Where each arc begins in `points` (A + 1,)."""
    ends: NDArray[np.int32]
    """Numbers of the nodes at which each arc begins and ends (A, 2); -1 for an arc without a node."""
    passed: NDArray[np.int32]
    """Arcs of all rings one after another: k for arc k forwards, ~k for arc k backwards."""
    ring_offsets: Offsets
    """Where each ring begins in `passed` (R + 1,)."""
    frame: tuple[float, float]
    """Width and height of the raster, on whose frame vertices stay."""

    def __len__(self) -> int:
        return len(self.offsets) - 1


def cut(regions: Regions, height: int, width: int) -> Arcs:
    """Cut the rings of the regions of a raster at their nodes."""
    corners, starts = regions.corners.astype(np.int32, copy=False), regions.ring_offsets
    begins = np.zeros(len(corners), bool)  # a ring
    begins[starts[:-1]] = True
    order = _by_place(corners, starts)
    place, first = _places(corners, order, starts)
    is_node = _find_nodes(place, first, order, starts, begins)
    node = np.where(is_node, np.cumsum(is_node, dtype=np.int32) - 1, np.int32(-1)).astype(np.int32, copy=False)
    half_edges = int(np.diff(first)[is_node].sum())
    del begins, is_node  # they are large, like all that follows
    vertices, offsets, ends, passed, ring_offsets = _cut_rings(place, first, order, starts, node, half_edges)
    del order, place, first, node
    return Arcs(_take(corners, vertices), offsets, ends, passed, ring_offsets, (float(width), float(height)))


def join(arcs: Arcs, regions: Regions) -> Regions:
    """Join the arcs to the rings of the regions."""
    corners, ring_offsets = _join_rings(arcs.points, arcs.offsets, arcs.passed, arcs.ring_offsets)
    return replace(regions, corners=corners, ring_offsets=ring_offsets)


def _by_place(corners: NDArray[np.int32], starts: Offsets) -> NDArray[np.int32]:
    """Indexes of all corners but the closing one of each ring, sorted by row, and by column within a row."""
    order = _counting_sort(corners[:, 0], _once(starts))
    return _counting_sort(corners[:, 1], order)


@compiled
def _once(starts: Offsets) -> NDArray[np.int32]:
    """Indexes of all corners but the closing one of each ring."""
    rings = len(starts) - 1
    corners = np.empty(starts[rings] - rings, np.int32)
    count = 0
    for ring in range(rings):
        for corner in range(starts[ring], starts[ring + 1] - 1):
            corners[count] = corner
            count += 1
    return corners


@compiled
def _take(corners: NDArray[np.int32], vertices: NDArray[np.int32]) -> NDArray[np.float64]:
    """Coordinates (N, 2) of some corners as floats."""
    points = np.empty((len(vertices), 2), np.float64)
    for k in range(len(vertices)):
        points[k, 0], points[k, 1] = corners[vertices[k], 0], corners[vertices[k], 1]
    return points


@compiled
def _counting_sort(values: NDArray[np.int32], order: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sort indexes by their values, which are not negative; the sort is stable."""
    start = np.zeros(values.max() + 2 if len(values) else 1, np.int64)
    for index in order:
        start[values[index] + 1] += 1
    start = np.cumsum(start)
    result = np.empty_like(order)
    for index in order:
        result[start[values[index]]] = index
        start[values[index]] += 1
    return result


@compiled
def _places(
    corners: NDArray[np.int32], order: NDArray[np.int32], starts: Offsets
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number of the location of each corner (V,), and where in `order` the corners of each location begin."""
    place = np.empty(len(corners), np.int32)
    first = np.empty(len(order) + 1, np.int32)
    count = 0
    for k in range(len(order)):
        one, before = order[k], order[k - 1]
        if k == 0 or corners[one, 0] != corners[before, 0] or corners[one, 1] != corners[before, 1]:
            first[count] = k
            count += 1
        place[one] = count - 1
    first[count] = len(order)
    for ring in range(len(starts) - 1):
        place[starts[ring + 1] - 1] = place[starts[ring]]
    return place, first[: count + 1].copy()


@compiled
def _find_nodes(
    place: NDArray[np.int32],
    first: NDArray[np.int32],
    order: NDArray[np.int32],
    starts: Offsets,
    begins: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Which locations are nodes: all but those that one ring passes, or two in opposite directions."""
    is_node = np.empty(len(first) - 1, np.bool_)
    for p in range(len(is_node)):
        one, other = order[first[p]], order[first[p + 1] - 1]
        count = first[p + 1] - first[p]
        is_opposite = (
            place[_previous(one, starts, begins)] == place[other + 1]
            and place[one + 1] == place[_previous(other, starts, begins)]
        )
        is_node[p] = count > 2 or (count == 2 and not is_opposite)
    return is_node


@compiled
def _previous(corner: int, starts: Offsets, begins: NDArray[np.bool_]) -> int:
    """The corner before another one on its ring."""
    if begins[corner]:
        return int(starts[np.searchsorted(starts, corner, side="right")] - 2)
    return corner - 1


@compiled
def _twin(corner: int, place: NDArray[np.int32], first: NDArray[np.int32], order: NDArray[np.int32]) -> int:
    """The corner at which the opposite half-edge of the one at `corner` begins; -1 if there is none."""
    there = place[corner + 1]
    for k in range(first[there], first[there + 1]):
        other = order[k]
        if place[other + 1] == place[corner]:
            return int(other)
    return -1


@compiled
def _cut_rings(
    place: NDArray[np.int32],
    first: NDArray[np.int32],
    order: NDArray[np.int32],
    starts: Offsets,
    node: NDArray[np.int32],
    half_edges: int,
) -> tuple[NDArray[np.int32], Offsets, NDArray[np.int32], NDArray[np.int32], Offsets]:
    """Corners of all arcs one after another, where each arc begins, its nodes, the arcs of all rings, and where each
    ring begins among them."""
    rings = len(starts) - 1
    known = np.full(len(place), NEW, np.int32)  # arc that begins with the edge after a corner
    vertices = np.empty(len(place) + half_edges + rings, np.int32)
    offsets = np.zeros(half_edges + rings + 1, np.int64)
    ends = np.empty((half_edges + rings, 2), np.int32)
    passed = np.empty(half_edges + rings, np.int32)
    ring_offsets = np.zeros(rings + 1, np.int64)
    arcs = used = count = 0
    for ring in range(rings):
        last = starts[ring + 1] - 1
        begin = starts[ring]
        while begin < last and node[place[begin]] < 0:
            begin += 1
        is_closed = begin == last
        begin = starts[ring] if is_closed else begin
        corner = begin
        while True:
            if known[corner] != NEW:
                arc = known[corner]
                k = arc if arc >= 0 else ~arc
                corner += offsets[k + 1] - offsets[k] - 1
                if corner >= last:
                    corner -= last - starts[ring]
            else:
                arc = arcs
                vertices[used] = corner
                used += 1
                ends[arcs, 0] = node[place[corner]]
                while True:
                    edge = corner
                    corner = corner + 1 if corner + 1 < last else starts[ring]
                    vertices[used] = corner
                    used += 1
                    is_end = corner == begin or node[place[corner]] >= 0
                    if is_closed or is_end:  # a ring without a node may begin anywhere on its other side
                        other = _twin(edge, place, first, order)
                        if other >= 0:
                            known[other] = ~arcs
                    if is_end:
                        break
                ends[arcs, 1] = node[place[corner]]
                arcs += 1
                offsets[arcs] = used
            passed[count] = arc
            count += 1
            if corner == begin:
                break
        ring_offsets[ring + 1] = count
    return vertices[:used], offsets[: arcs + 1], ends[:arcs], passed[:count], ring_offsets


@compiled
def _join_rings(
    points: NDArray[np.float64], offsets: Offsets, passed: NDArray[np.int32], ring_offsets: Offsets
) -> tuple[NDArray[np.float64], Offsets]:
    """Vertices (V, 2) of all rings one after another, each ending on its first one, and where each ring begins."""
    rings = len(ring_offsets) - 1
    where = np.zeros(rings + 1, np.int64)
    for ring in range(rings):
        size = 1
        for k in passed[ring_offsets[ring] : ring_offsets[ring + 1]]:
            arc = k if k >= 0 else ~k
            size += offsets[arc + 1] - offsets[arc] - 1
        where[ring + 1] = where[ring] + size
    corners = np.empty((where[rings], 2), np.float64)
    for ring in range(rings):
        at = where[ring]
        for k in passed[ring_offsets[ring] : ring_offsets[ring + 1]]:
            arc = k if k >= 0 else ~k
            low, high = offsets[arc], offsets[arc + 1]
            for step in range(high - low - 1):
                corners[at] = points[low + step] if k >= 0 else points[high - 1 - step]
                at += 1
        corners[at] = corners[where[ring]]
    return corners, where


@compiled
def is_on_frame(point: NDArray[np.float64], frame: tuple[float, float]) -> bool:
    """Whether a point lies on the frame of the raster."""
    return bool(point[0] == 0 or point[0] == frame[0] or point[1] == 0 or point[1] == frame[1])
