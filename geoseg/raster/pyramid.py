"""The wider, coarser views of the ground around a window.

In: a raster of any size, and the levels of a ContextSpec. Out: views (C + 1, n, n), float32: band values averaged over
the pixels with data, and the share of each context pixel that holds data; and where a window lies in its view. Knows no
network.

Edge coordinates everywhere: pixel i covers [i, i + 1) of the scene, and pixel k of a level covers [k r, (k + 1) r), r
being the *actual* ratio of the two sizes. Nothing is shifted by half a pixel, nothing drifts towards the far edge.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import uuid4
from weakref import finalize

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from geoseg.core.errors import OutputError
from geoseg.core.events import SILENT, Progress, Reporter
from geoseg.core.files import one_line
from geoseg.core.queues import WriteBehind
from geoseg.geo.grid import Window
from geoseg.raster.level_grid import LevelGrid, ViewBox
from geoseg.raster.readable import Readable
from geoseg.spec import ContextLevel

Weighted = NDArray[np.float32]
"""Band values and, behind them, the share of each pixel that holds data (C + 1, h, w); values are 0 where that is 0."""
Edges = NDArray[np.float64]
"""Borders of successive context pixels along one axis, in pixels of what is averaged (n + 1,)."""

STRIP_PX = 512
"""Height of the strips in which a raster is averaged, in its own pixels."""
CHUNK_PX = 2**20
"""Pixels of a raster read at once while it is averaged; up to three such chunks are held."""
MAPPED_ROWS = 64
"""Rows of a file mapped at once: what is mapped counts as memory, and more of it than is touched."""
HELD_BYTES = 16 * 2**20
"""A copy of no more bytes stays in memory: training may have thousands of small grounds, and files are few."""


class ContextPyramid:
    """The levels over one raster, read view by view.

    The raster is averaged once, chunk by chunk, when the first view is read: into memory, or into a scratch file of the
    given folder. Everything else, coarser levels and the whole scene among them, is made from that copy, so that memory
    holds a few chunks and one view, whatever the size of the scene, and the user's file is only ever read.
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
        """Prepare to read.

        Args:
            base: what is averaged: the scene, or an overview of it, which is read faster.
            levels: what is shown.
            size: height and width in which windows are given; None means the base's own. The base shows the same
                ground, in pixels that are no wider than the finest level's.
            folder: gets the scratch file, which nobody sees and which goes with the pyramid; None keeps all in memory.
            shared: instead, a file that stays, and is read where it is there: others have averaged the same raster.
            has_wide_blocks: blocks of the base are whole rows, all of which must be decoded for any of their pixels.
        """
        height, width = size or (base.height, base.width)
        self.grids = tuple(LevelGrid(level, height, width) for level in levels)
        """Geometry of each level."""
        self._base, self._folder, self._shared, self._has_wide_blocks = base, folder, shared, has_wide_blocks
        self._copy: _Store | None = None
        self._scenes: dict[int, Weighted] = {}

    @cached_property
    def finest(self) -> int:
        """Number of the level that is averaged from the raster itself; the others are averaged from it."""
        return min(range(len(self.grids)), key=lambda number: max(self.grids[number].ratio))

    def prepare(self, reporter: Reporter = SILENT) -> None:
        """Average the raster, if that was not done yet; the progress of `averaging` counts context rows.

        Raises:
            SceneError: if the raster cannot be read.
            OutputError: if the scratch file cannot be written.
        """
        if self._copy is not None:
            return
        grid = self.grids[self.finest]
        if self._shared is not None and self._shared.exists():
            self._copy = _Store.load(self._shared, grid)
            return
        base, copying = _Base(self._base, grid), _Copying(grid, self._folder, self._shared)
        with WriteBehind(copying.take, depth=1) as behind:  # one part is averaged while the next is decoded
            for strip in _strips(grid.whole, grid.side(base.pixel), self._has_wide_blocks):
                for part in strip:
                    behind.put(_cut(base, grid, part))
                reporter.progress(Progress("averaging", strip[-1].row + strip[-1].height, grid.rows))
        assert copying.store is not None  # a scene has pixels
        copying.store.finish()
        self._copy = copying.store

    def view(self, level: int, window: Window, origin: tuple[int, int] = (0, 0)) -> Window:
        """Return the context pixels that a window of the scene sees, which name its view; see `LevelGrid.view`."""
        return self.grids[level].view(window, origin)

    def box(self, level: int, window: Window, view: Window) -> ViewBox:
        """Where a window of the scene lies in a view."""
        return self.grids[level].box(window, view)

    def read(self, level: int, part: Window) -> Weighted:
        """Read context pixels of a level (C + 1, h, w); beyond the raster, nothing holds data.

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
        if grid.level.ratio != "scene":
            return _average(copy, grid, part)
        if level not in self._scenes:
            self._scenes[level] = _average(copy, grid, grid.whole)
        return self._scenes[level][:, *part.slices].copy()


def _strips(part: Window, side: tuple[float, float], is_whole: bool = False) -> Iterator[list[Window]]:
    """Cut context pixels into strips, and each into parts that need no more than a chunk of what is averaged.

    Args:
        part: the context pixels.
        side: height and width of one, in pixels of what is averaged.
        is_whole: do not cut strips, for blocks of it are whole rows, which each part would have to decode again.
    """
    down, right = side
    height = max(1, int(min(STRIP_PX, CHUNK_PX / (part.width * right) if is_whole else math.inf) / down))
    width = part.width if is_whole else max(1, int(CHUNK_PX / (height * down * right)))
    for strip in part.bands(height):
        stop = strip.col + strip.width
        starts = range(strip.col, stop, width)
        yield [Window(strip.row, col, strip.height, min(width, stop - col)) for col in starts]


# ------------------------------------------------------------------------------------------------------------ averaging


class _Raster(Protocol):
    """What is averaged."""

    height: int
    width: int
    pixel: tuple[float, float]
    """Height and width of its pixels, in pixels of the scene."""

    def read(self, window: Window) -> Weighted:
        """Read a window inside, to be changed at will."""
        ...


class _Base:
    """A raster with the weight of its pixels: one where there is data."""

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


@dataclass(frozen=True)
class _Cut:
    """What is averaged to some context pixels."""

    part: Window
    """The context pixels."""
    weighted: Weighted
    """The pixels (C + 1, h, w)."""
    rows: Edges
    """Borders of the context pixels' rows in them."""
    cols: Edges
    """And of their columns."""

    def means(self) -> Weighted:
        """Average over context pixels, by area and over what holds data; uses the pixels up."""
        sums = self.weighted
        if sums[-1].min() < 1:
            sums[:-1] *= sums[-1]
        means = _means(sums, self.rows, self.cols)
        np.divide(means[:-1], means[-1], out=means[:-1], where=means[-1] > 0)
        return means


def _cut(raster: _Raster, grid: LevelGrid, part: Window) -> _Cut:
    """Read what context pixels inside the level's raster show."""
    rows, cols = grid.edges(part, raster.pixel)
    spare = 0 if _is_whole(rows) and _is_whole(cols) else 1  # pixels at whose slope the outermost ones are cut
    top, left = (max(0, math.floor(edges[0] + 1e-9) - spare) for edges in (rows, cols))
    bottom, right = (math.ceil(edges[-1] - 1e-9) + spare for edges in (rows, cols))
    wanted = Window(top, left, bottom - top, right - left)
    inside = wanted.clip(raster.height, raster.width)
    weighted = raster.read(inside)
    missing = wanted.height - inside.height, wanted.width - inside.width  # of the last context pixel, beyond the edge
    if any(missing):
        weighted = np.pad(weighted, ((0, 0), (0, missing[0]), (0, missing[1])))
    return _Cut(part, weighted, rows - top, cols - left)


def _average(raster: _Store, grid: LevelGrid, part: Window) -> Weighted:
    """Average a raster over context pixels inside the level's raster, chunk by chunk."""
    found = np.empty((raster.channels, part.height, part.width), np.float32)
    for strip in _strips(part, grid.side(raster.pixel)):
        for chunk in strip:
            found[:, *chunk.shift(-part.row, -part.col).slices] = _cut(raster, grid, chunk).means()
    return found


def _means(weighted: Weighted, rows: Edges, cols: Edges) -> Weighted:
    """Mean between successive edges along both axes, of values that have been multiplied by their weight."""
    if _is_whole(rows) and _is_whole(cols):  # the usual case, several times as fast
        inner = weighted[:, int(rows[0]) : int(rows[-1]), int(cols[0]) : int(cols[-1])]
        sides = int(rows[1] - rows[0]), int(cols[1] - cols[0])
        pooled: Weighted = functional.avg_pool2d(torch.from_numpy(inner)[None], sides)[0].numpy()
        return pooled
    sums = _sums(_sums(weighted, cols, 2).astype(np.float32), rows, 1)
    means: Weighted = (sums / np.outer(np.diff(rows), np.diff(cols))).astype(np.float32)
    return means


def _is_whole(edges: Edges) -> bool:
    """Whether no edge cuts a pixel, and all have the same distance."""
    return edges[0] == int(edges[0]) and np.array_equal(
        edges, np.arange(len(edges)) * round(edges[1] - edges[0]) + edges[0]
    )


def _sums(weighted: Weighted, edges: Edges, axis: int) -> NDArray[np.float64]:
    """Sum between successive edges along one axis, from the running sums at the edges.

    Pixels that an edge cuts are taken as sloping, not as flat: a flat pixel would move a ramp by up to an eighth of it.
    With slope s, the first share f of a pixel of value v holds f v - s f (1 - f) / 2.
    """
    running = np.cumsum(weighted, axis=axis, dtype=np.float64)
    running = np.insert(running, 0, 0, axis=axis)
    whole = np.floor(edges + 1e-9).astype(int)
    share = np.maximum(edges - whole, 0)
    cut = np.minimum(whole, weighted.shape[axis] - 1)
    inside = weighted.take(cut, axis) * _along(share, axis)
    bent = _slope(weighted, cut, axis) * _along(share * (1 - share) / 2, axis)
    sums: NDArray[np.float64] = np.diff(running.take(whole, axis) + inside - bent, axis=axis)
    return sums


def _slope(weighted: Weighted, at: NDArray[np.int64], axis: int) -> Weighted:
    """Slope of values along one axis at some pixels: to both neighbours, or to the one that weighs as much."""
    before, here, after = (weighted.take(at + step, axis, mode="clip") for step in (-1, 0, 1))
    last = weighted.shape[axis] - 1
    is_like_before = (before[-1] == here[-1]) & _along(at > 0, axis)
    is_like_after = (after[-1] == here[-1]) & _along(at < last, axis)
    known = np.maximum(is_like_before.astype(np.float32) + is_like_after, 1)
    slope: Weighted = ((here - before) * is_like_before + (after - here) * is_like_after) / known
    return slope


def _along(values: NDArray[Any], axis: int) -> NDArray[Any]:
    """Lay values (n,) along an axis of an array (N, h, w)."""
    return values if axis == 2 else values[:, None]


class _Copying:
    """Takes parts of a raster, and stores what they are on average."""

    def __init__(self, grid: LevelGrid, folder: Path | None, shared: Path | None):
        self.store: _Store | None = None
        self._grid, self._folder, self._shared = grid, folder, shared

    def take(self, cut: _Cut) -> None:
        """Average a part and store it."""
        means = cut.means()
        self.store = self.store or _Store(len(means), self._grid, self._folder, self._shared)
        self.store.write(cut.part, means)


class _Store:
    """A raster (channels, height, width) that is written and read window by window, in memory or in a file.

    A file of its own has no name, or loses it when it is closed; one that is shared gets its name when it is whole. It
    is mapped only while a few rows are read, and never to be written: a full disk must be an error.
    """

    def __init__(self, channels: int, grid: LevelGrid, folder: Path | None, shared: Path | None = None):
        self.channels, self.height, self.width, self.pixel = channels, grid.rows, grid.cols, grid.ratio
        self._held: NDArray[np.float32] | None = None
        self._file: IO[bytes] | Path | None = None
        self._shared = shared
        with _writing():
            if shared is not None:
                self._file = shared.with_name(f"{shared.name}.{uuid4().hex}")
                self._file.touch()
                finalize(self, self._file.unlink, missing_ok=True)
            elif folder is not None and 4 * channels * grid.rows * grid.cols > HELD_BYTES:
                self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is kept

    @classmethod
    def load(cls, path: Path, grid: LevelGrid) -> _Store:
        """A raster that lies in a shared file."""
        loaded = cls(path.stat().st_size // (4 * grid.rows * grid.cols), grid, None)
        loaded._file = path
        return loaded

    def write(self, window: Window, values: Weighted) -> None:
        """Write a window inside (channels, h, w)."""
        lines = np.ascontiguousarray(values.transpose(1, 0, 2), np.float32)
        if self._file is None:
            if self._held is None:
                self._held = np.empty(self._shape, np.float32)
            rows, cols = window.slices
            self._held[rows, :, cols] = lines
            return
        with _writing():
            if isinstance(self._file, Path):
                with self._file.open("rb+") as file:
                    self._write_lines(file, window, lines)
            else:
                self._write_lines(self._file, window, lines)
                self._file.flush()

    def _write_lines(self, file: IO[bytes], window: Window, lines: NDArray[np.float32]) -> None:
        """Write rows of channels (h, channels, w) to where they belong."""
        for row, channel in np.ndindex(lines.shape[:2]):
            file.seek(4 * (((window.row + row) * self.channels + channel) * self.width + window.col))
            file.write(lines[row, channel].tobytes())

    def finish(self) -> None:
        """Let others see what has been written; the last one to finish wins, and all have written the same."""
        if self._shared is not None and isinstance(self._file, Path):
            with _writing():
                with self._file.open("rb+") as file:
                    os.fsync(file.fileno())
                os.replace(self._file, self._shared)
            self._file = self._shared

    def read(self, window: Window) -> Weighted:
        """Read a window inside (channels, h, w), to be changed at will."""
        found = np.empty((self.channels, window.height, window.width), np.float32)
        for band in window.bands(MAPPED_ROWS):
            rows, cols = band.slices
            values = self._all()[rows, :, cols].transpose(1, 0, 2)
            found[:, *band.shift(-window.row, -window.col).slices] = values
        return found

    @property
    def _shape(self) -> tuple[int, int, int]:
        """How the file's values lie in it."""
        return self.height, self.channels, self.width

    def _all(self) -> NDArray[np.float32]:
        if self._file is not None:
            return np.memmap(self._file, np.float32, "r", shape=self._shape)
        assert self._held is not None  # it was written
        return self._held


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write the context's scratch file: {one_line(error)}: check the folder and the free space"
        ) from None
