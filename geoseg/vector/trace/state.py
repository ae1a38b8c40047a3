"""State of the tracing, updated by each row of pixels: the runs (stretches of one class) of the last row, two corners
per column, and the tables of all corners, regions and saddles found so far."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from geoseg.core.errors import SceneError

MOST = np.iinfo(np.int32).max
"""Corners and labels are numbered in int32, which halves the memory of the tables."""

Ids = NDArray[Any]
"""Codes of classes, uint8 or int32; functions are compiled for both types."""


class Runs(NamedTuple):
    """One row as stretches of one class, between a run before the first column and one after the last."""

    start: NDArray[np.int32]
    """First column of each run (W + 2,); the last used entry is W."""
    class_id: Ids
    label: NDArray[np.int32]
    """Provisional region of each run; -1 for nodata."""


class Front(NamedTuple):
    """What is carried from row to row."""

    first: Runs
    """The runs of the strip's first row."""
    even: Runs
    odd: Runs
    """The runs of the last two rows, by the parity of the row within the strip."""
    head: NDArray[np.int32]
    """Corner at which the upward edge on each lattice column ends (W + 1,): right border of the pixel to the west."""
    tail: NDArray[np.int32]
    """Corner at which the downward edge on each lattice column began (W + 1,): left border of the pixel to the east."""


class Tables(NamedTuple):
    """Everything found so far. Grown in place between rows.

    Corner 0 stands for nodata and is never read. In the tables of a strip by itself, corner 1 + x stands for what lies
    above it on lattice column x: the successor of the corner there, and what it is the successor of.
    """

    used: NDArray[np.int64]
    """Entries in use (3,): corners, labels, saddles."""
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    next: NDArray[np.int32]
    """Corner that follows on the same ring."""
    owner: NDArray[np.int32]
    """Label of the region that a corner belongs to."""
    parent: NDArray[np.int32]
    """Label that each label was joined to (union-find); the smallest of a region is its root."""
    class_id: Ids
    pixels: NDArray[np.int64]
    confidence: NDArray[np.int64]
    """Sum over the pixels of a label."""
    saddle: NDArray[np.int32]
    """Pairs of corners of one class that touch across a node (S, 2)."""


CORNERS, LABELS, SADDLES = 0, 1, 2


def new_front(width: int, nodata: int, dtype: DTypeLike = np.uint8) -> Front:
    """The front above the first row: nothing but nodata; codes of classes are of a type."""
    columns = np.zeros(width + 1, np.int32)
    first, even, odd = (new_runs(width, nodata, dtype) for _ in range(3))
    return Front(first, even, odd, columns, columns.copy())


def new_runs(width: int, nodata: int, dtype: DTypeLike = np.uint8) -> Runs:
    """A row of nodata."""
    runs = Runs(np.zeros(width + 2, np.int32), np.full(width + 2, nodata, dtype), np.full(width + 2, -1, np.int32))
    runs.start[:3] = (-1, 0, width)[: width + 2]
    return runs


def new_tables(dtype: DTypeLike = np.uint8) -> Tables:
    """Tables with no region; corner 0 is taken."""
    return Tables(
        used=np.array([1, 0, 0]),
        x=np.zeros(1, np.int32),
        y=np.zeros(1, np.int32),
        next=np.zeros(1, np.int32),
        owner=np.zeros(1, np.int32),
        parent=np.zeros(0, np.int32),
        class_id=np.zeros(0, dtype),
        pixels=np.zeros(0, np.int64),
        confidence=np.zeros(0, np.int64),
        saddle=np.zeros((0, 2), np.int32),
    )


def make_room(tables: Tables, more: NDArray[np.int64]) -> None:
    """Grow the tables until so many more corners, labels and saddles (3,) fit.

    Raises:
        SceneError: The raster has more vertices or regions than can be numbered.
    """
    corners, labels, saddles = tables.used + more
    if max(corners, labels) > MOST:
        raise SceneError(f"the class raster has more than {MOST} polygon vertices: filter its speckle first")
    for by_corner in (tables.x, tables.y, tables.next, tables.owner):
        grow(by_corner, corners)
    for by_label in (tables.parent, tables.class_id, tables.pixels, tables.confidence):
        grow(by_label, labels)
    grow(tables.saddle, saddles)


def grow(table: NDArray[Any], least: int) -> None:
    """Lengthen a table by a quarter if it is shorter than `least`. In place, so that a large one is remapped, not
    copied."""
    if len(table) < least:
        table.resize((least + len(table) // 4, *table.shape[1:]), refcheck=False)


def most_per_row(width: int) -> NDArray[np.int64]:
    """Corners, labels and saddles (3,) that one row can add."""
    return np.array([4 * (width + 1), width, 2 * (width + 1)])
