"""Context pyramid: wider, coarser views of the surroundings of a window.

In: a raster of any size, and the levels of a ContextSpec or RefineSpec. Out: views (C + 1, n, n), float32: band values
averaged over the pixels with data, and the fraction of each context pixel that holds data; and the position of a window
in its view. Knows no network.

Edge coordinates everywhere: pixel i covers [i, i + 1) of the scene, and pixel k of a level covers [k r, (k + 1) r), r
being the *actual* ratio of the two sizes. Nothing is shifted by half a pixel, nothing drifts towards the far edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from geoseg.core.events import SILENT, Progress, Reporter
from geoseg.core.queues import WriteBehind
from geoseg.geo.grid import Window
from geoseg.raster.averaging import Edges, Weighted, area_means, is_even
from geoseg.raster.level_grid import LevelGrid, ViewBox
from geoseg.raster.readable import Readable
from geoseg.raster.window_store import WindowStore
from geoseg.spec import ContextLevel

STRIP_ROWS = 512
"""Height in pixels of the strips in which a raster is averaged."""
CHUNK_PX = 2**20
"""Pixels of a raster read at once while it is averaged; up to three such chunks are held."""


class ContextPyramid:
    """The context levels of one raster, read view by view.

    When the first view is read, the raster is averaged to the finest level, chunk by chunk, into memory or a scratch
    file. The coarser levels are averaged from that, so memory holds a few chunks and one view, whatever the size of the
    scene. The user's file is never written.
    """

    def __init__(
        self,
        base: Readable,
        levels: Sequence[ContextLevel],
        *,
        size: tuple[int, int] | None = None,
        folder: Path | None = None,
        shared: Path | None = None,
        has_wide_blocks: bool = False,
    ):
        """Describe the pyramid; nothing is read yet.

        Args:
            base: the raster that is averaged: the scene, or an overview of it, which is read faster.
            levels: the context levels.
            size: height and width of the raster in whose pixels windows are given; None means those of the base, which
                covers the same area in pixels no larger than those of the finest level.
            folder: folder of the scratch file, which is removed with the pyramid; None keeps all in memory.
            shared: path of a file to keep instead, and to read if it exists: other processes use the same levels.
            has_wide_blocks: whether blocks of the base are whole rows, which are decoded for any of their pixels.
        """
        height, width = size or (base.height, base.width)
        self.grids = tuple(LevelGrid(level, height, width) for level in levels)
        """Geometry of each level."""
        self._base, self._folder, self._shared, self._has_wide_blocks = base, folder, shared, has_wide_blocks
        self._copy: WindowStore | None = None
        self._scenes: dict[int, Weighted] = {}

    @cached_property
    def finest(self) -> int:
        """Index of the level that is averaged from the raster itself; the others are averaged from it."""
        return min(range(len(self.grids)), key=lambda number: max(self.grids[number].ratio))

    def prepare(self, reporter: Reporter = SILENT) -> None:
        """Average the raster to the finest level, unless that is done; reports `averaging`, in rows of that level.

        Raises:
            SceneError: if the raster cannot be read.
            OutputError: if the scratch file cannot be written.
        """
        if self._copy is not None:
            return
        grid = self.grids[self.finest]
        if self._shared is not None and self._shared.exists():
            self._copy = WindowStore.load(self._shared)
            return
        base, copying = _Base(self._base, grid), _Copying(grid, self._folder or (self._shared and self._shared.parent))
        with WriteBehind(copying.take, depth=1) as behind:  # one part is averaged while the next is decoded
            for strip in _strips(grid.whole, grid.side(base.pixel), self._has_wide_blocks):
                for part in strip:
                    behind.put(_cut(base, grid, part))
                reporter.progress(Progress("averaging", strip[-1].row + strip[-1].height, grid.rows))
        assert copying.store is not None  # a scene has pixels
        self._copy = copying.store if self._shared is None else copying.store.publish(self._shared)

    def view(self, level: int, window: Window, origin: tuple[int, int] = (0, 0)) -> Window:
        """Return the view of a window of the scene, in context pixels; see `LevelGrid.view`."""
        return self.grids[level].view(window, origin)

    def box(self, level: int, window: Window, view: Window) -> ViewBox:
        """Position of a window of the scene in a view."""
        return self.grids[level].box(window, view)

    def read(self, level: int, part: Window) -> Weighted:
        """Read context pixels of a level (C + 1, h, w); those beyond the raster hold no data.

        Raises:
            SceneError: if the raster cannot be read.
            OutputError: if the scratch file cannot be written.
        """
        grid = self.grids[level]
        inside = part.clip(grid.rows, grid.cols)
        found = self._inside(level, inside)
        if inside == part:
            return found
        values = np.zeros((len(found), part.height, part.width), np.float32)
        values[:, *inside.shift(-part.row, -part.col).slices] = found
        return values

    def _inside(self, level: int, part: Window) -> Weighted:
        self.prepare()
        copy, grid = self._copy, self.grids[level]
        assert copy is not None  # prepare has made it
        if not part.pixels:
            return np.zeros((copy.channels, part.height, part.width), np.float32)
        if level == self.finest:
            return copy.read(part)
        finest = _Stored(copy, self.grids[self.finest])
        if grid.level.ratio != "scene":
            return _average(finest, grid, part)
        if level not in self._scenes:
            self._scenes[level] = _average(finest, grid, grid.whole)
        return self._scenes[level][:, *part.slices].copy()


def _strips(part: Window, side: tuple[float, float], is_whole: bool = False) -> Iterator[list[Window]]:
    """Cut context pixels into strips, and each into parts that are averaged from no more than CHUNK_PX pixels.

    Args:
        part: the context pixels.
        side: height and width of one, in pixels of the raster that is averaged.
        is_whole: do not cut strips, because the blocks of that raster are whole rows, decoded again for each part.
    """
    down, right = side
    height = max(1, int(min(STRIP_ROWS, CHUNK_PX / (part.width * right) if is_whole else math.inf) / down))
    width = part.width if is_whole else max(1, int(CHUNK_PX / (height * down * right)))
    for strip in part.bands(height):
        stop = strip.col + strip.width
        starts = range(strip.col, stop, width)
        yield [Window(strip.row, col, strip.height, min(width, stop - col)) for col in starts]


# ------------------------------------------------------------------------------------------------------------ averaging


class _Raster(Protocol):
    """A raster to be averaged."""

    height: int
    width: int
    pixel: tuple[float, float]
    """Height and width of its pixels, in pixels of the scene."""

    def read(self, window: Window) -> Weighted:
        """Read a window inside, free to be changed."""
        ...


class _Base:
    """A raster with weights: 1 where a pixel holds data."""

    def __init__(self, raster: Readable, grid: LevelGrid):
        self._raster = raster
        self.height, self.width = raster.height, raster.width
        self.pixel = grid.height / raster.height, grid.width / raster.width

    def read(self, window: Window) -> Weighted:
        values, valid = self._raster.read(window)
        weighted = np.empty((len(values) + 1, window.height, window.width), np.float32)
        weighted[:-1], weighted[-1] = values, valid
        if not valid.all():
            np.copyto(weighted[:-1], 0, where=~valid)
        return weighted


class _Stored:
    """A level that has been averaged."""

    def __init__(self, store: WindowStore, grid: LevelGrid):
        self._store, self.channels, self.height, self.width = store, *store.shape
        self.pixel = grid.ratio

    def read(self, window: Window) -> Weighted:
        return self._store.read(window)


@dataclass(frozen=True)
class _Cut:
    """The pixels from which some context pixels are averaged."""

    part: Window
    """The context pixels."""
    weighted: Weighted
    """The pixels (C + 1, h, w)."""
    rows: Edges
    """Borders of the rows of context pixels, in these pixels."""
    cols: Edges
    """Borders of the columns of context pixels."""

    def means(self) -> Weighted:
        """Average over the context pixels; overwrites `weighted`."""
        return area_means(self.weighted, self.rows, self.cols)


def _cut(raster: _Raster, grid: LevelGrid, part: Window) -> _Cut:
    """Read the pixels from which context pixels inside the level's raster are averaged."""
    rows, cols = grid.edges(part, raster.pixel)
    spare = 0 if is_even(rows) and is_even(cols) else 1  # the neighbours of pixels that the outermost borders cut
    top, left = (max(0, math.floor(edges[0] + 1e-9) - spare) for edges in (rows, cols))
    bottom, right = (math.ceil(edges[-1] - 1e-9) + spare for edges in (rows, cols))
    wanted = Window(top, left, bottom - top, right - left)
    inside = wanted.clip(raster.height, raster.width)
    weighted = raster.read(inside)
    missing = wanted.height - inside.height, wanted.width - inside.width  # of the last context pixel, beyond the edge
    if any(missing):
        weighted = np.pad(weighted, ((0, 0), (0, missing[0]), (0, missing[1])))
    return _Cut(part, weighted, rows - top, cols - left)


def _average(raster: _Stored, grid: LevelGrid, part: Window) -> Weighted:
    """Average a raster over context pixels inside the level's raster, chunk by chunk."""
    found = np.empty((raster.channels, part.height, part.width), np.float32)
    for strip in _strips(part, grid.side(raster.pixel)):
        for chunk in strip:
            found[:, *chunk.shift(-part.row, -part.col).slices] = _cut(raster, grid, chunk).means()
    return found


class _Copying:
    """Takes parts of a raster, and stores their averages."""

    def __init__(self, grid: LevelGrid, folder: Path | None):
        self.store: WindowStore | None = None
        self._grid, self._folder = grid, folder

    def take(self, cut: _Cut) -> None:
        """Average a part and store it."""
        means = cut.means()
        if self.store is None:
            self.store = WindowStore(len(means), self._grid.rows, self._grid.cols, self._folder, dtype=np.float32)
        self.store.write(cut.part, means)
