"""The connected regions of a class raster that comes in strips: their codes, sizes and bounding boxes.

Regions are found as in the tracer, run by run with union-find. Labels are given in the same order in each pass over the
strips, so that a second pass (`generalize.regions.number_runs`) needs no labels on disk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.core.compiler import compiled
from geoseg.core.errors import SceneError
from geoseg.raster.strips import Strip, peeked
from geoseg.vector.generalize.regions import AT_ONCE, first_runs, next_runs
from geoseg.vector.trace.rings import flatten
from geoseg.vector.trace.rows import union
from geoseg.vector.trace.state import LABELS, MOST, Ids, Runs, Tables, grow, new_tables


@dataclass(frozen=True)
class Objects:
    """N connected regions of equal code, in the order of their first pixels."""

    code: Ids
    """Code of each (N,)."""
    boxes: NDArray[np.int32]
    """First row and column of each, and the row below and the column right of it (N, 4)."""
    of_label: NDArray[np.uint32]
    """Number of the region of each label, from 1; 0 for the background (L,)."""

    def __len__(self) -> int:
        return len(self.code)


def find_objects(strips: Iterable[Strip], width: int, background: int, connectivity: int) -> Objects:
    """Find the regions of a raster.

    Args:
        strips: the raster, top to bottom.
        width: columns.
        background: code of pixels that belong to no region.
        connectivity: 4, or 8: pixels that touch at a corner are connected.

    Raises:
        SceneError: The raster has more regions than can be numbered.
    """
    dtype, strips = peeked(strips)
    tables, boxes, runs = new_tables(dtype), np.zeros((0, 4), np.int32), first_runs(width, dtype)
    rows = max(1, AT_ONCE // width)
    for strip in strips:
        for i in range(0, len(strip.ids), rows):
            part = np.ascontiguousarray(strip.ids[i : i + rows])
            _make_room(tables, boxes, part.size)
            runs = _find_rows(part, strip.row + i, connectivity, runs, tables, boxes)
    return _objects(tables, boxes, background, dtype)


def _make_room(tables: Tables, boxes: NDArray[np.int32], pixels: int) -> None:
    """Enlarge tables for the labels that some pixels may add at most."""
    least = int(tables.used[LABELS]) + pixels
    if least > MOST:
        raise SceneError(f"the class raster has more than {MOST} regions: filter its speckle first (majority)")
    for table in (tables.parent, tables.class_id, boxes):
        grow(table, least)


@compiled
def _find_rows(ids: Ids, row: int, connectivity: int, above: Runs, tables: Tables, boxes: NDArray[np.int32]) -> Runs:
    """Label the runs of some rows; return those of the last one."""
    width = ids.shape[1]
    for i in range(len(ids)):
        known = tables.used[LABELS]
        below = next_runs(ids[i], above, tables)
        j = 1
        while below.start[j] < width:
            label = below.label[j]
            if label >= known:
                boxes[label, 0], boxes[label, 1] = row + i, below.start[j]
            boxes[label, 1] = min(boxes[label, 1], below.start[j])
            boxes[label, 2] = row + i + 1
            boxes[label, 3] = max(boxes[label, 3], below.start[j + 1])
            j += 1
        if connectivity == 8:
            _join_corners(above, below, width, tables.parent)
        above = below
    return above


@compiled
def _join_corners(above: Runs, below: Runs, width: int, parent: NDArray[np.int32]) -> None:
    """Join the runs of one code that touch at a corner."""
    i = j = 1
    while above.start[i] < width and below.start[j] < width:
        west_i, west_j = i, j
        i_ends, j_ends = above.start[i + 1], below.start[j + 1]
        if i_ends <= j_ends:
            i += 1
        if j_ends <= i_ends:
            j += 1
        if min(i_ends, j_ends) < width:
            if above.class_id[west_i] == below.class_id[j]:
                union(parent, above.label[west_i], below.label[j])
            if above.class_id[i] == below.class_id[west_j]:
                union(parent, above.label[i], below.label[west_j])


def _objects(tables: Tables, boxes: NDArray[np.int32], background: int, dtype: DTypeLike) -> Objects:
    """Regions from labels."""
    labels = int(tables.used[LABELS])
    parent, code = tables.parent[:labels], tables.class_id[:labels]
    flatten(parent)
    is_first: NDArray[Any] = (parent == np.arange(labels)) & (code != background)
    number = np.cumsum(is_first, dtype=np.uint32)[parent] if labels else np.zeros(0, np.uint32)
    number[code == background] = 0
    united = np.empty((int(is_first.sum()), 4), np.int32)
    _unite_boxes(boxes[:labels], number, united)
    return Objects(code[is_first].astype(dtype), united, number)


@compiled
def _unite_boxes(boxes: NDArray[np.int32], number: NDArray[np.uint32], united: NDArray[np.int32]) -> None:
    """Write the bounding box of the boxes of each region's labels."""
    united[:, :2] = MOST
    united[:, 2:] = 0
    for label in range(len(boxes)):
        if number[label] > 0:
            which = np.int64(number[label]) - 1
            for side in range(2):
                united[which, side] = min(united[which, side], boxes[label, side])
                united[which, side + 2] = max(united[which, side + 2], boxes[label, side + 2])
