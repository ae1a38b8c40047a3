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
from geoseg.geo.georef import PixelGrid
from geoseg.geo.grid import Window

MOST_COUNTS = 2**24
"""Most pixel counts that are held for all units, K × K for each."""


class Gridded(Protocol):
    """A raster with a place on the earth."""

    @property
    def grid(self) -> PixelGrid:
        """Its grid."""
        ...

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...


class Units(Protocol):
    """Units of all rasters of a side."""

    words: str
    """What a unit is, e.g. "a block of 1024 px"."""

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

    def __init__(self, mosaics: Sequence[Gridded], block_px: int):
        """Number the blocks.

        Args:
            mosaics: labelled rasters.
            block_px: side of a block in their pixels.
        """
        self.words = f"a block of {block_px} px"
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

    words = "an image"

    def __init__(self, mosaics: Sequence[Mosaic]):
        """Number the images."""
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


def block_units(rasters: Sequence[Gridded], block_px: int, classes: int) -> BlockUnits:
    """Blocks of rasters; larger ones where the counts of so many would not fit into memory.

    Args:
        rasters: labelled rasters.
        block_px: side of a block in their pixels.
        classes: number of classes (K).
    """
    units = BlockUnits(rasters, block_px)
    return units if units.count * classes**2 <= MOST_COUNTS else block_units(rasters, 2 * block_px, classes)


def _images(rasters: Sequence[Mosaic], block_px: int, classes: int) -> ImageUnits:
    return ImageUnits(rasters)


UNITS: dict[str, Callable[[Sequence[Mosaic], int, int], Units]] = {"block": block_units, "image": _images}
"""Kinds of units by the setting `unit`: made of mosaics, the side of a block in pixels, and the number of classes."""


def _lattice(mosaic: Gridded, which: int, systems: list[Any]) -> tuple[Any, tuple[int, int]]:
    """Key of a mosaic's lattice, and row and column of the mosaic's corner on it."""
    grid, t = mosaic.grid, mosaic.grid.transform
    if not (grid.is_georeferenced and grid.is_upright):
        return which, (0, 0)
    return (crs_number(grid.crs, systems), f"{t.a:.9g}", f"{t.e:.9g}"), (round(t.f / t.e), round(t.c / t.a))


def _blocks(start: int, length: int, side: int) -> range:
    """The blocks that pixels from `start` on meet along an axis."""
    return range(start // side, (start + length - 1) // side + 1)
