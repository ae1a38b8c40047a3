"""Windows cut into cells for several readers: a pixel always goes to the same reader, which has its block cached.

Integers only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from geoseg.geo.grid import Window

_SIDE = 512
_PIXELS = 2**18
"""Least pixels of a cell: a call takes as long as reading some thousands."""


@dataclass(frozen=True)
class Blocks:
    """A raster divided into blocks of one size."""

    height: int
    """Rows of a block."""
    width: int
    """Columns of a block."""

    def pieces(self, window: Window) -> Iterator[Window]:
        """The parts of a window, one for each block that it meets."""
        return (part for _, part in self.cut(window, 1))

    def cut(self, window: Window, readers: int) -> Iterator[tuple[int, Window]]:
        """The parts of a window, one for each block that it meets, with the number of the block's reader."""
        bottom, right = window.row + window.height, window.col + window.width
        for i in range(window.row // self.height, -(-bottom // self.height)):
            for j in range(window.col // self.width, -(-right // self.width)):
                row, col = max(window.row, i * self.height), max(window.col, j * self.width)
                height, width = min(bottom, (i + 1) * self.height) - row, min(right, (j + 1) * self.width) - col
                yield (i + j) % readers, Window(row, col, height, width)


def cells(blocks: Blocks, width: int) -> Blocks:
    """Cells made of several neighbouring blocks of a raster `width` pixels wide."""
    cols = min(width, blocks.width * max(1, _SIDE // blocks.width))
    return Blocks(blocks.height * max(1, _PIXELS // (cols * blocks.height)), cols)


def rows(width: int) -> Blocks:
    """Cells of whole rows, for a raster whose blocks do not reflect how its pixels are stored."""
    return Blocks(_SIDE, width)
