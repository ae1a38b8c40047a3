"""What a coarser view of a scene told of its classes, kept for the finer one.

In: probabilities, block by block. Out: those around any windows, and how unsure they are. Knows no network. Kept as
whole 255ths, in memory or in a file, of which only the part that is read is in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from uuid import uuid4
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from geoseg.core.files import reserve, sync, write_errors
from geoseg.geo.grid import Axis, Grid, Place, Window
from geoseg.raster.level_grid import ViewBox
from geoseg.raster.pyramid import HELD_BYTES, MAPPED_ROWS

Shares = NDArray[np.uint8]
"""Probabilities (K, h, w) in 255ths; all are 0 where nothing is known."""
SCRATCH_NAME = ".geoseg-coarse-"
"""How the names of files begin that go with their map."""
SPARE_PX = 2
"""Pixels around what a window needs, between which is interpolated."""
FADE = 8
"""A window fades out towards a skipped one across its side over this."""


class ProbabilityMap:
    """Probabilities of a raster's classes, written block by block and read window by window."""

    def __init__(self, classes: int, height: int, width: int, folder: Path | None = None):
        """Make an empty map; one that is large lies in a file of the folder, if one is given, and goes with that."""
        self.shape = classes, height, width
        self.path: Path | None = None
        self._held: Shares | None = None
        if folder is None or math.prod(self.shape) <= HELD_BYTES:
            self._held = np.zeros(self.shape, np.uint8)
            return
        self.path = folder / f"{SCRATCH_NAME}{uuid4().hex}"
        finalize(self, self.path.unlink, missing_ok=True)
        with write_errors(folder):
            np.lib.format.open_memmap(self.path, "w+", np.uint8, self.shape)
            with self.path.open("r+b") as file:
                reserve(file.fileno(), self.path.stat().st_size)

    @classmethod
    def load(cls, path: Path) -> ProbabilityMap:
        """A map that lies in a file."""
        loaded = cls.__new__(cls)
        loaded.path, loaded._held = path, None
        loaded.shape = np.load(path, mmap_mode="r").shape
        return loaded

    @property
    def height(self) -> int:
        """Rows."""
        return self.shape[1]

    @property
    def width(self) -> int:
        """Columns."""
        return self.shape[2]

    def write(self, window: Window, shares: Shares) -> None:
        """Write a window inside."""
        for band in window.bands(MAPPED_ROWS):
            self._open("r+")[:, *band.slices] = shares[:, *band.shift(-window.row, -window.col).slices]

    def read(self, window: Window) -> Shares:
        """Read a window inside."""
        found = np.empty((self.shape[0], window.height, window.width), np.uint8)
        for band in window.bands(MAPPED_ROWS):
            found[:, *band.shift(-window.row, -window.col).slices] = self._open("r")[:, *band.slices]
        return found

    def publish(self, path: Path) -> ProbabilityMap:
        """Give the map a name that other processes know; return the one that has it, which may be another's."""
        with write_errors(path.parent):
            own = self.path
            if own is None:
                own = path.with_name(f"{SCRATCH_NAME}{uuid4().hex}")
                with own.open("wb") as file:
                    np.save(file, self._open("r"))
            sync(own)  # others may read it on another machine
            try:
                os.link(own, path)  # fails where there is one: the first to publish wins
            except FileExistsError:
                pass
            except OSError:  # a file system without links
                os.replace(own, path)
            own.unlink(missing_ok=True)
        return ProbabilityMap.load(path)

    def _open(self, mode: str) -> Shares:
        if self._held is not None:
            return self._held
        opened: Shares = np.load(self.path, mmap_mode=mode)  # type: ignore[arg-type]  # two of its modes
        return opened


@dataclass(frozen=True)
class Choice:
    """Which windows of a grid are looked at again, and how these hand over to those that are not.

    Two answers, one from near by and one from afar, would meet in a straight line. So the finer one fades out towards
    the skipped windows: classes change where the two balance, and that follows the ground.
    """

    grid: Grid
    """The windows."""
    skipped: frozenset[tuple[int, int]] = frozenset()
    """Row and column of the windows that are not looked at again."""

    def weights(self, place: Place, window: Window) -> NDArray[np.float32]:
        """Share of the finer answer in a place's window, or in a part of it (h, w); 0 all over a skipped one.

        In windows that are looked at again it depends on where a pixel lies alone: they agree where they overlap.
        """
        is_chosen = (place.i, place.j) not in self.skipped
        weights = np.full((window.height, window.width), is_chosen, np.float32)
        if is_chosen:
            for i, j in product(*(range(at - 1, at + 2) for at in (place.i, place.j))):
                if (i, j) in self.skipped:
                    self._fade(weights, i, j, window)
        return weights

    def _fade(self, weights: NDArray[np.float32], i: int, j: int, window: Window) -> None:
        """Lower the weights of a window (h, w) in another one's territory, which is skipped, and near it."""
        top, left = window.row + self.grid.border, window.col + self.grid.border
        down = _distances(self.grid.rows, i, top, window.height) / self._fade_px
        right = _distances(self.grid.cols, j, left, window.width) / self._fade_px
        near = np.ix_(down < 1, right < 1)
        weights[near] = np.minimum(weights[near], np.hypot(down[down < 1][:, None], right[right < 1]))

    @cached_property
    def _fade_px(self) -> int:
        """Pixels across which a window fades out: at most half of its territory, so that it counts in the middle."""
        lengths = (last - first for axis in (self.grid.rows, self.grid.cols) for first, last in _territories(axis))
        return max(1, min(self.grid.tile // FADE, min(lengths) // 2))


def _territories(axis: Axis) -> list[tuple[int, int]]:
    """First and last-plus-one pixel of each window's territory: they meet in the middles of the seams."""
    borders = [0, *(seam + axis.ramp // 2 for seam in axis.seams), axis.end]
    return list(pairwise(borders))


def _distances(axis: Axis, i: int, start: int, length: int) -> NDArray[np.float32]:
    """Pixels from each of some positions to the territory of window i."""
    first, last = _territories(axis)[i]
    positions = np.arange(start, start + length)
    return np.maximum(np.maximum(first - positions, positions - last + 1), 0).astype(np.float32)


@dataclass(frozen=True)
class CoarseClasses:
    """What the next coarser view told, and which windows of the finer one are worth looking at again."""

    map: ProbabilityMap
    """The probabilities."""
    ratio: int
    """Side of its pixels, in those of the finer raster."""
    choice: Choice
    """The windows that are looked at again."""

    def around(self, windows: Sequence[Window]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities around windows of one size (B, K, h, w), and where these lie in them (B, 4)."""
        parts = [self._part(window) for window in windows]
        maps = np.stack([self._read(part) for part in parts])
        boxes = [self._box(*pair) for pair in zip(windows, parts, strict=True)]
        return (maps / 255).astype(np.float32), np.stack(boxes).astype(np.float32)

    def _part(self, window: Window) -> Window:
        """The pixels between which a window is interpolated; as many for all windows of its size."""
        height, width = (-(-side // self.ratio) + 2 * SPARE_PX for side in (window.height, window.width))
        return Window(window.row // self.ratio - 1, window.col // self.ratio - 1, height, width)

    def _read(self, part: Window) -> Shares:
        """Read a part; beyond the map it is as at its edge."""
        inside = part.clip(self.map.height, self.map.width)
        rows, cols = (
            (first - start, start + side - first - length)
            for first, start, side, length in (
                (inside.row, part.row, part.height, inside.height),
                (inside.col, part.col, part.width, inside.width),
            )
        )
        return np.pad(self.map.read(inside), ((0, 0), rows, cols), mode="edge")

    def _box(self, window: Window, part: Window) -> ViewBox:
        top, bottom = ((y / self.ratio - part.row) / part.height for y in (window.row, window.row + window.height))
        left, right = ((x / self.ratio - part.col) / part.width for x in (window.col, window.col + window.width))
        return ViewBox(left, top, right, bottom)


Doubts = dict[tuple[int, int], float]
"""Mean uncertainty of windows that hold data, by row and column in their grid."""


def find_doubts(probabilities: ProbabilityMap, ratio: int, grid: Grid, places: Iterable[Place]) -> Doubts:
    """How unsure a coarser view is, on average, of what windows of a grid decide."""
    doubts = {}
    for place in places:
        rows, cols = grid.inside(place)
        top, left = (place.window.row + rows.start) // ratio, (place.window.col + cols.start) // ratio
        bottom, right = -(-(place.window.row + rows.stop) // ratio), -(-(place.window.col + cols.stop) // ratio)
        part = Window(top, left, bottom - top, right - left).clip(probabilities.height, probabilities.width)
        shares = probabilities.read(part)
        known = shares.any(axis=0)
        if known.any():
            doubts[place.i, place.j] = float(_uncertainty(shares)[known].mean())
    return doubts


def surest(doubts: Sequence[Doubts], fraction: float) -> list[frozenset[tuple[int, int]]]:
    """The windows of each of some grids to skip: all but that share of them, taken together, that is the least sure.

    MagNet-Fast (Huynh et al. 2021, section 3.4) refines the patches of the highest mean uncertainty.
    """
    ranked = sorted((-doubt, which, where) for which, of in enumerate(doubts) for where, doubt in of.items())
    skipped = ranked[math.ceil(fraction * len(ranked) - 1e-9) :]
    return [frozenset(where for _, of, where in skipped if of == which) for which in range(len(doubts))]


def _uncertainty(shares: Shares) -> NDArray[np.float64]:
    """1 less the margin between the two most likely classes (h, w)."""
    second, best = np.partition(shares, -2, axis=0)[-2:].astype(np.int64)
    doubt: NDArray[np.float64] = 1 - (best - second) / 255
    return doubt
