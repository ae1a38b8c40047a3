"""Strips that were traced by themselves, and the seams at which they are joined to those above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.core.compiler import compiled
from geoseg.vector.trace.rows import copy_runs, join_runs, place_corners, trace_rows
from geoseg.vector.trace.state import (
    CORNERS,
    LABELS,
    SADDLES,
    Front,
    Ids,
    Runs,
    Tables,
    make_room,
    most_per_row,
    new_front,
    new_tables,
)


@dataclass
class TracedStrip:
    """A strip traced by itself. Labels are counted from 0, corners from W + 2."""

    width: int
    """Columns."""
    front: Front
    """Its first row, and what is carried on from its last one."""
    tables: Tables
    """What is in it, but for the lattice row above it."""
    row: int = 0
    """The first row."""
    rows: int = 0
    """Number of rows."""
    is_weighed: bool = False
    """Whether confidences were summed."""

    @classmethod
    def new(cls, width: int, nodata: int, dtype: DTypeLike) -> Self:
        """One without rows yet."""
        strip = cls(width, new_front(width, nodata, dtype), new_tables(dtype))
        strip.empty()
        return strip

    def trace(self, row: int, ids: Ids, confidence: NDArray[np.uint8], nodata: Any) -> None:
        """Trace rows (h, W) that begin at `row` of the scene; without confidences, their array is empty.

        Arrays are contiguous and writable.

        Raises:
            SceneError: It has more vertices or regions than can be numbered.
        """
        self.row, self.rows = row, len(ids)
        done = 0
        while done < self.rows:
            make_room(self.tables, most_per_row(self.width))
            done = trace_rows(ids, confidence, done, self.row, nodata, self.front, self.tables)

    def empty(self) -> None:
        """Make the tables fit for another strip of this width."""
        tables, columns = self.tables, np.arange(1, self.width + 2, dtype=np.int32)
        for sums in (tables.pixels, tables.confidence):
            sums[: tables.used[LABELS]] = 0
        tables.used[:] = self.width + 2, 0, 0
        make_room(tables, most_per_row(self.width))
        tables.next[columns] = 0
        self.front.head[:] = self.front.tail[:] = columns


@compiled
def join_strip(
    strip: Tables, below: Front, place: tuple[int, int], nodata: np.integer[Any], above: Front, tables: Tables
) -> None:
    """Add a strip to the tables of those above it, which have room for it and for one more row.

    Args:
        strip: tables of the strip.
        below: its front, which is used up.
        place: its first row, and how many there are.
        nodata: code of pixels without data.
        above: the front of the strips above, whose last runs are `even`; it becomes that of all of them.
        tables: those of the strips above.
    """
    width = len(above.head) - 1
    first_label = add_labels(strip, tables)
    copy_runs(below.first, above.odd, first_label)
    join_runs(above.even, above.odd, width, nodata, tables)
    place_corners(place[0], above.even, above.odd, width, nodata, above, tables)
    shift = add_corners_of(strip, first_label, above, tables)
    add_saddles(strip, shift, tables)
    for column in range(width + 1):
        if below.head[column] != 1 + column:
            above.head[column] = shifted(below.head[column], shift)
        if below.tail[column] != 1 + column:
            above.tail[column] = shifted(below.tail[column], shift)
    copy_runs(last_runs(below, place[1]), above.even, first_label)


@compiled
def last_runs(front: Front, rows: int) -> Runs:
    """The runs of the last of some rows."""
    return front.even if rows % 2 == 1 else front.odd


@compiled
def add_labels(strip: Tables, tables: Tables) -> int:
    """Add the labels of a strip; return the number of the first one."""
    first = tables.used[LABELS]
    for label in range(strip.used[LABELS]):
        tables.parent[first + label] = first + strip.parent[label]
        tables.class_id[first + label] = strip.class_id[label]
        tables.pixels[first + label] = strip.pixels[label]
        tables.confidence[first + label] = strip.confidence[label]
    tables.used[LABELS] += strip.used[LABELS]
    return int(first)


@compiled
def add_corners_of(strip: Tables, first_label: int, above: Front, tables: Tables) -> int:
    """Add the corners of a strip, linked to those above; return what is added to their numbers."""
    own = len(above.head) + 1
    shift = tables.used[CORNERS] - own
    for corner in range(own, strip.used[CORNERS]):
        following = strip.next[corner]
        at = corner + shift
        tables.x[at], tables.y[at] = strip.x[corner], strip.y[corner]
        tables.owner[at] = strip.owner[corner] + first_label
        tables.next[at] = above.head[following - 1] if 0 < following < own else shifted(following, shift)
    for column in range(own - 1):
        if strip.next[1 + column] > 0:
            tables.next[above.tail[column]] = shifted(strip.next[1 + column], shift)
    tables.used[CORNERS] += strip.used[CORNERS] - own
    return int(shift)


@compiled
def shifted(corner: int, shift: int) -> int:
    """Number of a corner among those of all strips; 0 stays that of nodata."""
    return corner + shift if corner > 0 else 0


@compiled
def add_saddles(strip: Tables, shift: int, tables: Tables) -> None:
    """Add the saddles of a strip."""
    first = tables.used[SADDLES]
    for k in range(strip.used[SADDLES]):
        tables.saddle[first + k] = strip.saddle[k, 0] + shift, strip.saddle[k, 1] + shift
    tables.used[SADDLES] += strip.used[SADDLES]
