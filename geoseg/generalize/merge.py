"""Which region goes to which: the minimum mapping unit, and holes."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.generalize.regions import RegionGraph
from geoseg.trace.rings import flatten
from geoseg.trace.rows import find
from geoseg.trace.state import compiled


@dataclass(frozen=True)
class MergeRules:
    """What is too small; areas in the unit of the graph's."""

    min_area: float = 0.0
    """Regions smaller than this are merged (minimum mapping unit)."""
    fill_holes: float = 0.0
    """Holes smaller than this are filled, with or without data."""


def plan_merge(graph: RegionGraph, rules: MergeRules, nodata: int) -> NDArray[np.uint8]:
    """New class of each region (N,).

    Holes first: what one region alone encloses, regions of any class and pixels without data, becomes that region if it
    is smaller than `fill_holes`. Then, from the smallest on, a region smaller than `min_area` becomes part of the
    neighbour with which it shares the longest border, of those with the larger one; so do neighbours that thereby
    are of one class. A region that only nodata surrounds has nowhere to go and stays.
    """
    parent = np.arange(len(graph.class_id), dtype=np.int32)
    class_id, area, at_edge = graph.class_id.copy(), graph.area.copy(), graph.at_edge.copy()
    following, last = np.full(len(parent), -1, np.int32), parent.copy()  # members of each region, as linked lists
    state = parent, class_id, area, at_edge, following, last
    links = graph.first, graph.neighbour, graph.border
    if rules.fill_holes > 0:
        _fill_holes(rules.fill_holes, nodata, *state, *links)
    if rules.min_area > 0:
        _merge_small(rules.min_area, nodata, *state, *links)
    flatten(parent)
    return class_id[parent]


@compiled
def _merge_small(
    least: float,
    nodata: int,
    parent: NDArray[np.int32],
    class_id: NDArray[np.uint8],
    area: NDArray[np.float64],
    at_edge: NDArray[np.bool_],
    following: NDArray[np.int32],
    last: NDArray[np.int32],
    first: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    border: NDArray[np.int64],
) -> None:
    """Merge regions smaller than `least`, the smallest first."""
    waiting = [(area[r], r) for r in range(len(parent)) if area[r] < least and class_id[r] != nodata and parent[r] == r]
    heapq.heapify(waiting)
    shared = np.zeros(len(parent), np.int64)
    while len(waiting):
        size, region = heapq.heappop(waiting)
        if parent[region] != region or area[region] != size:
            continue
        near = _gather(region, parent, following, first, neighbour, border, shared)
        best = -1
        for other in near:
            if class_id[other] != nodata and (
                best < 0 or (shared[other], area[other], -other) > (shared[best], area[best], -best)
            ):
                best = other
        if best >= 0:
            kind = class_id[best]
            root = _unite(region, best, parent, area, at_edge, following, last)
            for other in near:
                if class_id[other] == kind:
                    root = _unite(root, other, parent, area, at_edge, following, last)
            class_id[root] = kind
            if area[root] < least:
                heapq.heappush(waiting, (area[root], root))
        for other in near:
            shared[other] = 0


@compiled
def _gather(
    region: int,
    parent: NDArray[np.int32],
    following: NDArray[np.int32],
    first: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    border: NDArray[np.int64],
    shared: NDArray[np.int64],
) -> list[int]:
    """Regions around a region, and in `shared` how long a border they share with it."""
    near = []
    member = region
    while member >= 0:
        for k in range(first[member], first[member + 1]):
            other = find(parent, neighbour[k])
            if other != region:
                if shared[other] == 0:
                    near.append(other)
                shared[other] += border[k]
        member = following[member]
    return near


@compiled
def _unite(
    one: int,
    other: int,
    parent: NDArray[np.int32],
    area: NDArray[np.float64],
    at_edge: NDArray[np.bool_],
    following: NDArray[np.int32],
    last: NDArray[np.int32],
) -> int:
    """Make two regions one, under the name of the lower one; return it."""
    one, other = find(parent, one), find(parent, other)
    if one == other:
        return one
    low, high = min(one, other), max(one, other)
    parent[high] = low
    area[low] += area[high]
    at_edge[low] |= at_edge[high]
    following[last[low]] = high
    last[low] = last[high]
    return low


@compiled
def _fill_holes(
    least: float,
    nodata: int,
    parent: NDArray[np.int32],
    class_id: NDArray[np.uint8],
    area: NDArray[np.float64],
    at_edge: NDArray[np.bool_],
    following: NDArray[np.int32],
    last: NDArray[np.int32],
    first: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    border: NDArray[np.int64],
) -> None:
    """Fill holes smaller than `least`, the smallest first: regions, off the edge, around which there is only one."""
    shared = np.zeros(len(parent), np.int64)
    waiting = [(area[r], r) for r in range(len(parent)) if area[r] < least and not at_edge[r]]
    heapq.heapify(waiting)
    while len(waiting):
        size, region = heapq.heappop(waiting)
        if parent[region] != region or area[region] != size:
            continue
        near = _gather(region, parent, following, first, neighbour, border, shared)
        for other in near:
            shared[other] = 0
        if len(near) == 1 and class_id[near[0]] != nodata:
            kind = class_id[near[0]]
            root = _unite(region, near[0], parent, area, at_edge, following, last)
            class_id[root] = kind
            if area[root] < least and not at_edge[root]:
                heapq.heappush(waiting, (area[root], root))
    _fill_groups(least, nodata, parent, class_id, area, at_edge, following, last, first, neighbour, border)


@compiled
def _fill_groups(
    least: float,
    nodata: int,
    parent: NDArray[np.int32],
    class_id: NDArray[np.uint8],
    area: NDArray[np.float64],
    at_edge: NDArray[np.bool_],
    following: NDArray[np.int32],
    last: NDArray[np.int32],
    first: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    border: NDArray[np.int64],
) -> None:
    """Fill the holes that several regions make up together: what a flood reaches that may not cross one of them."""
    shared = np.zeros(len(parent), np.int64)
    stamp = np.full(len(parent), -1, np.int64)  # number of the flood that came last
    flood = 0
    for start in range(len(parent)):
        if parent[start] != start or area[start] >= least or at_edge[start]:
            continue
        walls = _gather(start, parent, following, first, neighbour, border, shared)
        for wall in walls:
            shared[wall] = 0
        for wall in walls:
            if class_id[wall] == nodata or parent[start] != start:
                continue
            flood += 1
            stamp[start] = stamp[wall] = flood
            group, total, k = [start], area[start], 0
            while k < len(group) and total < least:
                near = _gather(group[k], parent, following, first, neighbour, border, shared)
                for other in near:
                    shared[other] = 0
                    if stamp[other] != flood:
                        stamp[other] = flood
                        total += np.inf if at_edge[other] else area[other]
                        group.append(other)
                k += 1
            if total < least:
                kind, root = class_id[wall], wall
                for region in group:
                    root = _unite(root, region, parent, area, at_edge, following, last)
                class_id[root] = kind
                break
