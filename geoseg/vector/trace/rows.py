"""The compiled inner loops: one row after the other, runs are joined to regions and corners linked to rings.

A strip is traced by itself, whatever lies above it: its first row only opens regions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.trace.state import CORNERS, LABELS, SADDLES, Front, Ids, Runs, Tables

SCAN = 64
"""Pixels compared at once while looking for the next change of class: a few vector instructions."""


@compiled
def trace_rows(
    ids: Ids,
    confidence: NDArray[np.uint8],
    first: int,
    row: int,
    nodata: np.integer[Any],
    front: Front,
    tables: Tables,
) -> int:
    """Trace a strip that begins at `row` of the scene, from its row `first` on; return at which row room ran out."""
    width = ids.shape[1]
    for i in range(first, len(ids)):
        if not has_room(tables, width):
            return i
        above, below = front.even, front.odd
        if i % 2 == 0:
            above, below = below, above
        find_runs(ids[i], nodata, below)
        if i > 0:
            join_runs(above, below, width, nodata, tables)
        name_runs(below, width, nodata, tables)
        count_pixels(below, width, nodata, tables)
        if len(confidence):
            sum_confidence(confidence[i], below, nodata, tables)
        if i > 0:
            place_corners(row + i, above, below, width, nodata, front, tables)
        else:
            copy_runs(below, front.first, 0)
    return len(ids)


@compiled
def copy_runs(runs: Runs, to: Runs, first_label: int) -> None:
    """Copy a row of runs, whose labels are counted from `first_label` there."""
    width, j = len(runs.start) - 2, 0
    while True:
        to.start[j], to.class_id[j] = runs.start[j], runs.class_id[j]
        to.label[j] = runs.label[j] + first_label if runs.label[j] >= 0 else -1
        if runs.start[j] == width:
            return
        j += 1


@compiled
def has_room(tables: Tables, width: int) -> bool:
    """Whether one more row fits, whatever is in it; the same figures as `most_per_row`."""
    corners, labels, saddles = tables.used
    return bool(
        corners + 4 * (width + 1) <= len(tables.x)
        and labels + width <= len(tables.parent)
        and saddles + 2 * (width + 1) <= len(tables.saddle)
    )


@compiled
def find_runs(ids: Ids, nodata: np.integer[Any] | int, runs: Runs) -> None:
    """Split a row (W,) into runs of one class, none labelled yet."""
    width = len(ids)
    count = add_run(runs, 1, 0, ids[0])
    for first in range(1, width, SCAN):
        last = min(first + SCAN, width)
        if is_equal(ids[first - 1 : last - 1], ids[first:last]):
            continue
        for column in range(first, last):
            if ids[column] != ids[column - 1]:
                count = add_run(runs, count, column, ids[column])
    add_run(runs, count, width, nodata)


@compiled
def is_equal(one: Ids, other: Ids) -> bool:
    """Whether two stretches of pixels are the same. Without branches in the loop, so that it is vectorised."""
    changes = np.uint8(0)
    for column in range(len(one)):
        changes |= one[column] ^ other[column]
    return bool(changes == 0)


@compiled
def add_run(runs: Runs, index: int, column: int, class_id: np.integer[Any] | int) -> int:
    """Write an unlabelled run and return the index of the next."""
    runs.start[index] = column
    runs.class_id[index] = class_id
    runs.label[index] = -1
    return index + 1


@compiled
def join_runs(above: Runs, below: Runs, width: int, nodata: np.integer[Any] | int, tables: Tables) -> None:
    """Label each run below like the runs of its class that it touches above, which thereby become one region."""
    i = j = 1
    while above.start[i] < width and below.start[j] < width:
        if above.class_id[i] == below.class_id[j] != nodata:
            below.label[j] = union(tables.parent, above.label[i], below.label[j])
        i_ends, j_ends = above.start[i + 1], below.start[j + 1]
        if i_ends <= j_ends:
            i += 1
        if j_ends <= i_ends:
            j += 1


@compiled
def union(parent: NDArray[np.int32], label: int, other: int) -> int:
    """Join two labels and return their root; `other` may be -1 for none."""
    root = find(parent, label)
    if other < 0:
        return root
    other_root = find(parent, other)
    low, high = min(root, other_root), max(root, other_root)
    parent[high] = low
    return low


@compiled
def find(parent: NDArray[np.int32], label: int) -> int:
    """Root of a label, halving the path to it on the way."""
    while parent[label] != label:
        parent[label] = parent[parent[label]]
        label = parent[label]
    return label


@compiled
def name_runs(runs: Runs, width: int, nodata: np.integer[Any], tables: Tables) -> None:
    """Open a region for each run that touches none: its first pixel, so labels rise in raster order."""
    j = 1
    while runs.start[j] < width:
        if runs.label[j] < 0 and runs.class_id[j] != nodata:
            label = tables.used[LABELS]
            tables.used[LABELS] += 1
            tables.parent[label] = label
            tables.class_id[label] = runs.class_id[j]
            runs.label[j] = label
        j += 1


@compiled
def count_pixels(runs: Runs, width: int, nodata: np.integer[Any], tables: Tables) -> None:
    """Add the length of each run to its label."""
    j = 1
    while runs.start[j] < width:
        if runs.class_id[j] != nodata:
            tables.pixels[runs.label[j]] += runs.start[j + 1] - runs.start[j]
        j += 1


@compiled
def sum_confidence(confidence: NDArray[np.uint8], runs: Runs, nodata: np.integer[Any], tables: Tables) -> None:
    """Add the confidences (W,) under each run to its label."""
    j = 1
    while runs.start[j] < len(confidence):
        if runs.class_id[j] != nodata:
            total = 0
            for column in range(runs.start[j], runs.start[j + 1]):
                total += confidence[column]
            tables.confidence[runs.label[j]] += total
        j += 1


@compiled
def place_corners(y: int, above: Runs, below: Runs, width: int, nodata: Any, front: Front, tables: Tables) -> None:
    """Visit the nodes of lattice row `y` at which a run begins above or below; no other can be a vertex."""
    head = tail = 0  # as `Front` for columns: ends of the two edges that run along this lattice row
    i = j = 0
    x = -1
    while x < width:
        x = min(above.start[i + 1], below.start[j + 1])
        west_i, west_j = i, j
        i += above.start[i + 1] == x
        j += below.start[j + 1] == x
        nw, ne = above.class_id[west_i], above.class_id[i]
        sw, se = below.class_id[west_j], below.class_id[j]
        if (nw == ne and sw == se) or (nw == sw and ne == se):
            continue
        labels = above.label[west_i], above.label[i], below.label[west_j], below.label[j]
        corners = add_corners(x, y, (nw, ne, sw, se), labels, tables)
        if nw != ne:
            link_north(x, corners, front, tables)
        if nw != sw:
            link_west(corners, head, tail, tables)
        if sw != se:
            front.head[x], front.tail[x] = corners[2], corners[3]
        if ne != se:
            head, tail = corners[3], corners[1]
        note_saddles((nw, ne, sw, se), corners, nodata, tables)


@compiled
def add_corners(
    x: int, y: int, ids: tuple[int, int, int, int], labels: tuple[int, int, int, int], tables: Tables
) -> tuple[int, int, int, int]:
    """The corner of each of the four pixels (nw, ne, sw, se) round a vertex; adjacent pixels of a class share one."""
    nw, ne, sw, se = ids
    at_nw = add_corner(x, y, labels[0], tables)
    at_ne = at_nw if ne == nw else add_corner(x, y, labels[1], tables)
    if sw == nw:
        at_sw = at_nw
    elif sw == se == ne:
        at_sw = at_ne
    else:
        at_sw = add_corner(x, y, labels[2], tables)
    if se == ne:
        at_se = at_ne
    elif se == sw:
        at_se = at_sw
    else:
        at_se = add_corner(x, y, labels[3], tables)
    return at_nw, at_ne, at_sw, at_se


@compiled
def add_corner(x: int, y: int, label: int, tables: Tables) -> int:
    """A new corner, or corner 0 for nodata."""
    if label < 0:
        return 0
    corner = tables.used[CORNERS]
    tables.used[CORNERS] += 1
    tables.x[corner] = x
    tables.y[corner] = y
    tables.owner[corner] = label
    return int(corner)


@compiled
def link_north(x: int, corners: tuple[int, int, int, int], front: Front, tables: Tables) -> None:
    """Close the two edges on the lattice column above a vertex: up along nw, down along ne."""
    tables.next[corners[0]] = front.head[x]
    tables.next[front.tail[x]] = corners[1]


@compiled
def link_west(corners: tuple[int, int, int, int], head: int, tail: int, tables: Tables) -> None:
    """Close the two edges on the lattice row left of a vertex: rightward under nw, leftward over sw."""
    tables.next[tail] = corners[0]
    tables.next[corners[2]] = head


@compiled
def note_saddles(
    ids: tuple[int, int, int, int], corners: tuple[int, int, int, int], nodata: np.integer[Any], tables: Tables
) -> None:
    """Remember the pairs of corners that touch across this vertex and may belong to one region."""
    nw, ne, sw, se = ids
    if nw == se != nodata and ne != nw != sw:
        add_saddle(corners[0], corners[3], tables)
    if ne == sw != nodata and nw != ne != se:
        add_saddle(corners[1], corners[2], tables)


@compiled
def add_saddle(corner: int, other: int, tables: Tables) -> None:
    """Remember one pair."""
    tables.saddle[tables.used[SADDLES]] = corner, other
    tables.used[SADDLES] += 1
