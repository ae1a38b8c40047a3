"""Units of a bootstrap: the blocks, or the images, that a pixel of labelled mosaics belongs to.

In: mosaics. Out: the number of the unit of each pixel of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geoseg.data.mosaic import Mosaic
from geoseg.geo.crs import crs_number
from geoseg.geo.grid import Window


class Units(Protocol):
    """Units of all mosaics of a side; made of the mosaics, and the side of a block in pixels."""

    @property
    def count(self) -> int:
        """Number of units, with and without labels."""
        ...

    def numbers(self, which: int, window: Window) -> NDArray[np.int64]:
        """The number of the unit of each pixel (h, w) of a window of a mosaic; -1 where there is none."""
        ...


class BlockUnits:
    """Squares of a lattice, one lattice for all images of one coordinate system and pixel size.

    Images without coordinates, or turned ones, have a lattice each, from their corner. So neighbouring images that are
    smaller than a block share one.
    """

    def __init__(self, mosaics: Sequence[Mosaic], block_px: int):
        """Number the blocks.

        Args:
            mosaics: labelled mosaics.
            block_px: side of a block in their pixels.
        """
        self._side, self._corners = block_px, []
        self._numbers: dict[Any, int] = {}
        systems: list[Any] = []
        for which, mosaic in enumerate(mosaics):
            lattice, corner = _lattice(mosaic, which, systems)
            self._corners.append((lattice, corner))
            for row in _blocks(corner[0], mosaic.height, block_px):
                for col in _blocks(corner[1], mosaic.width, block_px):
                    self._numbers.setdefault((lattice, row, col), len(self._numbers))

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self._numbers)

    def numbers(self, which: int, window: Window) -> NDArray[np.int64]:
        """The number of the block of each pixel (h, w)."""
        lattice, (top, left) = self._corners[which]
        rows = _blocks(top + window.row, window.height, self._side)
        cols = _blocks(left + window.col, window.width, self._side)
        table = np.array([[self._numbers[lattice, row, col] for col in cols] for row in rows], np.int64)
        at_row = (top + window.row + np.arange(window.height)) // self._side - rows.start
        at_col = (left + window.col + np.arange(window.width)) // self._side - cols.start
        found: NDArray[np.int64] = table[np.ix_(at_row, at_col)]
        return found


class ImageUnits:
    """The images of the mosaics; where images overlap, the first."""

    def __init__(self, mosaics: Sequence[Mosaic], block_px: int):
        """Number the images; the side of a block is not needed."""
        self._mosaics = mosaics
        self._first = np.cumsum([0, *(len(mosaic.rasters) for mosaic in mosaics)]).tolist()

    @property
    def count(self) -> int:
        """Number of images."""
        return int(self._first[-1])

    def numbers(self, which: int, window: Window) -> NDArray[np.int64]:
        """The number of the image of each pixel (h, w); -1 in gaps of a mosaic."""
        found = np.full((window.height, window.width), -1, np.int64)
        for number, place in reversed([*enumerate(self._mosaics[which].places, self._first[which])]):
            inner = place.shift(-window.row, -window.col).clip(window.height, window.width)
            found[inner.slices] = number
        return found


class OneUnit:
    """All pixels of all mosaics."""

    count = 1

    def numbers(self, which: int, window: Window) -> NDArray[np.int64]:
        """Zeros (h, w)."""
        return np.zeros((window.height, window.width), np.int64)


UNITS: dict[str, Callable[[Sequence[Mosaic], int], Units]] = {"block": BlockUnits, "image": ImageUnits}
"""Kinds of units by the setting `unit`."""


def _lattice(mosaic: Mosaic, which: int, systems: list[Any]) -> tuple[Any, tuple[int, int]]:
    """Key of a mosaic's lattice, and row and column of the mosaic's corner on it."""
    grid, t = mosaic.grid, mosaic.grid.transform
    if not (grid.is_georeferenced and grid.is_upright):
        return which, (0, 0)
    return (crs_number(grid.crs, systems), f"{t.a:.9g}", f"{t.e:.9g}"), (round(t.f / t.e), round(t.c / t.a))


def _blocks(start: int, length: int, side: int) -> range:
    """The blocks that pixels from `start` on meet along an axis."""
    return range(start // side, (start + length - 1) // side + 1)
