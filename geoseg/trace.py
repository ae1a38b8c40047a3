"""Class raster in, polygons out: regions of one class traced along the pixel lattice, a strip at a time.

What goes in: strips of class ids from the top of the scene to its bottom; a confidence per pixel if there is one.
What comes out: one polygon per 4-connected region of equal class id, in lattice coordinates (x = column, y = row).
What this module does not know: files, coordinate systems, class names.

The polygons form a **coverage**: a border is the same list of vertices in both regions that share it. That needs a
vertex wherever a border turns *and* wherever three regions meet, even on an edge that runs straight on (GDAL leaves
those out). Whether a lattice node is such a vertex can be seen from the four pixels around it alone::

        nw │ ne        no vertex   nw == ne and sw == se   a border runs through from west to east, or none at all
      ─────┼─────                  nw == sw and ne == se   a border runs through from north to south
        sw │ se        a vertex    anything else

because neighbours of equal class are one region, whatever the labels turn out to be further down. At a vertex each
region gets one *corner*, and corners are linked into rings as the rows go by: a row meets every border edge with one
end known, so what is carried from row to row is one row of runs and two corners per column. Edges run with their
region on the left as seen on the screen (counter-clockwise with y pointing down).

Where a class touches itself across a corner (a *saddle*), the two corners are linked apart first, each round its own
pixel. If both turn out to be one region, the pair exchange their successors: the ring that would touch itself falls
apart into two simple rings, and the polygon is valid.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray

from geoseg.errors import SceneError

__all__ = ["Regions", "Tracer", "trace"]

Strip = tuple[int, NDArray[np.uint8], NDArray[np.uint8] | None]
"""First row, class ids (h, W), confidence (h, W) or None."""

Offsets = NDArray[np.int64]
"""Where each of M consecutive pieces begins, and where the last one ends (M + 1,)."""

Rings = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]
"""First corner, number of vertices (the first one counted twice) and label of each ring, three arrays (R,)."""

SCAN = 64
"""Pixels compared at once while looking for the next change of class: a few vector instructions."""

BATCH = 1 << 20
"""Vertices turned into polygons at once, so that only a batch is ever held twice."""

MOST = np.iinfo(np.int32).max
"""Corners and labels are numbered in int32, which halves the memory of the tables."""

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with numba, keeping the type that mypy sees."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))


@dataclass(frozen=True)
class Regions:
    """N regions in the order of their first pixel, row by row; exterior ring first, then the holes."""

    class_id: NDArray[np.uint8]
    """Class of each region (N,)."""
    pixels: NDArray[np.int64]
    """Size of each region in pixels (N,)."""
    confidence: NDArray[np.float64] | None
    """Mean of the confidence values in each region (N,), in the unit they came in; None if none were given."""
    corners: NDArray[np.int32]
    """Lattice coordinates (x, y) of all rings one after another (V, 2); each ring ends on its first vertex."""
    ring_offsets: Offsets
    """Where each ring begins in `corners` (R + 1,)."""
    region_offsets: Offsets
    """Where each region begins among the rings (N + 1,)."""

    def __len__(self) -> int:
        return len(self.class_id)

    @property
    def geometry(self) -> NDArray[np.object_]:
        """The polygons in lattice coordinates (N,), built anew at each call."""
        return self.polygons(Affine.identity())

    def polygons(self, transform: Affine) -> NDArray[np.object_]:
        """The polygons with their vertices moved through `transform` (N,), exteriors counter-clockwise.

        Element by element, so that a node gets the same value for each ring that passes it: a matrix product rounds
        differently from place to place and would open gaps.
        """
        batches = [self._batch(first, last, transform) for first, last in self._batches()]
        polygons = np.concatenate([np.empty(0, object), *batches])
        mirrored = transform.determinant < 0  # as in every north-up raster: then rings are as they should be
        return polygons if mirrored else shapely.reverse(polygons)

    def _batches(self) -> Iterator[tuple[int, int]]:
        """Consecutive regions (first, last + 1) of together about BATCH vertices."""
        ends = self.ring_offsets[self.region_offsets]
        cuts = np.searchsorted(ends, np.arange(0, ends[-1], BATCH))
        edges = np.unique([*cuts, len(self)])
        return itertools.pairwise(edges)

    def _batch(self, first: int, last: int, transform: Affine) -> NDArray[np.object_]:
        rings = self.region_offsets[first : last + 1]
        vertices = self.ring_offsets[rings[0] : rings[-1] + 1]
        column, row = self.corners[vertices[0] : vertices[-1]].T.astype(np.float64)
        a, b, c, d, e, f = transform[:6]
        xy = np.stack([a * column + b * row + c, d * column + e * row + f], axis=1)
        offsets = (vertices - vertices[0], rings - rings[0])
        return shapely.from_ragged_array(shapely.GeometryType.POLYGON, xy, offsets)


def trace(strips: Iterable[Strip], width: int, nodata: int = 255) -> Regions:
    """Trace the regions of a class raster that comes in strips, top to bottom; `nodata` belongs to no region.

    Raises:
        SceneError: The raster has more vertices or regions than can be numbered.
    """
    tracer = Tracer(width, nodata)
    for row, ids, confidence in strips:
        tracer.feed(row, ids, confidence)
    return tracer.take()


class Tracer:
    """Feed strips, take regions.

    Holds one row of runs, two corners per column, 16 bytes per corner and 21 per (provisional) region. Never a pixel.
    """

    def __init__(self, width: int, nodata: int = 255) -> None:
        self._width = width
        self._nodata = np.uint8(nodata)
        self._row = 0
        self._weighed = False
        self._front = new_front(width, nodata)
        self._tables = new_tables()

    def feed(self, row: int, ids: NDArray[np.uint8], confidence: NDArray[np.uint8] | None = None) -> None:
        """Take in the rows from `row` on: class ids (h, W) and, if the scene has them, confidences (h, W)."""
        if row != self._row or ids.shape[1] != self._width:
            raise ValueError(f"expected row {self._row}, {self._width} px wide; got row {row}, {ids.shape[1]} px wide")
        self._weighed |= confidence is not None
        weights = np.empty((0, 0), np.uint8) if confidence is None else confidence
        self._advance(np.require(ids, np.uint8, ["C", "W"]), np.require(weights, np.uint8, ["C", "W"]))

    def take(self) -> Regions:
        """Close the scene and return its regions. The tracer is spent afterwards."""
        below = np.full((1, self._width), self._nodata, np.uint8)
        self._advance(below, np.empty((0, 0), np.uint8))
        return finish(self._tables, self._weighed)

    def _advance(self, ids: NDArray[np.uint8], confidence: NDArray[np.uint8]) -> None:
        done = 0
        while done < len(ids):
            make_room(self._tables, self._width)
            done = trace_rows(ids, confidence, done, self._row, self._nodata, self._front, self._tables)
        self._row += len(ids)


# ---------------------------------------------------------------------------------------------------------- state


class Runs(NamedTuple):
    """One row as stretches of one class, between a run before the first column and one after the last."""

    start: NDArray[np.int32]
    """First column of each run (W + 2,); the last used entry is W."""
    class_id: NDArray[np.uint8]
    label: NDArray[np.int32]
    """Provisional region of each run; -1 for nodata."""


class Front(NamedTuple):
    """What is carried from row to row."""

    even: Runs
    odd: Runs
    """The runs of the last two rows, by the parity of the row."""
    head: NDArray[np.int32]
    """Corner at which the upward edge on each lattice column ends (W + 1,): right border of the pixel to the west."""
    tail: NDArray[np.int32]
    """Corner at which the downward edge on each lattice column began (W + 1,): left border of the pixel to the east."""


class Tables(NamedTuple):
    """Everything found so far. Grown in place between rows; corner 0 stands for nodata and is never read."""

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
    class_id: NDArray[np.uint8]
    pixels: NDArray[np.int64]
    confidence: NDArray[np.int64]
    """Sum over the pixels of a label."""
    saddle: NDArray[np.int32]
    """Pairs of corners of one class that touch across a node (S, 2)."""


CORNERS, LABELS, SADDLES = 0, 1, 2


def new_front(width: int, nodata: int) -> Front:
    """The front above the first row: nothing but nodata."""
    columns = np.zeros(width + 1, np.int32)
    return Front(new_runs(width, nodata), new_runs(width, nodata), columns, columns.copy())


def new_runs(width: int, nodata: int) -> Runs:
    """A row of nodata."""
    runs = Runs(np.zeros(width + 2, np.int32), np.full(width + 2, nodata, np.uint8), np.full(width + 2, -1, np.int32))
    runs.start[:3] = (-1, 0, width)[: width + 2]
    return runs


def new_tables() -> Tables:
    """Tables with no region; corner 0 is taken."""
    return Tables(
        used=np.array([1, 0, 0]),
        x=np.zeros(1, np.int32),
        y=np.zeros(1, np.int32),
        next=np.zeros(1, np.int32),
        owner=np.zeros(1, np.int32),
        parent=np.zeros(0, np.int32),
        class_id=np.zeros(0, np.uint8),
        pixels=np.zeros(0, np.int64),
        confidence=np.zeros(0, np.int64),
        saddle=np.zeros((0, 2), np.int32),
    )


def make_room(tables: Tables, width: int) -> None:
    """Grow the tables until at least one more row fits, whatever is in it.

    Raises:
        SceneError: The raster has more vertices or regions than can be numbered.
    """
    corners, labels, saddles = tables.used + most_per_row(width)
    if max(corners, labels) > MOST:
        raise SceneError(f"the class raster has more than {MOST} polygon vertices: filter its speckle first")
    for by_corner in (tables.x, tables.y, tables.next, tables.owner):
        grow(by_corner, corners)
    for by_label in (tables.parent, tables.class_id, tables.pixels, tables.confidence):
        grow(by_label, labels)
    grow(tables.saddle, saddles)


def grow(table: NDArray[Any], least: int) -> None:
    """Lengthen a table by half if it is shorter than `least`. In place, so that a large one is remapped, not copied."""
    if len(table) < least:
        table.resize((least + len(table) // 2, *table.shape[1:]), refcheck=False)


def most_per_row(width: int) -> NDArray[np.int64]:
    """Corners, labels and saddles (3,) that one row can add."""
    return np.array([4 * (width + 1), width, 2 * (width + 1)])


# -------------------------------------------------------------------------------------------------------- kernels


@compiled
def trace_rows(
    ids: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    first: int,
    row: int,
    nodata: np.uint8,
    front: Front,
    tables: Tables,
) -> int:
    """Trace a strip that begins at `row` of the scene, from its row `first` on; return at which row room ran out."""
    width = ids.shape[1]
    for i in range(first, len(ids)):
        if not has_room(tables, width):
            return i
        above, below = front.even, front.odd
        if (row + i) % 2:
            above, below = below, above
        find_runs(ids[i], nodata, below)
        join_runs(above, below, width, nodata, tables)
        name_runs(below, width, nodata, tables)
        count_pixels(below, width, nodata, tables)
        if len(confidence):
            sum_confidence(confidence[i], below, nodata, tables)
        place_corners(row + i, above, below, width, nodata, front, tables)
    return len(ids)


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
def find_runs(ids: NDArray[np.uint8], nodata: np.uint8, runs: Runs) -> None:
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
def is_equal(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two stretches of pixels are the same. Without branches in the loop, so that it is vectorised."""
    changes = np.uint8(0)
    for column in range(len(one)):
        changes |= one[column] ^ other[column]
    return bool(changes == 0)


@compiled
def add_run(runs: Runs, index: int, column: int, class_id: np.uint8) -> int:
    """Write an unlabelled run and return the index of the next."""
    runs.start[index] = column
    runs.class_id[index] = class_id
    runs.label[index] = -1
    return index + 1


@compiled
def join_runs(above: Runs, below: Runs, width: int, nodata: np.uint8, tables: Tables) -> None:
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
def name_runs(runs: Runs, width: int, nodata: np.uint8, tables: Tables) -> None:
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
def count_pixels(runs: Runs, width: int, nodata: np.uint8, tables: Tables) -> None:
    """Add the length of each run to its label."""
    j = 1
    while runs.start[j] < width:
        if runs.class_id[j] != nodata:
            tables.pixels[runs.label[j]] += runs.start[j + 1] - runs.start[j]
        j += 1


@compiled
def sum_confidence(confidence: NDArray[np.uint8], runs: Runs, nodata: np.uint8, tables: Tables) -> None:
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
def place_corners(y: int, above: Runs, below: Runs, width: int, nodata: np.uint8, front: Front, tables: Tables) -> None:
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
    ids: tuple[int, int, int, int], corners: tuple[int, int, int, int], nodata: np.uint8, tables: Tables
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


# --------------------------------------------------------------------------------------------------- closing rings


def finish(tables: Tables, weighed: bool) -> Regions:
    """Regions from the tables of a whole scene, which are used up by it."""
    corners, labels, saddles = tables.used
    parent = tables.parent[:labels]
    flatten(parent)
    part_saddles(tables.saddle[:saddles], parent, tables.owner, tables.next)
    is_root = parent == np.arange(labels)
    region = (np.cumsum(is_root) - 1)[parent]  # of each label
    pixels = total(tables.pixels[:labels], region)
    rings, ring_offsets, region_offsets = sorted_rings(find_rings(corners, tables.next, tables.owner), region)
    return Regions(
        class_id=tables.class_id[:labels][is_root],
        pixels=pixels,
        confidence=total(tables.confidence[:labels], region) / pixels if weighed else None,
        corners=write_rings(rings, ring_offsets, tables.x, tables.y, tables.next),
        ring_offsets=ring_offsets,
        region_offsets=region_offsets,
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
) -> NDArray[np.int32]:
    """Coordinates (V, 2) of the rings that begin at `starts`, one after another."""
    coordinates = np.empty((ring_offsets[-1], 2), np.int32)
    for ring in range(len(starts)):
        corner = starts[ring]
        for vertex in range(ring_offsets[ring], ring_offsets[ring + 1]):
            coordinates[vertex, 0] = x[corner]
            coordinates[vertex, 1] = y[corner]
            corner = following[corner]
    return coordinates
