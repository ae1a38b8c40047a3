"""Fill that no tag declares: a constant in all bands, extending from the frame of a scene inwards.

In: samples along the frame; later, windows of the scene. Out: the value of the fill and how far JPEG blurred it; masks
of the pixels that are fill. Opens no file: callers pass a function that reads windows.

Fill consists of cells of `CELL` × `CELL` pixels that hold nothing but the constant and are connected to the frame by
their sides, and of pixels in the neighbouring cells that are as near to it as JPEG leaves them. So a white roof or dark
water inside of the scene is none. Cells lie on a lattice of the scene, so the result does not depend on the windows.
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
_EDGE_PX = 24
"""Distance from cells of fill up to which pixels may be fill: JPEG blurs 16 pixels, and corners are pointed."""
_MOST_CELLS = 2**24
"""Most cells of a scene, a byte each: larger scenes have larger cells."""
_CHUNK_CELLS = 128
"""Side of a chunk, which is read at once, in cells."""
_LEAST_OF_FRAME = 0.05
"""Least share of the frame that fill takes: less may be a roof, a cloud, a shadow."""
_MOST_NEAR = 0.1
"""Most pixels with nearly the value, per pixel that has it: more are snow or water, whose values change gradually."""
_ROUNDING = 1e-6
"""Relative deviation of fractions from a constant of which they are means: rounded weights do not sum to 1 exactly."""
_USUAL = 0, 255, 65535, -9999, -32768
"""Usual fill values, besides the lowest and highest of a type."""
_NEAR, _CORE = 12, 2
"""Largest deviation of 8-bit fill from its value after JPEG: next to imagery, and elsewhere."""
_BRIGHT = 60
"""Deviation from white within which snow and clouds lie near the places where they saturate."""


@dataclass(frozen=True)
class Fill:
    """A constant that fills a scene from its frame inwards."""

    value: float
    """Its value, in all bands."""
    core: int
    """Largest deviation of the fill from the value: 0, except where JPEG changed all of it."""
    edge: int
    """Largest deviation from the value next to imagery."""
    frame_share: float
    """Share of the sampled pixels of the scene's frame that is fill."""

    @property
    def is_exact(self) -> bool:
        """Whether all its pixels have exactly the value."""
        return self.edge == 0

    def describe(self) -> str:
        """Value and share of the frame, for messages."""
        about = "" if self.is_exact else "about "
        return f"a constant of {about}{self.value:g} in all bands takes {self.frame_share:.0%} of the scene's frame"


def is_close(image: Values, value: float, tolerance: int) -> Mask:
    """Mask (h, w) of the pixels of an image (C, h, w) whose values in all bands are within a tolerance of a value.

    Fractions may deviate by a rounding error: bands of another resolution are resampled.
    """
    if not tolerance:
        exact: Mask = np.logical_and.reduce(_equal(image, value), axis=0)
        return exact
    close: Mask = (np.abs(image.astype(np.float32) - value) <= tolerance).all(axis=0)
    return close


def _equal(image: Values, value: float) -> Mask:
    """Mask of the values that are equal to a number, but for rounding."""
    if image.dtype.kind != "f":
        exact: Mask = image == value
        return exact
    with np.errstate(over="ignore"):
        low, high = (image.dtype.type(value + sign * _ROUNDING * abs(value)) for sign in (-1, 1))
    found: Mask = (image >= low) & (image <= high)
    return found


# ------------------------------------------------------------------------------------------------------------- finding


def frame_windows(height: int, width: int, side_rows: int) -> list[Window]:
    """Distinct windows, 4 pixels deep, along a scene's frame: up to 16 a side.

    Args:
        height: of the scene.
        width: of the scene.
        side_rows: height of the windows on the left and right: small where reading a pixel decodes whole rows.
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
        frame: values (C, h, w) of windows along the frame, with their masks (h, w), true where tags leave data.
        inside: values (C, n) sampled all over the scene.
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
    """Values of constant windows along the frame; none for 8 bits, where they are classes more often than fill."""
    if inside.dtype.itemsize == 1:
        return []
    firsts = [(image, image.flat[0]) for image, _ in frame if image.size]
    return [value for image, value in firsts if (image == value).all()]


def _examine(
    value: float, tolerance: int, frame: Sequence[tuple[Values, Mask]], inside: Values, *, is_lossy: bool
) -> Fill | None:
    """A value as fill, if whole windows of it take enough of the frame and its edges are sharp; else None."""
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
    """Whether each pixel (n) that is not nearly white, in windows that are partly white, is bright nevertheless."""
    ends = [(image, ~core & ~near) for (image, _), core, near in zip(frame, cores, nears, strict=True) if core.any()]
    return np.concatenate([is_close(image, 255, _BRIGHT)[rest] for image, rest in ends])


def _mostly(mask: Mask) -> bool:
    return mask.size > 0 and bool(mask.mean() >= 0.5)


# ------------------------------------------------------------------------------------------------------------- tracing


@dataclass(frozen=True)
class FillMap:
    """The cells of a scene that are fill."""

    fill: Fill
    """The fill."""
    cell: int
    """Side of a cell in pixels."""
    cells: Mask
    """Cells (rows, columns) whose pixels of the value are fill."""

    def mask(self, window: Window, image: Values) -> Mask:
        """Mask (h, w) of the pixels of a window that are fill, given the values (C, h, w) as stored in the file."""
        rows = np.arange(window.row, window.row + window.height) // self.cell
        cols = np.arange(window.col, window.col + window.width) // self.cell
        here = self.cells[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
        if not here.any():
            return np.zeros((window.height, window.width), bool)
        inside: Mask = here[rows - rows[0]][:, cols - cols[0]]
        return inside & is_close(image, self.fill.value, self.fill.edge)


def trace_fill(fill: Fill, height: int, width: int, read: Callable[[Window], Values]) -> FillMap:
    """Trace fill from a scene's frame inwards; reads the frame, the fill and its neighbourhood only.

    Args:
        fill: the fill to trace.
        height: of the scene.
        width: of the scene.
        read: reads a window of the scene: values (C, h, w) as the file has them.
    """
    cell = max(CELL, math.ceil(math.sqrt(height * width / _MOST_CELLS)))
    tracing = _Tracing(fill, Window(0, 0, height, width), cell, read)
    tracing.run()
    grown = tracing.reached
    for _ in range(-(-_EDGE_PX // cell)):
        grown = _with_neighbours(grown)
    return FillMap(fill, cell, grown | tracing.touched)


class _Tracing:
    """Cells of fill connected to the frame, found chunk by chunk."""

    def __init__(self, fill: Fill, scene: Window, cell: int, read: Callable[[Window], Values]):
        self._fill, self._scene, self._cell, self._read = fill, scene, cell, read
        self.shape = -(-scene.height // cell), -(-scene.width // cell)
        self.reached = np.zeros(self.shape, bool)
        """Cells of nothing but fill, side by side up to the frame."""
        self.touched = np.zeros(self.shape, bool)
        """Cells at the frame whose outermost pixels are all fill."""
        self._full: dict[tuple[int, int], Mask] = {}

    def run(self) -> None:
        """Start at the frame, and continue in chunks whose border was reached."""
        chunks = tuple(-(-size // _CHUNK_CELLS) for size in self.shape)
        queue = deque((i, j) for i, j in np.ndindex(chunks) if i in (0, chunks[0] - 1) or j in (0, chunks[1] - 1))
        while queue:
            chunk = queue.popleft()
            if self._spread(chunk):
                queue.extend(near for near in _neighbours(chunk, chunks) if near not in queue)

    def _spread(self, chunk: tuple[int, int]) -> bool:
        """Reach the cells of a chunk connected to reached ones; whether there were new ones."""
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
        """Cells of a window at the frame, or next to reached ones."""
        grown = Window(where.row - 1, where.col - 1, where.height + 2, where.width + 2).clip(*self.shape)
        beside = _beside(self.reached[grown.slices])
        seeds: Mask = beside[where.shift(-grown.row, -grown.col).slices].copy()
        rows, cols = (
            np.arange(start, start + size) for start, size in ((where.row, where.height), (where.col, where.width))
        )
        seeds[(rows == 0) | (rows == self.shape[0] - 1)] = True
        seeds[:, (cols == 0) | (cols == self.shape[1] - 1)] = True
        return seeds

    def _look(self, where: Window) -> Mask:
        """Read a chunk: mask of its cells that are all fill; notes cells at the frame whose outermost pixels are."""
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
    """Pixels that have a true one above, below, to the left or to the right."""
    padded = np.pad(mask, 1)
    beside: Mask = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return beside


def _all_in_cells(mask: Mask, cell: int) -> Mask:
    """Cells (rows, columns) whose pixels are all true; cells at the lower and right end may be cut."""
    starts = [np.arange(0, size, cell) for size in mask.shape]
    whole: Mask = np.logical_and.reduceat(np.logical_and.reduceat(mask, starts[0], axis=0), starts[1], axis=1)
    return whole


def _neighbours(chunk: tuple[int, int], chunks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """The chunks next to one."""
    for row, col in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        i, j = chunk[0] + row, chunk[1] + col
        if 0 <= i < chunks[0] and 0 <= j < chunks[1]:
            yield i, j
