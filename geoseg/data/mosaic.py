"""Labelled ground: an image with its labels, in memory or on disk, and images that touch, seen as one.

In: open scenes and labels. Out: band values, which pixels hold data, and class indexes, window by window. Ground is
read by one thread at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from geoseg.data.labels.labels import Indexes, Labels
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window
from geoseg.raster.scene import Mask, Scene, Values
from geoseg.spec import IGNORE

STRIP_PX = 512
"""Rows that are read at once when all of an image is."""


class Ground(Protocol):
    """Labelled ground, whatever it is made of."""

    @property
    def name(self) -> str:
        """What people call it: the image's file name."""
        ...

    @property
    def grid(self) -> PixelGrid:
        """Where its pixels lie."""
        ...

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window inside: band values (C, h, w), to be changed at will, and which pixels hold data (h, w)."""
        ...

    def read_labels(self, window: Window) -> Indexes:
        """Class indexes (h, w) of a window inside, to be changed at will; IGNORE where nothing is labelled."""
        ...


Files = tuple[Scene, Labels]


class Shelf:
    """Open files of many grounds, of which the ones read last stay open."""

    def __init__(self, limit: int = 64):
        self._limit = limit
        self._open: OrderedDict[int, tuple[ExitStack, Files]] = OrderedDict()

    def take(self, key: int, opener: Callable[[], Files]) -> Files:
        """Give a ground's files, opening them if they are not."""
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key][1]
        while len(self._open) >= self._limit:
            self._open.popitem(last=False)[1][0].close()
        with ExitStack() as stack:
            scene, labels = opener()
            files = stack.enter_context(scene), stack.enter_context(labels)
            self._open[key] = stack.pop_all(), files
        return files

    def clear(self) -> None:
        """Close all files."""
        while self._open:
            self._open.popitem()[1][0].close()


class FileGround:
    """An image and its labels on disk."""

    def __init__(self, name: str, grid: PixelGrid, files: Callable[[], Files]):
        self.name, self.grid = name, grid
        self.height, self.width = grid.height, grid.width
        self._files = files

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window of the image."""
        return self._files()[0].read(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read a window of the labels."""
        return self._files()[1].read(window)

    def unmarked_px(self) -> int:
        """Count the pixels that the labels leave out for the value 255 alone."""
        return self._files()[1].unmarked_px()


@dataclass(frozen=True)
class HeldGround:
    """An image and its labels in memory."""

    name: str
    """What people call it."""
    grid: PixelGrid
    """Where its pixels lie."""
    image: Values
    """Band values (C, H, W)."""
    valid: Mask
    """Which pixels hold data (H, W)."""
    labels: Indexes
    """Class indexes (H, W)."""

    @property
    def height(self) -> int:
        """Rows."""
        return self.grid.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.grid.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Copy a window of the image."""
        return self.image[:, *window.slices].copy(), self.valid[window.slices].copy()

    def read_labels(self, window: Window) -> Indexes:
        """Copy a window of the labels."""
        return self.labels[window.slices].copy()


def hold(ground: Ground) -> HeldGround:
    """Read all of a ground into memory, strip by strip: what reading takes besides is small."""
    size = ground.height, ground.width
    valid, labels = np.empty(size, bool), np.empty(size, np.uint8)
    image: Values | None = None
    for row in range(0, ground.height, STRIP_PX):
        strip = Window(row, 0, STRIP_PX, ground.width).clip(*size)
        values, valid[strip.slices] = ground.read(strip)
        image = np.empty((len(values), *size), values.dtype) if image is None else image
        image[:, *strip.slices] = values
        labels[strip.slices] = ground.read_labels(strip)
    assert image is not None  # a raster has rows
    return HeldGround(ground.name, ground.grid, image, valid, labels)


@dataclass(frozen=True)
class Rectangles:
    """Windows of one raster, many of them, as a set of pixels."""

    bounds: NDArray[np.int64]
    """First row, first column, last-plus-one row and column of each (N, 4)."""

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Rectangles:
        """From windows; empty ones vanish."""
        rows = [(w.row, w.col, w.row + w.height, w.col + w.width) for w in windows if w.pixels]
        return cls(np.array(rows, np.int64).reshape(-1, 4))

    def mask(self, window: Window) -> Mask:
        """Which pixels (h, w) of a window belong to any of them."""
        mask = np.zeros((window.height, window.width), bool)
        corner = np.array([window.row, window.col, window.row, window.col])
        size = np.array([window.height, window.width] * 2)
        local = np.clip(self.bounds - corner, 0, size)
        for top, left, bottom, right in local[(local[:, :2] < local[:, 2:]).all(axis=1)]:
            mask[top:bottom, left:right] = True
        return mask


@dataclass(frozen=True)
class PartOfGround:
    """Ground of which only a part is labelled, as far as anyone who reads it can tell."""

    ground: Ground
    """All of it."""
    open: Rectangles
    """Where labels are shown."""
    closed: Rectangles
    """Where they are not, even inside of what is open."""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.ground.name

    @property
    def grid(self) -> PixelGrid:
        """Where its pixels lie."""
        return self.ground.grid

    @property
    def height(self) -> int:
        """Rows."""
        return self.ground.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.ground.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window of the image; all of it is shown."""
        return self.ground.read(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read a window of the labels; IGNORE where they are not shown."""
        labels = self.ground.read_labels(window)
        labels[~self.shown(window)] = IGNORE
        return labels

    def shown(self, window: Window) -> Mask:
        """Where labels of a window are shown."""
        return self.open.mask(window) & ~self.closed.mask(window)


class OpenPart:
    """Ground of which only the part with open labels can be seen; the rest is as if it held no data."""

    def __init__(self, part: PartOfGround):
        self._part = part
        self.name, self.grid, self.height, self.width = part.name, part.grid, part.height, part.width

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window of the image."""
        values, valid = self._part.read(window)
        return values, valid & self._part.open.mask(window)

    def read_labels(self, window: Window) -> Indexes:
        """Read a window of the labels."""
        return self._part.read_labels(window)


class JoinedGround:
    """Grounds on one lattice of pixels, seen as one; between them there is no data."""

    def __init__(self, grounds: Sequence[Ground]):
        offsets = [(0, 0), *(grounds[0].grid.nearest_offset(ground.grid) for ground in grounds[1:])]
        top, left = min(row for row, _ in offsets), min(column for _, column in offsets)
        self.places = [
            Window(row - top, column - left, ground.height, ground.width)
            for (row, column), ground in zip(offsets, grounds, strict=True)
        ]
        self.grounds = tuple(grounds)
        self.height = max(place.row + place.height for place in self.places)
        self.width = max(place.col + place.width for place in self.places)
        self.grid = grounds[0].grid.part(Window(top, left, self.height, self.width))
        self.name = grounds[0].name if len(grounds) == 1 else f"{grounds[0].name} and {len(grounds) - 1} neighbours"
        corners = [(place.row, place.col, place.row + place.height, place.col + place.width) for place in self.places]
        self._bounds = np.array(corners)

    def read(self, window: Window) -> tuple[Values, Mask]:
        """Read a window; the values of gaps are 0."""
        parts = [(at, *ground.read(inner)) for at, ground, inner in self._parts(window)]
        bands = parts[0][1].shape[0] if parts else self.grounds[0].read(Window(0, 0, 1, 1))[0].shape[0]
        dtype = np.result_type(*(image.dtype for _, image, _ in parts)) if parts else np.dtype(np.float32)
        values = np.zeros((bands, window.height, window.width), dtype)
        valid = np.zeros((window.height, window.width), bool)
        for at, image, held in parts:
            np.copyto(values[:, *at.slices], image, where=held)
            valid[at.slices] |= held
        return values, valid

    def read_labels(self, window: Window) -> Indexes:
        """Read a window of the labels."""
        labels = np.full((window.height, window.width), IGNORE, np.uint8)
        for at, ground, inner in self._parts(window):
            found = ground.read_labels(inner)
            np.copyto(labels[at.slices], found, where=found != IGNORE)
        return labels

    def name_at(self, row: int, col: int) -> str:
        """Name of the ground that holds a pixel; the whole's name in a gap."""
        member = self.member_at(row, col)
        return self.name if member is None else self.grounds[member].name

    def member_at(self, row: int, col: int) -> int | None:
        """Number of the ground that holds a pixel; None in a gap."""
        here = (self._bounds[:, :2] <= (row, col)).all(axis=1) & ((row, col) < self._bounds[:, 2:]).all(axis=1)
        return int(np.argmax(here)) if here.any() else None

    def _parts(self, window: Window) -> list[tuple[Window, Ground, Window]]:
        """Grounds that a window meets: where in the window, which, and where in themselves."""
        first, last = (window.row, window.col), (window.row + window.height, window.col + window.width)
        near = np.flatnonzero(((self._bounds[:, :2] < last) & (self._bounds[:, 2:] > first)).all(axis=1))
        found = []
        for index in near:
            place, ground = self.places[index], self.grounds[index]
            inner = window.shift(-place.row, -place.col).clip(ground.height, ground.width)
            found.append((inner.shift(place.row - window.row, place.col - window.col), ground, inner))
        return found


def open_ground(joined: JoinedGround) -> JoinedGround:
    """The same ground without what is not open: nothing of it is seen that belongs to the other side of a split."""
    return JoinedGround([OpenPart(one) if isinstance(one, PartOfGround) else one for one in joined.grounds])


def join_neighbours(grounds: Sequence[Ground]) -> list[tuple[JoinedGround, list[int]]]:
    """Join grounds that touch on one lattice of pixels; each with the numbers of the grounds it is made of.

    Images without coordinates are left alone: nothing says where they lie.
    """
    groups: dict[int, list[int]] = {}
    for index, root in enumerate(_roots(grounds)):
        groups.setdefault(root, []).append(index)
    return [(JoinedGround([grounds[i] for i in group]), group) for group in groups.values()]


def _roots(grounds: Sequence[Ground]) -> list[int]:
    """For each ground, the first of those it is connected with."""
    roots = list(range(len(grounds)))

    def root(index: int) -> int:
        while roots[index] != index:
            roots[index] = roots[roots[index]]
            index = roots[index]
        return index

    for one, other in _near_pairs(grounds):
        if grounds[one].grid.offset_of(grounds[other].grid) is not None:
            first, last = sorted((root(one), root(other)))
            roots[last] = first
    return [root(index) for index in range(len(grounds))]


def _near_pairs(grounds: Sequence[Ground]) -> NDArray[np.intp]:
    """Pairs (N, 2) of placed grounds whose boxes touch, to a hundredth of a pixel, whatever their CRS."""
    placed = np.array([i for i, ground in enumerate(grounds) if ground.grid.is_placed], np.intp)
    if not len(placed):
        return np.zeros((0, 2), np.intp)
    grids = [grounds[i].grid for i in placed]
    shapes = shapely.box(*np.array([grid.box(Window(0, 0, grid.height, grid.width)) for grid in grids]).T)
    reach = shapely.buffer(shapes, [0.01 * grid.step for grid in grids], join_style="mitre")
    pairs = shapely.STRtree(shapes).query(reach, predicate="intersects")
    near: NDArray[np.intp] = placed[pairs[:, pairs[0] < pairs[1]].T]
    return near
