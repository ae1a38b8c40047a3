"""The graph of regions of a class raster: their areas, and the lengths of the borders between them.

Pixels without data form regions too, as they may be holes. Regions are found as in the tracer, run by run with
union-find; labels are given in the same order in each pass, so that a second pass needs no labels on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.core.compiler import compiled
from geoseg.core.errors import SceneError
from geoseg.raster.strips import Strip, peeked
from geoseg.vector.trace.rings import flatten
from geoseg.vector.trace.rows import find_runs, join_runs
from geoseg.vector.trace.state import LABELS, MOST, Ids, Runs, Tables, grow, new_runs, new_tables

NO_ID = -1
"""An id that no pixel has: used as nodata, it lets pixels without data form regions too."""


@dataclass(frozen=True)
class RegionGraph:
    """N regions in the order of their first pixels, and the borders between them."""

    class_id: Ids
    """Class of each region, or nodata (N,)."""
    area: NDArray[np.float64]
    """Area of each region (N,), in the unit of the rows' areas."""
    at_edge: NDArray[np.bool_]
    """Which regions touch the edge of the raster (N,)."""
    region_of: NDArray[np.int32]
    """Region of each label, in the order in which labels are given (L,)."""
    first: NDArray[np.int64]
    """Where the neighbours of each region begin (N + 1,)."""
    neighbour: NDArray[np.int32]
    """Neighbours of all regions, one region after another (E,)."""
    border: NDArray[np.int64]
    """Length of the shared border, in pixel sides (E,)."""


def count_regions(strips: Iterable[Strip], width: int, height: int, row_area: NDArray[np.float64]) -> RegionGraph:
    """Find the regions of a class raster, 4-connected.

    Args:
        strips: the raster, top to bottom.
        width: columns.
        height: rows.
        row_area: area of a pixel in each row (H,).
    """
    dtype, strips = peeked(strips)
    tables, sums, runs = new_tables(dtype), _new_sums(), first_runs(width, dtype)
    rows = max(1, AT_ONCE // width)
    for strip in strips:
        for i in range(0, len(strip.ids), rows):
            row, part = strip.row + i, np.ascontiguousarray(strip.ids[i : i + rows])
            sums = _make_room(tables, sums, part.size)
            runs = _count_rows(part, row, height, row_area[row : row + len(part)], runs, tables, sums)
    return _graph(tables, sums)


def relabel(strips: Iterable[Strip], width: int, graph: RegionGraph, class_id: Ids) -> Iterator[Strip]:
    """Yield the strips from which a graph was built, with a new class for each region (N,)."""
    return number_runs(strips, width, class_id[graph.region_of])


def number_runs(strips: Iterable[Strip], width: int, of_label: NDArray[Any]) -> Iterator[Strip]:
    """Yield the strips of a raster with a number for each label (L,), in the order in which labels are given."""
    dtype, strips = peeked(strips)
    runs, labels = first_runs(width, dtype), np.zeros(1, np.int64)
    for strip in strips:
        changed = np.empty(strip.ids.shape, of_label.dtype)
        runs = _relabel_rows(np.ascontiguousarray(strip.ids), runs, of_label, labels, changed)
        yield replace(strip, ids=changed)


AT_ONCE = 1 << 18
"""About the number of pixels counted at once; the tables are enlarged beforehand for all that these may add."""


class Sums(NamedTuple):
    """Sums while regions are counted, besides the tracer's tables."""

    area: NDArray[np.float64]
    at_edge: NDArray[np.bool_]
    """Size of each label, and whether it touches the edge (L,)."""
    pairs: NDArray[np.int32]
    """Hash table of labels that touch (S, 2); -1 where there are none."""
    length: NDArray[np.int64]
    """Length of their border (S,)."""
    used: NDArray[np.int64]
    """Entries of the table in use (1,)."""


def _new_sums() -> Sums:
    slots = 1 << 12
    return Sums(
        np.zeros(0),
        np.zeros(0, bool),
        np.full((slots, 2), -1, np.int32),
        np.zeros(slots, np.int64),
        np.zeros(1, np.int64),
    )


def _make_room(tables: Tables, sums: Sums, pixels: int) -> Sums:
    """Enlarge tables for what some pixels may add at most: a label each, and three pairs.

    Raises:
        SceneError: The raster has more regions than can be numbered.
    """
    least = int(tables.used[LABELS]) + pixels
    if least > MOST:
        raise SceneError(f"the class raster has more than {MOST} regions: filter its speckle first (majority)")
    for table in (tables.parent, tables.class_id, sums.area, sums.at_edge):
        grow(table, least)
    while 2 * (int(sums.used[0]) + 3 * pixels) > len(sums.length):
        pairs, length = _rehash(sums.pairs, sums.length)
        sums = sums._replace(pairs=pairs, length=length)
    return sums


def first_runs(width: int, dtype: DTypeLike) -> Runs:
    """The row above the first one, without runs."""
    runs = new_runs(width, 0, dtype)
    runs.start[1] = width
    return runs


@compiled
def next_runs(ids: Ids, above: Runs, tables: Tables) -> Runs:
    """The runs of a row (W,), labelled: as those above that they touch, or with labels of their own."""
    width = len(ids)
    below = Runs(np.empty(width + 2, np.int32), np.empty(width + 2, ids.dtype), np.empty(width + 2, np.int32))
    find_runs(ids, NO_ID, below)
    join_runs(above, below, width, NO_ID, tables)
    j = 1
    while below.start[j] < width:
        if below.label[j] < 0:
            label = tables.used[LABELS]
            tables.used[LABELS] += 1
            tables.parent[label] = label
            tables.class_id[label] = below.class_id[j]
            below.label[j] = label
        j += 1
    return below


@compiled
def _count_rows(
    ids: Ids,
    row: int,
    height: int,
    row_area: NDArray[np.float64],
    above: Runs,
    tables: Tables,
    sums: Sums,
) -> Runs:
    """Count some rows; return the runs of the last one."""
    width = ids.shape[1]
    for i in range(len(ids)):
        below = next_runs(ids[i], above, tables)
        j = 1
        while below.start[j] < width:
            label = below.label[j]
            sums.area[label] += (below.start[j + 1] - below.start[j]) * row_area[i]
            if row + i == 0 or row + i == height - 1 or below.start[j] == 0 or below.start[j + 1] == width:
                sums.at_edge[label] = True
            if j > 1:
                _add_border(below.label[j - 1], label, 1, sums)
            j += 1
        _add_borders_above(above, below, width, sums)
        above = below
    return above


@compiled
def _add_borders_above(above: Runs, below: Runs, width: int, sums: Sums) -> None:
    """Add the borders between runs of different classes that lie above one another."""
    i = j = 1
    while above.start[i] < width and below.start[j] < width:
        i_ends, j_ends = above.start[i + 1], below.start[j + 1]
        if above.class_id[i] != below.class_id[j]:
            shared = min(i_ends, j_ends) - max(above.start[i], below.start[j])
            _add_border(above.label[i], below.label[j], shared, sums)
        if i_ends <= j_ends:
            i += 1
        if j_ends <= i_ends:
            j += 1


@compiled
def _add_border(one: int, other: int, shared: int, sums: Sums) -> None:
    """Add to the border of two labels, in a hash table with open addressing."""
    low, high = min(one, other), max(one, other)
    slot = _slot(low, high, sums.pairs)
    if sums.pairs[slot, 0] < 0:
        sums.pairs[slot, 0], sums.pairs[slot, 1] = low, high
        sums.used[0] += 1
    sums.length[slot] += shared


@compiled
def _slot(low: int, high: int, pairs: NDArray[np.int32]) -> int:
    """Where a pair is in the table, or would be."""
    mask = len(pairs) - 1
    slot = ((low * 0x9E3779B1) ^ (high * 0x85EBCA6B)) & 0x7FFFFFFFFFFF
    slot = (slot ^ (slot >> 15)) & mask
    while pairs[slot, 0] >= 0 and (pairs[slot, 0] != low or pairs[slot, 1] != high):
        slot = (slot + 1) & mask
    return int(slot)


@compiled
def _rehash(pairs: NDArray[np.int32], length: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """A table of twice the size."""
    wider, lengths = np.full((2 * len(pairs), 2), -1, np.int32), np.zeros(2 * len(pairs), np.int64)
    for k in range(len(pairs)):
        if pairs[k, 0] >= 0:
            slot = _slot(pairs[k, 0], pairs[k, 1], wider)
            wider[slot], lengths[slot] = pairs[k], length[k]
    return wider, lengths


def _graph(tables: Tables, sums: Sums) -> RegionGraph:
    """Regions from labels, and their neighbours from pairs of labels."""
    labels = int(tables.used[LABELS])
    parent = tables.parent[:labels]
    flatten(parent)
    is_root = parent == np.arange(labels)
    region_of = (np.cumsum(is_root, dtype=np.int32) - 1)[parent]
    count = int(is_root.sum())
    taken = sums.pairs[:, 0] >= 0
    first, neighbour, border = _neighbours(region_of[sums.pairs[taken]], sums.length[taken], count)
    return RegionGraph(
        class_id=tables.class_id[:labels][is_root],
        area=np.bincount(region_of, sums.area[:labels], count).astype(np.float64),
        at_edge=np.bincount(region_of, sums.at_edge[:labels], count) > 0,
        region_of=region_of,
        first=first,
        neighbour=neighbour,
        border=border,
    )


@compiled
def _neighbours(
    pairs: NDArray[np.int32], length: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Neighbours region by region; a pair of regions may be there several times, with a part of its border each."""
    first = np.zeros(count + 1, np.int64)
    for one, other in pairs:
        first[one + 1] += 1
        first[other + 1] += 1
    first = np.cumsum(first)
    at = first.copy()
    neighbour, border = np.empty(first[count], np.int32), np.empty(first[count], np.int64)
    for k in range(len(pairs)):
        for side in range(2):
            region = pairs[k, side]
            neighbour[at[region]], border[at[region]] = pairs[k, 1 - side], length[k]
            at[region] += 1
    return first, neighbour, border


@compiled
def _relabel_rows(
    ids: Ids,
    above: Runs,
    of_label: NDArray[Any],
    labels: NDArray[np.int64],
    changed: NDArray[Any],
) -> Runs:
    """Write the new class of each run of some rows; return the runs of the last one.

    Labels are given where `_count_rows` gives them: to runs that touch none of their class above.
    """
    width = ids.shape[1]
    for row in range(len(ids)):
        below = Runs(np.empty(width + 2, np.int32), np.empty(width + 2, ids.dtype), np.empty(width + 2, np.int32))
        find_runs(ids[row], NO_ID, below)
        i = j = 1
        while above.start[i] < width and below.start[j] < width:
            if above.class_id[i] == below.class_id[j]:
                below.label[j] = above.label[i]
            i_ends, j_ends = above.start[i + 1], below.start[j + 1]
            if i_ends <= j_ends:
                i += 1
            if j_ends <= i_ends:
                j += 1
        j = 1
        while below.start[j] < width:
            if below.label[j] < 0:
                below.label[j] = labels[0]
                labels[0] += 1
            changed[row, below.start[j] : below.start[j + 1]] = of_label[below.label[j]]
            j += 1
        above = below
    return above
