"""Where the windows lie. Integers only: knows no files, no tensors, no weights.

In: the scene's height and width, the largest window side and the overlap. Out: windows that cover the scene, each
exactly once, and the seams between them. All borders are solved here: nothing downstream has edge cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

STRIP_PX = 4 << 20
"""Pixels read at once, if blocks allow: enough to hide the cost of a read, little enough to stay near the cache."""

STRIP_PX_MOST = 16 << 20
"""Pixels read at once at most, whatever the blocks: 128 MB in the widest type, int64."""


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels, row first as in numpy; row and col may be negative or reach past the scene (padding)."""

    row: int
    col: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of an array that starts at pixel (0, 0)."""
        return slice(self.row, self.row + self.height), slice(self.col, self.col + self.width)

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    def clip(self, height: int, width: int) -> Window:
        """Return the part inside a raster of that size (height or width 0 if there is none)."""
        top, bottom = _clip(self.row, self.row + self.height, height)
        left, right = _clip(self.col, self.col + self.width, width)
        return Window(top, left, bottom - top, right - left)

    def until(self, other: Window) -> Window:
        """Return the rectangle from this window's first corner to another's last."""
        return Window(self.row, self.col, other.row + other.height - self.row, other.col + other.width - self.col)

    def bands(self, rows: int) -> Iterator[Window]:
        """Cut the window into bands of that many rows, from top to bottom; the last one may have fewer."""
        for done in range(0, self.height, rows):
            yield Window(self.row + done, self.col, min(rows, self.height - done), self.width)

    def shift(self, rows: int, cols: int) -> Window:
        """Return the window moved down and right."""
        return Window(self.row + rows, self.col + cols, self.height, self.width)


@dataclass(frozen=True)
class Axis:
    """The windows along one axis: as many as the largest side needs, the last one ending on the (padded) edge.

    Sides and starts are multiples of the network's stride. A network that shrinks its input by 16 sees a scene moved
    by 16 pixels as the same scene moved, but one moved by 5 pixels as another scene: windows out of step would disagree
    with each other, and with one pass over the whole scene, everywhere and not only near their edges.

    Neighbours share the overlap and no more: a last window that is pulled back by half its size would forward that half
    twice. So sides differ by one stride, the longer ones first, so that windows of one size follow each other.

    Between neighbours lies a *seam*: `ramp` pixels in the middle of their overlap, across which one window hands
    over to the next. Before the seam only the one counts, behind it only the other, and no two seams touch.
    """

    length: int
    """Pixels along the axis, padding included."""
    largest: int
    """Largest window side in pixels, rounded down to a multiple."""
    overlap: int
    """Pixels shared by neighbours, rounded up to a multiple, at most half of the largest side."""
    multiple: int = 1
    """The network's stride in pixels."""

    @cached_property
    def _units(self) -> tuple[int, int, int]:
        """Length, largest side and overlap in strides."""
        length, overlap = _ceil_div(self.length, self.multiple), _ceil_div(self.overlap, self.multiple)
        largest = max(1, self.largest // self.multiple)
        return length, largest, min(overlap, largest // 2)

    @cached_property
    def count(self) -> int:
        """Number of windows."""
        length, largest, overlap = self._units
        return 1 if length <= largest else _ceil_div(length - overlap, largest - overlap)

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        """Strides from the start of each window to where the overlap with the next one begins."""
        length, _, overlap = self._units
        step, longer = divmod(length - overlap, self.count)
        return tuple(step + (i < longer) for i in range(self.count))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Side of each window in pixels."""
        return tuple((step + self._units[2]) * self.multiple for step in self._steps)

    @cached_property
    def size(self) -> int:
        """Side of the longest windows in pixels."""
        return self.sizes[0]

    @cached_property
    def end(self) -> int:
        """Where the last window ends: the length, rounded up to a multiple."""
        return self._units[0] * self.multiple

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First pixel of each window."""
        return tuple(step * self.multiple for step in accumulate((0, *self._steps[:-1])))

    @cached_property
    def ramp(self) -> int:
        """Width of every seam in pixels."""
        return min(self._units[2], *self._steps) * self.multiple if self.count > 1 else 0

    @cached_property
    def seams(self) -> tuple[int, ...]:
        """First pixel of the seam behind each window but the last."""
        ends = (start + size for start, size in zip(self.starts, self.sizes, strict=True))
        return tuple((end + after - self.ramp) // 2 for end, after in zip(ends, self.starts[1:], strict=False))

    def reach(self, i: int) -> tuple[int, int]:
        """First and last-plus-one pixel where window i counts: from the seam before it to the end of the one behind."""
        first = self.seams[i - 1] if i else 0
        last = self.seams[i] + self.ramp if i < self.count - 1 else self.end
        return first, last

    def core(self, i: int) -> tuple[int, int]:
        """First and last-plus-one pixel finished with window i; the cores of all windows partition the axis."""
        first, _ = self.reach(i)
        return first, self.seams[i] if i < self.count - 1 else self.end


@dataclass(frozen=True)
class Place:
    """One window and its position in the grid."""

    i: int
    """Index of the window's row in the grid."""
    j: int
    """Index of the window's column in the grid."""
    window: Window
    """The pixels that the network sees; may reach past the scene, into padding."""
    core: Window
    """The scene's pixels that are finished once this window is; may be empty when all of it is padding."""


@dataclass(frozen=True)
class Grid:
    """Windows over a scene of height × width pixels with `border` pixels of padding around it."""

    height: int
    width: int
    tile: int
    """Largest window side in pixels."""
    overlap: int
    """Pixels shared by neighbouring windows."""
    multiple: int = 1
    """The network's stride: sides and starts of windows are multiples of this many pixels."""
    border: int = 0
    """Pixels of padding on each side of the scene, so that its edge is never the network's edge."""

    @cached_property
    def rows(self) -> Axis:
        """The vertical axis, padding included."""
        return Axis(self.height + 2 * self.border, self.tile, self.overlap, self.multiple)

    @cached_property
    def cols(self) -> Axis:
        """The horizontal axis, padding included."""
        return Axis(self.width + 2 * self.border, self.tile, self.overlap, self.multiple)

    def __len__(self) -> int:
        return self.rows.count * self.cols.count

    @property
    def forwarded_px(self) -> int:
        """Pixels that the network sees when no window is skipped."""
        return sum(self.rows.sizes) * sum(self.cols.sizes)

    def tile_row(self, i: int) -> Iterator[Place]:
        """Yield the windows in row i of the grid, from left to right."""
        return (self.place(i, j) for j in range(self.cols.count))

    def places(self) -> Iterator[Place]:
        """Yield each window exactly once, tile row by tile row from top to bottom."""
        return (place for i in range(self.rows.count) for place in self.tile_row(i))

    def tile_row_core(self, i: int) -> Window:
        """The scene's pixels that are finished with tile row i: whole rows; those of all partition the scene."""
        top, bottom = self.rows.core(i)
        return Window(top - self.border, 0, bottom - top, self.width).clip(self.height, self.width)

    def inside(self, place: Place) -> tuple[slice, slice]:
        """Where the pixels lie in a window that its own scores decide, alone or with a neighbour's."""
        (top, bottom), (left, right) = self.rows.reach(place.i), self.cols.reach(place.j)
        row, col = self.rows.starts[place.i], self.cols.starts[place.j]
        return slice(top - row, bottom - row), slice(left - col, right - col)

    def place(self, i: int, j: int) -> Place:
        """Return the window in row i and column j of the grid, in the scene's pixels."""
        window = Window(self.rows.starts[i], self.cols.starts[j], self.rows.sizes[i], self.cols.sizes[j])
        (top, bottom), (left, right) = self.rows.core(i), self.cols.core(j)
        core = Window(top, left, bottom - top, right - left)
        shift = -self.border, -self.border
        return Place(i, j, window.shift(*shift), core.shift(*shift).clip(self.height, self.width))


def strip_windows(within: Window, block_height: int) -> Iterator[Window]:
    """Windows of whole rows of a window, and of whole blocks as long as those aren't too large to hold."""
    blocks = max(STRIP_PX // (block_height * within.width), 1)
    rows = max(min(blocks * block_height, STRIP_PX_MOST // within.width), 1)
    begin, end = within.row, within.row + within.height
    while begin < end:
        stop = min(begin - begin % rows + rows, end)  # on edges of blocks
        yield Window(begin, within.col, stop - begin, within.width)
        begin = stop


def _ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def _clip(first: int, last: int, length: int) -> tuple[int, int]:
    first = min(max(first, 0), length)
    return first, max(first, min(last, length))
