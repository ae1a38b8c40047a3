"""Merging of regions below the minimum mapping unit into their neighbours, and filling of holes."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.generalize.regions import RegionGraph
from geoseg.vector.generalize.rules import MergeRules
from geoseg.vector.trace.rings import flatten
from geoseg.vector.trace.rows import find
from geoseg.vector.trace.state import Ids


class Links(NamedTuple):
    """Adjacency of the regions; fields as in `RegionGraph`."""

    first: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    border: NDArray[np.int64]


class Merged(NamedTuple):
    """Regions while they are merged; a merged region has the lowest of its members' numbers."""

    parent: NDArray[np.int32]
    """Region that each region was merged into (union-find) (N,)."""
    class_id: Ids
    area: NDArray[np.float64]
    """Class and area (N,), valid where a region is its own parent."""
    following: NDArray[np.int32]
    last: NDArray[np.int32]
    """Members as linked lists: the next one of each region or -1, and the last one of each list (N,)."""


def plan_merge(graph: RegionGraph, rules: MergeRules, nodata: int) -> Ids:
    """New class of each region (N,).

    Holes are filled first: whatever lies within a single region, of any class or without data, becomes part of that
    region if it is smaller than `fill_holes`. Then each region smaller than `min_area`, the smallest first, is merged
    into the neighbour with the longest shared border, on a tie into the larger one; neighbours that thereby get the
    same class are merged too. A region whose only neighbour is nodata stays.
    """
    numbers = np.arange(len(graph.class_id), dtype=np.int32)
    merged = Merged(numbers, graph.class_id.copy(), graph.area.copy(), np.full_like(numbers, -1), numbers.copy())
    links = Links(graph.first, graph.neighbour, graph.border)
    if rules.fill_holes > 0:
        _unite_all(_fill_holes(rules.fill_holes, nodata, graph.class_id, graph.area, graph.at_edge, links), merged)
    if rules.min_area > 0:
        _merge_small(rules.min_area, nodata, merged, links)
    flatten(merged.parent)
    return merged.class_id[merged.parent]


@compiled
def _unite_all(becomes: NDArray[np.int32], merged: Merged) -> None:
    """Merge each region into the one that `becomes` (N,) names; a region that names itself stays."""
    for region in range(len(becomes)):
        if becomes[region] != region:
            kind = merged.class_id[find(merged.parent, becomes[region])]
            merged.class_id[_unite(becomes[region], region, merged)] = kind


@compiled
def _merge_small(least: float, nodata: int, merged: Merged, links: Links) -> None:
    """Merge regions of an area below `least`, the smallest first."""
    parent, class_id, area = merged.parent, merged.class_id, merged.area
    waiting = [(area[r], r) for r in range(len(parent)) if area[r] < least and class_id[r] != nodata and parent[r] == r]
    heapq.heapify(waiting)
    shared = np.zeros(len(parent), np.int64)
    while len(waiting):
        size, region = heapq.heappop(waiting)
        if parent[region] != region or area[region] != size:
            continue
        near = _gather(region, merged, links, shared)
        best = -1
        for other in near:
            if class_id[other] != nodata and (
                best < 0 or (shared[other], area[other], -other) > (shared[best], area[best], -best)
            ):
                best = other
        if best >= 0:
            kind = class_id[best]
            root = _unite(region, best, merged)
            for other in near:
                if class_id[other] == kind:
                    root = _unite(root, other, merged)
            class_id[root] = kind
            if area[root] < least:
                heapq.heappush(waiting, (area[root], root))
        for other in near:
            shared[other] = 0


@compiled
def _gather(region: int, merged: Merged, links: Links, shared: NDArray[np.int64]) -> list[int]:
    """The neighbours of a region; the length of the border with each is added to `shared` (N,)."""
    near = []
    member = region
    while member >= 0:
        for k in range(links.first[member], links.first[member + 1]):
            other = find(merged.parent, links.neighbour[k])
            if other != region:
                if shared[other] == 0:
                    near.append(other)
                shared[other] += links.border[k]
        member = merged.following[member]
    return near


@compiled
def _unite(one: int, other: int, merged: Merged) -> int:
    """Merge two regions under the lower number, and return that."""
    one, other = find(merged.parent, one), find(merged.parent, other)
    if one == other:
        return one
    low, high = min(one, other), max(one, other)
    merged.parent[high] = low
    merged.area[low] += merged.area[high]
    merged.following[merged.last[low]] = high
    merged.last[low] = merged.last[high]
    return low


@compiled
def _fill_holes(
    least: float,
    nodata: int,
    class_id: Ids,
    area: NDArray[np.float64],
    at_edge: NDArray[np.bool_],
    links: Links,
) -> NDArray[np.int32]:
    """Region that each region (N,) is merged into: itself, or the one that encloses the hole in which it lies.

    Removing a region cuts what it encloses off from the edge of the raster: the region is an articulation point of the
    graph. Tarjan's (1972) depth-first search from the edge finds them all: a subtree from which no link
    leads above its parent is enclosed by that parent. The outermost hole that is small enough counts.
    """
    count = len(class_id)
    order, parent = _search(at_edge, links)
    low, size, total = np.empty(count, np.int32), np.ones(count, np.int32), area.copy()
    rank = np.empty(count, np.int32)  # position in the order, from 1; 0 is the edge
    for k in range(count):
        rank[order[k]] = k + 1
    for k in range(count - 1, -1, -1):  # children come before their parents
        region = order[k]
        lowest = 0 if at_edge[region] else rank[region]
        for link in range(links.first[region], links.first[region + 1]):
            other = links.neighbour[link]
            lowest = min(lowest, low[other] if parent[other] == region else rank[other])
        low[region] = lowest
        if parent[region] >= 0:
            size[parent[region]] += size[region]
            total[parent[region]] += total[region]
    becomes = np.arange(count).astype(np.int32)
    k = 0
    while k < count:
        region, around = order[k], parent[order[k]]
        if around >= 0 and low[region] >= rank[around] and total[region] < least and class_id[around] != nodata:
            becomes[order[k : k + size[region]]] = around
            k += size[region]
        else:
            k += 1
    return becomes


@compiled
def _search(at_edge: NDArray[np.bool_], links: Links) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Regions (N,) in the order in which a depth-first search from the edge finds them, and from which (N,); -1 from
    the edge itself."""
    count = len(at_edge)
    order, parent = np.empty(count, np.int32), np.full(count, -1, np.int32)
    seen, next_link = np.zeros(count, np.bool_), links.first[:-1].copy()
    found = 0
    for start in range(count):
        if seen[start] or not at_edge[start]:
            continue
        region = start
        seen[start] = True
        order[found] = start
        found += 1
        while region >= 0:
            if next_link[region] == links.first[region + 1]:
                region = parent[region]
                continue
            other = links.neighbour[next_link[region]]
            next_link[region] += 1
            if not seen[other]:
                seen[other] = True
                parent[other] = region
                order[found] = other
                found += 1
                region = other
    return order, parent
