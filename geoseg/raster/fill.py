"""Fill that no tag tells of: a constant in all bands, from the frame of a scene inwards.

In: samples along the frame; later, windows of the scene. Out: the value of the fill and how far JPEG blurred it; which
pixels are fill. Opens no file: whoever asks hands in what reads windows.

Fill are cells of `CELL` pixels a side that hold nothing but the constant and hang together with the frame, side by
side; and in the cells around them the pixels that are as near to it as JPEG leaves them. So a white roof or dark water
inside of the scene is none. Cells lie on a lattice of the scene, so that which pixels are fill depends on no window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geoseg.geo.grid import Window

Values = NDArray[Any]
Mask = NDArray[np.bool_]

CELL = 8
"""Side of a cell in the smallest case: strips of fill that are narrower are not followed."""
_AROUND_PX = 24
"""How far beside cells of fill its pixels are fill as well: JPEG blurs 16 pixels, and corners are pointed."""
_MOST_CELLS = 2**24
"""Cells are larger in larger scenes: a byte for each is held."""
_CHUNK_CELLS = 128
"""Cells along a side of what is read at once."""
_LEAST_OF_FRAME = 0.05
"""Share of the frame from which a constant is taken for fill: less may be a roof, a cloud, a shadow."""
_MOST_NEAR = 0.1
"""Pixels nearly of the value for each that has it: more of them is snow or water, which darkens bit by bit."""
_USUAL = 0, 255, 65535, -9999, -32768
"""Values that writers fill with, beside the lowest and highest of a type."""
_NEAR, _CORE = 12, 2
"""How far JPEG takes 8-bit fill from its value: beside imagery, and elsewhere."""
_BRIGHT = 60
"""How far from white snow and clouds are for long where they begin to saturate."""


@dataclass(frozen=True)
class Fill:
    """A constant that fills a scene from its frame inwards."""

    value: float
    """In all bands."""
    core: int
    """How far values of the fill may be from it: 0, but for what JPEG blurred as a whole."""
    edge: int
    """How far they may be from it beside imagery."""
    frame_share: float
    """Share of the scene's frame that is fill, as sampled."""

    @property
    def is_exact(self) -> bool:
        """Whether no pixel of it has another value."""
        return self.edge == 0

    def describe(self) -> str:
        """Say what and where it is."""
        about = "" if self.is_exact else "about "
        return f"a constant of {about}{self.value:g} in all bands takes {self.frame_share:.0%} of the scene's frame"


def is_close(image: Values, value: float, tolerance: int) -> Mask:
    """Which pixels (h, w) of an image (C, h, w) have a value in all bands, as far as a tolerance allows."""
    if not tolerance:
        exact: Mask = (image == value).all(axis=0)
        return exact
    close: Mask = (np.abs(image.astype(np.float32) - value) <= tolerance).all(axis=0)
    return close


# ------------------------------------------------------------------------------------------------------------- finding


def frame_windows(height: int, width: int, side_rows: int) -> list[Window]:
    """Windows 4 pixels deep along a scene's frame, 16 a side, as far as they differ; bounded at any size.

    Args:
        height: of the scene.
        width: of the scene.
        side_rows: rows of those on the left and right: few where a row of the file costs as much as all of it.
    """
    rows = sorted({(2 * i + 1) * height // 32 for i in range(16)})
    cols = sorted({(2 * i + 1) * width // 32 for i in range(16)})
    deep_rows, deep_cols = min(4, height), min(4, width)
    across = [Window(row, col, deep_rows, 64) for row, col in product((0, height - deep_rows), cols)]
    along = [Window(row, col, side_rows, deep_cols) for row, col in product(rows, (0, width - deep_cols))]
    return [window.clip(height, width) for window in across + along]


def find_fill(frame: Sequence[tuple[Values, Mask]], inside: Values, *, is_lossy: bool) -> Fill | None:
    """Find fill in samples.

    Args:
        frame: values (C, h, w) along the frame, and which of them count as data so far (h, w).
        inside: values (C, n) from all over the scene.
        is_lossy: whether the file's compression changes values.
    """
    limits = np.finfo(inside.dtype) if inside.dtype.kind == "f" else np.iinfo(inside.dtype)
    candidates = list(dict.fromkeys(map(float, (*_USUAL, limits.min, limits.max, *_constants(frame, inside)))))
    for tolerance in (0, _CORE) if inside.dtype == np.uint8 else (0,):
        found = [fill for v in candidates if (fill := _examine(v, tolerance, frame, inside, is_lossy=is_lossy))]
        if found:
            return max(found, key=lambda fill: fill.frame_share)
    return None


def _constants(frame: Sequence[tuple[Values, Mask]], inside: Values) -> list[Any]:
    """Values of windows along the frame that hold one alone; in 8 bits those are classes more often than fill."""
    if inside.dtype.itemsize == 1:
        return []
    firsts = [(image, image.flat[0]) for image, _ in frame if image.size]
    return [value for image, value in firsts if (image == value).all()]


def _examine(
    value: float, tolerance: int, frame: Sequence[tuple[Values, Mask]], inside: Values, *, is_lossy: bool
) -> Fill | None:
    """A value as fill, if it takes enough of the frame in whole stretches and ends sharply."""
    cores = [is_close(image, value, tolerance) & valid for image, valid in frame]
    total, whole = sum(core.size for core in cores), sum(core.size for core in cores if core.all())
    if not total or whole < _LEAST_OF_FRAME * total:
        return None
    reach = _NEAR if inside.dtype == np.uint8 else 0
    if reach and bool(is_close(inside[:, None], value, reach).all()):  # classes, or dark imagery: near is no blur
        if tolerance:
            return None
        reach = 0
    nears = [is_close(image, value, reach) & valid & ~core for (image, valid), core in zip(frame, cores, strict=True)]
    exact = sum(int(core.sum()) for core in cores)
    if sum(int(near.sum()) for near in nears) > _MOST_NEAR * exact:
        return None
    beside = [near[_beside(core) & ~core] for near, core in zip(nears, cores, strict=True)]
    is_ringed = _mostly(np.concatenate(beside))
    if value == 255 and is_ringed and _mostly(_bright_beside(frame, cores, nears)):
        return None
    return Fill(float(value), tolerance, reach if tolerance or is_lossy or is_ringed else 0, exact / total)


def _bright_beside(frame: Sequence[tuple[Values, Mask]], cores: Sequence[Mask], nears: Sequence[Mask]) -> Mask:
    """Which pixels (n) that are neither white nor nearly so, in windows where white ends, are bright nevertheless."""
    ends = [(image, ~core & ~near) for (image, _), core, near in zip(frame, cores, nears, strict=True) if core.any()]
    return np.concatenate([is_close(image, 255, _BRIGHT)[rest] for image, rest in ends])


def _mostly(mask: Mask) -> bool:
    return mask.size > 0 and bool(mask.mean() >= 0.5)


# ------------------------------------------------------------------------------------------------------------- tracing


@dataclass(frozen=True)
class FillMap:
    """Where fill lies, cell by cell."""

    fill: Fill
    """What it is."""
    cell: int
    """Side of a cell in pixels."""
    cells: Mask
    """Cells (rows, columns) in which pixels of its value are fill."""

    def mask(self, window: Window, image: Values) -> Mask:
        """Which pixels (h, w) of a window are fill, given the values (C, h, w) as the file has them."""
        rows = np.arange(window.row, window.row + window.height) // self.cell
        cols = np.arange(window.col, window.col + window.width) // self.cell
        here = self.cells[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        if not here.any():
            return np.zeros((window.height, window.width), bool)
        inside: Mask = here[rows - rows[0]][:, cols - cols[0]]
        return inside & is_close(image, self.fill.value, self.fill.edge)


def trace_fill(fill: Fill, height: int, width: int, read: Callable[[Window], Values]) -> FillMap:
    """Follow fill from a scene's frame inwards; no more is read than the frame, the fill, and what lies around it.

    Args:
        fill: what is followed.
        height: of the scene.
        width: of the scene.
        read: reads a window of the scene: values (C, h, w) as the file has them.
    """
    cell = max(CELL, math.ceil(math.sqrt(height * width / _MOST_CELLS)))
    tracing = _Tracing(fill, Window(0, 0, height, width), cell, read)
    tracing.run()
    around = tracing.reached
    for _ in range(-(-_AROUND_PX // cell)):
        around = _with_neighbours(around)
    return FillMap(fill, cell, around | tracing.touched)


class _Tracing:
    """Cells of fill that hang together with the frame, found chunk by chunk."""

    def __init__(self, fill: Fill, scene: Window, cell: int, read: Callable[[Window], Values]):
        self._fill, self._scene, self._cell, self._read = fill, scene, cell, read
        self.shape = -(-scene.height // cell), -(-scene.width // cell)
        self.reached = np.zeros(self.shape, bool)
        """Cells of nothing but fill, side by side up to the frame."""
        self.touched = np.zeros(self.shape, bool)
        """Cells at the frame whose outermost pixels are all fill."""
        self._full: dict[tuple[int, int], Mask] = {}

    def run(self) -> None:
        """Begin at the frame, and go on wherever a chunk's border was reached."""
        chunks = tuple(-(-size // _CHUNK_CELLS) for size in self.shape)
        queue = deque((i, j) for i, j in np.ndindex(chunks) if i in (0, chunks[0] - 1) or j in (0, chunks[1] - 1))
        while queue:
            chunk = queue.popleft()
            if self._spread(chunk):
                queue.extend(near for near in _neighbours(chunk, chunks) if near not in queue)

    def _spread(self, chunk: tuple[int, int]) -> bool:
        """Reach what hangs together in a chunk with what is reached already; whether that is more than before."""
        where = self._where(chunk)
        if not self._seeds(where).any():
            return False
        if chunk not in self._full:
            self._full[chunk] = self._look(where)
        full = self._full[chunk]
        grown = full & self._seeds(where)
        while (more := full & (grown | _beside(grown))).sum() > grown.sum():
            grown = more
        is_more = bool((grown & ~self.reached[where.slices]).any())
        self.reached[where.slices] |= grown
        return is_more

    def _where(self, chunk: tuple[int, int]) -> Window:
        """A chunk as a window of cells."""
        row, col = (index * _CHUNK_CELLS for index in chunk)
        return Window(row, col, _CHUNK_CELLS, _CHUNK_CELLS).clip(*self.shape)

    def _seeds(self, where: Window) -> Mask:
        """Cells of a window at the frame, or beside what is reached already."""
        around = Window(where.row - 1, where.col - 1, where.height + 2, where.width + 2).clip(*self.shape)
        beside = _beside(self.reached[around.slices])
        seeds: Mask = beside[where.shift(-around.row, -around.col).slices].copy()
        rows, cols = (
            np.arange(start, start + size) for start, size in ((where.row, where.height), (where.col, where.width))
        )
        seeds[(rows == 0) | (rows == self.shape[0] - 1)] = True
        seeds[:, (cols == 0) | (cols == self.shape[1] - 1)] = True
        return seeds

    def _look(self, where: Window) -> Mask:
        """Read a chunk: which of its cells are nothing but fill; those at the frame that are so outermost are kept."""
        cell = self._cell
        window = Window(where.row * cell, where.col * cell, where.height * cell, where.width * cell)
        window = window.clip(self._scene.height, self._scene.width)
        core = is_close(self._read(window), self._fill.value, self._fill.core)
        self._touch(where, window, core)
        return _all_in_cells(core, cell)

    def _touch(self, where: Window, window: Window, core: Mask) -> None:
        """Mark the cells at the frame whose outermost pixels are fill."""
        touched, cell = self.touched[where.slices], self._cell
        for line, at_frame, cells in (
            (core[:1], window.row == 0, touched[:1]),
            (core[-1:], window.row + window.height == self._scene.height, touched[-1:]),
            (core[:, :1], window.col == 0, touched[:, :1]),
            (core[:, -1:], window.col + window.width == self._scene.width, touched[:, -1:]),
        ):
            if at_frame:
                cells |= _all_in_cells(line, cell)


def _with_neighbours(mask: Mask) -> Mask:
    """Pixels that are true or touch a true one, at a corner, too."""
    padded = np.pad(mask, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    grown: Mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return grown


def _beside(mask: Mask) -> Mask:
    """Which pixels have a true one above, below, to the left or to the right."""
    padded = np.pad(mask, 1)
    beside: Mask = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return beside


def _all_in_cells(mask: Mask, cell: int) -> Mask:
    """Which cells (rows, columns) are true all over; cells at the lower and right end may be cut."""
    starts = [np.arange(0, size, cell) for size in mask.shape]
    whole: Mask = np.logical_and.reduceat(np.logical_and.reduceat(mask, starts[0], axis=0), starts[1], axis=1)
    return whole


def _neighbours(chunk: tuple[int, int], chunks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Chunks beside one."""
    for row, col in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        i, j = chunk[0] + row, chunk[1] + col
        if 0 <= i < chunks[0] and 0 <= j < chunks[1]:
            yield i, j
