"""After the last row: labels become regions, linked corners become rings."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.core.queues import map_ahead
from geoseg.vector.trace.regions import Offsets, Regions
from geoseg.vector.trace.state import Tables

PIECE = 1 << 19
"""Vertices that a thread writes at a time, about."""
Rings = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]
"""First corner, number of vertices (the first one counted twice) and label of each ring, three arrays (R,)."""


def finish(tables: Tables, weighed: bool, threads: int = 1) -> Regions:
    """Regions from the tables of a whole scene, which are used up by it; some threads write their rings."""
    corners, labels, saddles = tables.used
    parent = tables.parent[:labels]
    flatten(parent)
    part_saddles(tables.saddle[:saddles], parent, tables.owner, tables.next)
    is_root = parent == np.arange(labels)
    region = (np.cumsum(is_root) - 1)[parent]  # of each label
    pixels = total(tables.pixels[:labels], region)
    touching = region[tables.owner[tables.saddle[:saddles]]]
    rings, ring_offsets, region_offsets = sorted_rings(find_rings(corners, tables.next, tables.owner), region)
    tables.owner.resize(0, refcheck=False)  # used up, and large
    return Regions(
        class_id=tables.class_id[:labels][is_root],
        pixels=pixels,
        confidence=total(tables.confidence[:labels], region) / pixels if weighed else None,
        corners=written(rings, ring_offsets, tables, threads),
        ring_offsets=ring_offsets,
        region_offsets=region_offsets,
        touching=touching[touching[:, 0] != touching[:, 1]],
    )


def sorted_rings(rings: Rings, region: NDArray[np.int64]) -> tuple[NDArray[np.int32], Offsets, Offsets]:
    """First corner of each ring, sorted by region; where each ring begins and where each region.

    A region's first corner is the upper left one of its first pixel. No hole can touch that one, so its ring is the
    exterior; rings come by first corner, so a stable sort by region leaves each exterior before its holes.
    """
    starts, sizes, owners = rings
    of_ring = region[owners]
    order = np.argsort(of_ring, kind="stable")
    return starts[order], offsets(sizes[order]), offsets(np.bincount(of_ring))


def offsets(sizes: NDArray[np.int64]) -> Offsets:
    """Where each of several consecutive pieces begins, and where the last ends."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def total(values: NDArray[np.int64], region: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum the values of the labels of each region."""
    sums = np.zeros(region.max(initial=-1) + 1, np.int64)
    np.add.at(sums, region, values)
    return sums


def written(rings: NDArray[np.int32], ring_offsets: Offsets, tables: Tables, threads: int) -> NDArray[np.int32]:
    """Coordinates (V, 2) of the rings that begin at some corners, one after another."""
    corners = np.empty((int(ring_offsets[-1]), 2), np.int32)
    edges = np.searchsorted(ring_offsets, np.arange(0, len(corners), PIECE)).tolist()

    def write(piece: tuple[int, int]) -> None:
        first, last = piece
        where = ring_offsets[first : last + 1]
        write_rings(rings[first:last], where, tables.x, tables.y, tables.next, corners)

    for _ in map_ahead(write, itertools.pairwise([*edges, len(rings)]), threads):
        pass
    return corners


@compiled
def flatten(parent: NDArray[np.int32]) -> None:
    """Point each label at its root; roots are smaller than their labels, so one pass upwards is enough."""
    for label in range(len(parent)):
        parent[label] = parent[parent[label]]


@compiled
def part_saddles(
    saddle: NDArray[np.int32], parent: NDArray[np.int32], owner: NDArray[np.int32], following: NDArray[np.int32]
) -> None:
    """Exchange the successors of two touching corners of one region.

    One region round a node encloses the pixel on one side of it. Turning there round the *other* class's pixels makes
    the enclosed border a ring of its own: no ring passes a node twice.
    """
    for k in range(len(saddle)):
        one, other = saddle[k]
        if parent[owner[one]] == parent[owner[other]]:
            following[one], following[other] = following[other], following[one]


@compiled
def find_rings(corners: int, following: NDArray[np.int32], owner: NDArray[np.int32]) -> Rings:
    """All rings, by first corner. Marks the corners by clearing `owner`."""
    most = corners // 4 + 1  # a ring has four corners at least
    starts, sizes, owners = np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.int32)
    rings = 0
    for first in range(1, corners):
        if owner[first] >= 0:
            starts[rings], owners[rings] = first, owner[first]
            sizes[rings] = 1 + walk(first, following, owner)
            rings += 1
    return starts[:rings].copy(), sizes[:rings].copy(), owners[:rings].copy()


@compiled
def walk(first: int, following: NDArray[np.int32], owner: NDArray[np.int32]) -> int:
    """Go round a ring, marking its corners, and count them."""
    corner, steps = first, 0
    while owner[corner] >= 0:
        owner[corner] = -1
        corner = following[corner]
        steps += 1
    return steps


@compiled
def write_rings(
    starts: NDArray[np.int32],
    ring_offsets: Offsets,
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    following: NDArray[np.int32],
    coordinates: NDArray[np.int32],
) -> None:
    """Write the coordinates of the rings that begin at `starts` to their places (V, 2)."""
    for ring in range(len(starts)):
        corner = starts[ring]
        for vertex in range(ring_offsets[ring], ring_offsets[ring + 1]):
            coordinates[vertex, 0] = x[corner]
            coordinates[vertex, 1] = y[corner]
            corner = following[corner]
